"""CSV, JSONL, text and Lucene strings, read back."""

from __future__ import annotations

import csv
import io
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.serving.exports.base import SearchMode
from agents.serving.exports.plain import JsonLines, LuceneStrings, PlainText, Separated
from agents.serving.rewritten import rewritten

ROW = rewritten("navy couch", "couch^2 sofa^0.4", {"sofa": "titles"}, frequency=7.0, model="m@1")


@settings(max_examples=60, deadline=None)
@given(st.text("ab,;\"'^\n\r\t\\é🛋م", max_size=12), st.sampled_from(["sofa^0.4", "", "a,b\"c'd"]))
def test_csv_and_jsonl_hold_any_query(query: str, rewrite: str) -> None:
    row = rewritten(query, rewrite)
    written = Separated()
    [record] = csv.DictReader(io.StringIO(written.head() + written.row(row), newline=""))
    assert (record["query"], record["kept"] == "1") == (query, row.kept)
    [line] = JsonLines().row(row).split("\n")[:-1]
    assert json.loads(line)["query"] == query


def test_words_come_with_weight_source_and_frequency() -> None:
    value = json.loads(JsonLines().row(ROW))
    assert value["words"] == [
        {"word": "couch", "weight": 2.0, "source": "query"}, {"word": "sofa", "weight": 0.4, "source": "titles"},
    ]  # fmt: skip
    assert (value["frequency"], value["model"], value["kept"]) == (7.0, "m@1", False)


def test_people_are_told_what_is_kept() -> None:
    assert PlainText().row(ROW) == "navy couch → couch^2 sofa^0.4\n"
    assert PlainText().row(rewritten("a\nb", "")) == "a b   (kept)\n"


def test_a_lucene_string_is_what_is_searched_and_union_is_counted() -> None:
    assert LuceneStrings(SearchMode("expand", 3.0)).row(rewritten("paint gun", "sprayer^0.4")) == (
        "paint gun\tpaint^3 gun^3 sprayer^0.4\n"
    )
    union = LuceneStrings(SearchMode("union"))
    assert union.row(ROW) == "" and sum(union.left_out.reasons.values()) == 1
