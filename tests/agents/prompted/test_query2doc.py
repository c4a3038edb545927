"""query2doc: how a passage is parsed and how it is joined with the query."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agents.prompted.generation import PromptedModel
from agents.prompted.language_model import Answers
from agents.prompted.prompt_file import PromptFile
from agents.prompted.query2doc import Query2Doc, read_passage


class OnePassage:
    """One passage for every query but "lost"."""

    name, settings = "one passage", {"decoding": "greedy"}

    def generate(self, prompts: Sequence[str], max_tokens: int, json_schema: bool) -> Answers:
        assert not json_schema
        for index, prompt in enumerate(prompts):
            text = "..." if "Query: lost" in prompt else "A blue sofa.\n\nQuery: next one"
            yield index, text, ""


@pytest.mark.parametrize(
    ("text", "passage"),
    [
        ("A blue sofa.\nSeats three.", "A blue sofa. Seats three."),
        ("Soft. Soft. Soft. Warm.", "Soft. Warm."),
        ("<b>Sofa</b> **blue** {x} https://shop.example/1 [2]", "Sofa blue x 2"),
        ("sofa\nQuery: fridge\nPassage: cold", "sofa"),
        ("\nPassage: A sofa.", "A sofa."),
        ("good Good good good good", "good Good good"),
        ("one two three four five six", "one two three four five"),
        ("", ""),
        ("of the and", ""),
    ],
)
def test_passages_are_one_line_without_markup(text: str, passage: str) -> None:
    assert read_passage(text, 5) == passage


def test_the_query_is_repeated_unless_the_search_weights_it() -> None:
    prompt = PromptFile.load("query2doc_v1")
    expand = Query2Doc(PromptedModel(OnePassage(), prompt), "expand")
    assert expand.rewrite(["couch", "lost", " "], n=2) == [["A blue sofa."] * 2, ["lost"] * 2, [" "] * 2]
    assert expand.costs == {"generated/query": 1.0, "unusable: empty": 0.5}
    replace = Query2Doc(PromptedModel(OnePassage(), prompt), "replace")
    assert replace.rewrite(["couch"]) == [["couch couch couch couch couch A blue sofa."]]
    assert Query2Doc(PromptedModel(OnePassage(), prompt), "union", repeats=1).rewrite(["couch"]) == [
        ["couch A blue sofa."]
    ]
