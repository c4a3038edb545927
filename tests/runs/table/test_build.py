"""`qr table build` on a small shop: what is stored, taken over, refused and continued."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.serving.table.entry import TableEntry
from agents.serving.table.opening import open_table
from qr_env.common.errors import ConfigError, DataError
from runs.table import build, entries
from runs.table.args import BuildArgs
from tests.runs.table.conftest import FixedRewriter

Make = Callable[..., Path]


def looked_up(path: Path, *queries: str) -> list[TableEntry | None]:
    table = open_table(path)
    try:
        return table.look_up(queries)
    finally:
        table.close()


def figures(make: Make, folder: Path, **flags: object) -> dict[str, object]:
    make(json=str(folder / "figures.json"), **flags)
    return dict(json.loads((folder / "figures.json").read_text()))


def test_every_query_of_the_log_has_its_verdict(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make()
    couch, sofa = looked_up(path, "Couch", "SOFA")
    assert couch is not None and couch.passed and couch.rewritten.rewrite == "sofa" and couch.judged.gain == 1.0
    assert couch.judged.original_ids == () and len(couch.judged.rewrite_ids) == 10
    assert couch.rewritten.frequency == 60.0 and "identity" not in couch.rewritten.model
    assert sofa is not None and sofa.rewritten.rewrite == "zebra"
    printed = capsys.readouterr().out
    assert "queries" in printed and "version" in printed
    assert not (tmp_path / ".t.db.part").exists()


def test_only_what_changed_is_asked_again(make: Make, tmp_path: Path, rewriter: FixedRewriter) -> None:
    first = figures(make, tmp_path)
    assert first["asked_rewriter"] == first["asked_judge"] == first["queries"]
    again = figures(make, tmp_path)
    assert (again["asked_rewriter"], again["asked_judge"], again["version"]) == (0, 0, first["version"])
    assert again["changed_traffic"] == 0.0
    rewriter.answers["couch"] = "red sofa"
    refreshed = figures(make, tmp_path, force=True)
    assert refreshed["asked_rewriter"] == first["queries"] and refreshed["asked_judge"] == 1


def test_other_settings_of_the_guard_decide_without_the_judge(make: Make, tmp_path: Path) -> None:
    make(tolerance=1.0)
    stricter = figures(make, tmp_path, tolerance=0.0, strict=3, force=True)
    assert stricter["asked_judge"] == 0


def test_rules_change_only_their_queries(make: Make, tmp_path: Path) -> None:
    make()
    rules = tmp_path / "rules.yaml"
    rules.write_text("never: [red sofa]\nforbidden: [zebra]\noverrides: {couch: settee sofa^0.5, only here: lamp}\n")
    found = figures(make, tmp_path, rules=rules)
    assert found["asked_rewriter"] == 1 and found["rules"] == {
        "forbidden: zebra": 1, "never: red sofa": 1, "override: couch": 1, "override: only here": 1
    }  # fmt: skip
    couch, sofa, red, only = looked_up(tmp_path / "t.db", "couch", "sofa", "red sofa", "only here")
    assert couch is not None and couch.rewritten.rewrite == "settee sofa^0.5" and couch.why == "decided by a person"
    assert sofa is not None and sofa.rewritten.kept and red is not None and red.rewritten.kept
    assert only is not None and only.rewritten.frequency == 0.0
    assert figures(make, tmp_path, rules=rules)["asked_rewriter"] == 0
    rules.write_text("never: [red sofa]\n")
    make(rules=rules)
    (couch,) = looked_up(tmp_path / "t.db", "couch")
    assert couch is not None and couch.rewritten.rewrite == "sofa" and couch.rules == ()


def test_a_worse_table_is_not_taken(make: Make, tmp_path: Path, rewriter: FixedRewriter) -> None:
    version = open_table(make()).version
    rewriter.answers["couch"] = "zebra"
    with pytest.raises(ConfigError, match=r"judged worse .*the old table stays"):
        make()
    assert open_table(tmp_path / "t.db").version == version
    asked = rewriter.asked
    path = make(force=True)
    assert rewriter.asked == asked  # the refused build is continued
    assert open_table(path).version != version
    assert open_table(tmp_path / "t.db.previous").version == version


def test_a_stopped_build_goes_on_and_ends_the_same(
    make: Make, tmp_path: Path, rewriter: FixedRewriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = open_table(make(out=str(tmp_path / "whole.db"), batch=2)).version
    original, calls = entries.Build.entries, []

    def stopping(self, asked):  # type: ignore[no-untyped-def]
        calls.append(len(asked))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, asked)

    monkeypatch.setattr(entries.Build, "entries", stopping)
    with pytest.raises(KeyboardInterrupt):
        make(batch=2)
    assert not (tmp_path / "t.db").exists()
    rewriter.asked = 0
    path = make(batch=2)
    assert open_table(path).version == whole and rewriter.asked == open_table(path).facts.rows - 4


def test_a_damaged_table_is_refused_and_replaced_by_force(make: Make, tmp_path: Path) -> None:
    path = make()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"t\.db"):
        make()
    assert open_table(make(force=True)).facts.rows


def test_a_log_of_its_own_is_judged_without_labels(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("query,frequency\nred couch,5\nRED  couch,6\nbob@mail.de sofa,9\nlamp of nobody,1\n")
    path = make(log=log, judge="fields", head=2)
    table = open_table(path)
    assert table.facts.plan["judge"] == "fields" and table.facts.plan["log_searches"] == 12
    assert [entry.rewritten.frequency for entry in table.entries()] == [1.0, 11.0]
    assert all("bob" not in entry.as_text() for entry in table.entries())


def test_labels_are_the_automatic_judge_only_of_labelled_queries(tmp_path: Path, make: Make) -> None:
    assert open_table(make(judge="auto")).facts.plan["judge"] in ("labels", "blend")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"head": 0}, "head=0"),
        ({"head": 1, "coverage": 0.5}, "give one of the two"),
        ({"coverage": 1.5}, r"coverage=1\.5"),
        ({"repeats": 0}, "repeats=0"),
        ({"tolerance": -1.0}, r"tolerance=-1\.0"),
        ({"max_worse": 2.0}, r"max_worse=2\.0"),
        ({"log": Path("none.csv")}, "no such file"),
        ({"rules": Path("none.yaml")}, "no such file"),
        ({"out": "redis://127.0.0.1:1/0"}, "name=NAME"),
        ({"judge": "nonsense"}, "nonsense"),
    ],
)
def test_wrong_flags_are_refused_before_anything_is_loaded(flags: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build.check_inputs(BuildArgs("identity", **flags))  # type: ignore[arg-type]
