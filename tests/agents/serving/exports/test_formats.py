"""Every export format read back: the same words and weights, reserved characters included, or the row is counted."""

from __future__ import annotations

import csv
import io
import json

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.serving.exports.base import SearchMode
from agents.serving.exports.factory import FORMATS, MOST_SYNONYMS, TEXT_FORMATS, text_format, write_export
from agents.serving.rewritten import AddedWord, Rewritten, rewritten
from qr_env.common.errors import ConfigError
from tests.agents.serving.exports.readers import common_rules, replace_rules, solr_synonyms

SOURCES = {"sprayer": "titles", "airless": "repair"}
ROWS = [
    rewritten(
        "paint gun", "sprayer^0.4 airless", {"sprayer": "titles", "airless": "repair"}, frequency=7.0, model="m@1"
    ),
    rewritten("red sofa", "", frequency=3.0),
    rewritten("sofa bed", "sleeper sofa", source="override"),
    Rewritten("lamp", "lighting^0.2", (AddedWord("lighting", 0.2, "type"),)),
]
NASTY = [
    '12" pipe',
    "a,b => c",
    "back\\slash",
    "#1 gift",
    "c++ {x} [y]",
    "50% off!",
    "naïve café 日本",
    "a=>b",
    "x" * 300,
]


def written(name: str, rows: list[Rewritten], mode: SearchMode | None = None) -> tuple[str, dict[str, int]]:
    """All text of a format, and what was left out."""
    chosen = text_format(name, mode)
    return chosen.head() + "".join(map(chosen.row, rows)), dict(chosen.left_out.reasons)


def test_jsonl_and_csv_hold_words_weights_sources_frequency_and_model() -> None:
    lines = [json.loads(line) for line in written("jsonl", ROWS)[0].splitlines()]
    assert lines[0]["words"] == [
        {"word": "sprayer", "weight": 0.4, "source": "titles"},
        {"word": "airless", "weight": 1.0, "source": "repair"},
    ]
    assert (lines[0]["frequency"], lines[0]["model"], lines[1]["kept"], lines[1]["rewrite"]) == (7.0, "m@1", True, "")
    for name, delimiter in (("csv", ","), ("tsv", "\t")):
        text, _ = written(name, [*ROWS, rewritten('say "hi", ok', "new\nline")])
        rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
        assert [row["query"] for row in rows][-1] == 'say "hi", ok'
        assert rows[0]["words"] == "sprayer^0.4(titles) airless^1(repair)"
        assert [row["kept"] for row in rows] == ["0", "1", "0", "0", "0"]


def test_text_says_what_is_kept() -> None:
    assert written("text", ROWS[:2])[0] == "paint gun → sprayer^0.4 airless\nred sofa   (kept)\n"


def test_parquet_is_read_back_with_its_types(tmp_path) -> None:
    exported = write_export("parquet", ROWS, tmp_path / "rows.parquet")
    table = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert exported.rows == 4 and table[0]["words"][0] == {"word": "sprayer", "weight": 0.4, "source": "titles"}
    assert [row["kept"] for row in table] == [False, True, False, False]


def test_lucene_strings_and_workbench_sets_say_what_is_searched() -> None:
    text, _ = written("lucene", ROWS, SearchMode("expand", 3.0))
    assert text.splitlines()[0] == "paint gun\tpaint^3 gun^3 sprayer^0.4 airless"
    assert text.splitlines()[1] == "red sofa\tred sofa"
    sets = [json.loads(line) for line in written("workbench", ROWS)[0].splitlines()]
    assert sets[0] == {"queryText": "paint gun", "rewrite": "paint gun sprayer^0.4 airless"}
    for name in ("lucene", "workbench"):
        text, left_out = written(name, ROWS, SearchMode("union"))
        assert text == "" and sum(left_out.values()) == len(ROWS)


def test_common_rules_hold_every_added_word_with_its_weight_relative_to_a_typed_one() -> None:
    rules = common_rules(written("querqy", ROWS, SearchMode("expand", 2.0))[0])
    assert rules["paint gun"] == [("SYNONYM", 0.2, "sprayer"), ("SYNONYM", 0.5, "airless")]
    assert rules["lamp"] == [("UP", 1.0, "lighting")]
    assert "red sofa" not in rules


def test_replace_rules_hold_only_what_replaces_the_query() -> None:
    text, left_out = written("querqy-replace", ROWS)
    assert replace_rules(text) == {"sofa bed": "sleeper sofa"} and sum(left_out.values()) == 2
    all_of_them = replace_rules(written("querqy-replace", ROWS, SearchMode("replace"))[0])
    assert set(all_of_them) == {"paint gun", "sofa bed", "lamp"}


def test_synonyms_hold_the_query_and_the_added_words() -> None:
    rules = solr_synonyms(written("synonyms", ROWS)[0])
    assert rules["paint gun"] == ["paint gun", "sprayer", "airless"]
    assert solr_synonyms(written("synonyms", ROWS, SearchMode("replace"))[0])["paint gun"] == ["sprayer airless"]


def test_more_synonyms_than_elasticsearch_takes_go_to_further_files(tmp_path) -> None:
    rows = [rewritten(f"query {at}", f"word{at}") for at in range(MOST_SYNONYMS + 5)]
    exported = write_export("synonyms", rows, tmp_path / "syn.txt")
    assert [path.name for path in exported.files] == ["syn.txt", "syn-2.txt"]
    counts = [len(path.read_text().splitlines()) for path in exported.files]
    assert counts == [MOST_SYNONYMS, 5]


@pytest.mark.parametrize("query", NASTY)
def test_reserved_characters_are_escaped_or_the_row_is_left_out(query: str) -> None:
    row = rewritten(query, "plain^0.5")
    text, left_out = written("querqy", [row])
    rules = common_rules(text)
    assert rules == {query: [("SYNONYM", 0.5, "plain")]} if rules else sum(left_out.values()) == 1
    assert solr_synonyms(written("synonyms", [row])[0]) == {query: [query, "plain"]}
    assert replace_rules(written("querqy-replace", [row], SearchMode("replace"))[0]) in ({}, {query: "plain"})


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=12))
def test_no_text_breaks_a_line_format(query: str, word: str) -> None:
    row = rewritten(query, word)
    for name in TEXT_FORMATS:
        if name not in ("csv", "tsv", "querqy"):
            text, _ = written(name, [row])
            assert text.count("\n") == (1 if text else 0), name
    rules = solr_synonyms(written("synonyms", [row])[0])
    assert len(rules) <= 1
    common_rules(written("querqy", [row])[0])


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose one of text, jsonl"):
        text_format("xml")
    assert set(FORMATS) == {*TEXT_FORMATS, "parquet"}
