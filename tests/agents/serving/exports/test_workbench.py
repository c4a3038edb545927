"""Query sets of the Search Relevance Workbench."""

from __future__ import annotations

import json

from agents.serving.exports.base import SearchMode
from agents.serving.exports.workbench import WorkbenchQuerySet
from agents.serving.rewritten import rewritten


def test_a_line_holds_the_query_and_what_is_searched() -> None:
    written = WorkbenchQuerySet(SearchMode("expand", 2.0))
    text = written.row(rewritten('a "b"', "sofa^0.4")) + written.row(rewritten("kept", ""))
    assert [json.loads(line) for line in text.splitlines()] == [
        {"queryText": 'a "b"', "rewrite": 'a^2 \\"b\\"^2 sofa^0.4'},
        {"queryText": "kept", "rewrite": "kept"},
    ]


def test_blank_queries_and_union_are_counted() -> None:
    written = WorkbenchQuerySet()
    assert written.row(rewritten(" ", "")) == "" and sum(written.left_out.reasons.values()) == 1
    union = WorkbenchQuerySet(SearchMode("union"))
    assert union.row(rewritten("a", "b")) == "" and sum(union.left_out.reasons.values()) == 1
