"""The merchandiser's rules: what they change, how they are counted, and what a wrong file is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.serving.rewritten import rewritten
from agents.serving.rules import Rules, places
from qr_env.common.errors import ConfigError

FILE = r"""
never:
  - Gift  Card
  - /[a-z]{2}-\d{4,}/
protected: [North Face, nike]
forbidden: [cheap, acme*, second hand]
overrides:
  sofa bed: sleeper sofa^0.5
  outlet: ""
"""


def rules_of(folder: Path, text: str = FILE) -> Rules:
    path = folder / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    return Rules.read(path)


def test_a_person_decides_before_all_else(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, FILE + "  gift card: voucher\n")
    found = rules.override("SOFA  bed")
    assert found is not None and (found.query, found.rewrite, found.source) == (
        "SOFA  bed", "sleeper sofa^0.5", "override"
    )  # fmt: skip
    assert {word.word: (word.weight, word.source) for word in found.words} == {
        "sleeper": (1.0, "override"), "sofa": (0.5, "override")
    }  # fmt: skip
    outlet = rules.override("outlet")
    assert outlet is not None and outlet.kept
    assert rules.apply(rewritten("gift card", "present")).rewrite == "voucher"
    assert rules.override("navy couch") is None
    assert rules.fired == {"override: sofa bed": 1, "override: outlet": 1, "override: gift card": 1}


@pytest.mark.parametrize("query", ["gift card", "GIFT card", "ab-1234", "AB-99999"])
def test_never_rewritten_queries_are_kept(tmp_path: Path, query: str) -> None:
    row = rules_of(tmp_path).apply(rewritten(query, "something else", frequency=7.0))
    assert row.kept and row.words == () and row.source == "original" and row.frequency == 7.0


def test_a_pattern_matches_the_whole_query(tmp_path: Path) -> None:
    assert not rules_of(tmp_path).apply(rewritten("my ab-1234 lamp", "lamp^2")).kept


def test_forbidden_words_are_removed_unless_typed(tmp_path: Path) -> None:
    rules = rules_of(tmp_path)
    row, fired = rules.check(rewritten("blue sofa", "blue cheap^0.5 couch^0.4 acmes second hand"))
    assert row.rewrite == "blue couch^0.4" and [word.word for word in row.words] == ["blue", "couch"]
    assert fired == ("forbidden: cheap", "forbidden: acme*", "forbidden: second hand")
    assert rules.check(rewritten("cheap sofa", "cheap couch"))[1] == ()
    assert rules.check(rewritten("hand soap", "soap hand^2"))[1] == ()
    row, _ = rules.check(rewritten("blue sofa", "cheap"))
    assert row.kept and row.source == "original"


def test_a_protected_phrase_is_not_respelled_or_outweighed(tmp_path: Path) -> None:
    rules = rules_of(tmp_path)
    row, fired = rules.check(rewritten("nike shoes", "nikes^0.3 boots^5 sneaker^0.4"))
    assert row.rewrite == "boots sneaker^0.4" and fired == ("protected: nike",)
    row, _ = rules.check(rewritten("nike shoes", "nike boots^5"), weight=2.0)
    assert row.rewrite == "nike boots^3"
    assert rules.check(rewritten("face cream", "creme boots^5"))[1] == ()


def test_where_rewrites_replace_the_query_a_dropped_phrase_refuses_them(tmp_path: Path) -> None:
    rules = rules_of(tmp_path)
    row, fired = rules.check(rewritten("north face jacket", "north jacket face"), combine="replace")
    assert row.kept and fired == ("protected: north face",)
    row, fired = rules.check(rewritten("north face jacket", "north face coat^2"), combine="replace")
    assert row.rewrite == "north face coat" and fired == ("protected: north face",)
    assert rules.check(rewritten("north face jacket", "coat"), combine="expand")[0].rewrite == "coat"


def test_a_kept_query_and_a_harmless_rewrite_stay_as_they_are(tmp_path: Path) -> None:
    rules = rules_of(tmp_path)
    for row in (rewritten("blue sofa", ""), rewritten("blue sofa", "blue sofa couch^0.4")):
        assert rules.check(row) == (row, ())
    assert Rules().apply(rewritten("a", "b")).rewrite == "b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("never: [a]\nforbiden: [x]\n", r"rules.yaml:2: forbiden.*keys are never"),
        ("never:\n  - a\n  - {b: c}\n", r"rules.yaml:3: never.1"),
        ("never:\n  - a\n  - /(/\n", r"rules.yaml:3: never: '/\(/' is no regular expression"),
        ("never: a\n", r"rules.yaml:1: never: 'a'"),
        ("never: [a]\nnever: [b]\n", r"rules.yaml:2: 'never' stands here twice"),
        ("overrides:\n  sofa: a\n  Sofa: b\n", r"rules.yaml:3: 'Sofa' stands here twice"),
        ("forbidden:\n  - a*b\n", r"rules.yaml:2: forbidden: 'a\*b'"),
        ("forbidden: [a\n", "not valid YAML.*line"),
        ("- a\n", "rules.yaml:1: the file"),
    ],
)
def test_a_wrong_file_is_told_its_line_and_value(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rules_of(tmp_path, text)


def test_a_missing_file_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        Rules.read(tmp_path / "none.yaml")
    rules = rules_of(tmp_path, "")
    assert rules.override("sofa") is None and rules.version
    assert rules.version != rules_of(tmp_path).version


def test_places_are_whole_words() -> None:
    assert places("north face", ["the", "north", "face", "north"]) == {1, 2}
    assert places("acme*", ["acme", "acmes", "macme"]) == {0, 1}
    assert places("a b c", ["a", "b"]) == set()
