"""Prompted agents: how answers are parsed, and what the agent does with unusable ones."""

from __future__ import annotations

import pytest

from agents.prompted.agent import PromptedAgent, read_rewrite
from agents.prompted.generation import PromptedModel
from agents.prompted.prompt_file import PromptFile
from tests.helpers.fakes import ScriptedModel


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("sofa blue", "sofa blue"),
        (' "Sofa blue." ', "Sofa blue"),
        ("Rewritten query: sofa blue", "sofa blue"),
        ('{"rewrite": "sofa blue"}', "sofa blue"),
        ('```json\n{"rewrite": "sofa blue"}\n```', "sofa blue"),
        ("(couch OR sofa) AND blue NOT leather", "couch sofa blue"),
        ('"sofa" OR "settee"', "sofa settee"),
        ("Blue Sofa\n\nRewrite:\nBlue Sofa", "Blue Sofa"),
        ("\nRewrite: blue sofa", "blue sofa"),
        ("sofa blue\n\nQuery: fridge\nRewrite: refrigerator", "sofa blue"),
        ('black and decker drill 1/2"', "black and decker drill 1/2"),
        ("rewritable dvd", "rewritable dvd"),
    ],
)
def test_rewrites_are_read_from_usual_kinds_of_answers(text: str, read: str) -> None:
    assert read_rewrite(text, "couch", 12) == (read, "")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("...", "empty"),
        ("blue sofa\n\nI changed couch into sofa.", "lines"),
        ("Here is the rewritten query", "talk"),
        ("I'm sorry, I cannot help", "talk"),
        ("a blue sofa because titles say sofa", "talk"),
        ("<b>blue sofa</b>", "markup"),
        ('{"rewrite": "blue', "markup"),
        ("**blue sofa**", "markup"),
        ("category: sofa", "markup"),
        ("word " * 13, "long"),
        ("Oak-Nat-Oak-Nat-Oak-Nat", "loop"),
    ],
)
def test_answers_that_are_no_query_are_refused_by_kind(text: str, fault: str) -> None:
    assert read_rewrite(text, "couch", 12) == ("", fault)


def test_words_and_length_of_the_query_are_allowed() -> None:
    assert read_rewrite("query letters example", "query letters example", 12)[1] == ""
    words = " ".join(f"word{n}" for n in range(13))
    assert read_rewrite(words, "x " * 13, 12) == (words, "")


def test_unusable_answers_keep_the_query_and_are_counted() -> None:
    model = ScriptedModel({"blue couch": "blue sofa", "fridge": "Sure! A refrigerator", "sofa": "sofa"})
    queries = ["blue couch", "fridge", "sofa", "lost", "  ", "blue couch"]
    agent = PromptedAgent(PromptedModel(model, PromptFile.load("rewrite_v1")), "expand")
    assert agent.rewrite(queries, n=2) == [
        ["sofa"] * 2,
        ["fridge"] * 2,
        [""] * 2,
        ["lost"] * 2,
        ["  "] * 2,
        ["sofa"] * 2,
    ]
    assert sorted(model.asked) == ["blue couch", "fridge", "lost", "sofa"]  # once each, blanks never
    assert agent.costs == {"generated/query": 0.75, "unusable: server timeout": 0.25, "unusable: talk": 0.25}
    replacing = PromptedAgent(PromptedModel(model, PromptFile.load("rewrite_v1")), "replace")
    assert replacing.rewrite(queries[:1]) == [["blue sofa"]]
    assert agent.rewrite([]) == []
