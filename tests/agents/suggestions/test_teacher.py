"""`agents.suggestions.teacher`, with the prompt file and the stored answers of agents/prompted."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.prompted.generation import PromptedModel
from agents.prompted.prompt_file import PromptFile
from agents.suggestions.base import Suggestion
from agents.suggestions.teacher import LONGEST, TeacherSource, read_words
from agents.suggestions.title_words import TitleStems
from qr_env.common.text_store import TextStore
from qr_env.language.tokenize import ENGLISH
from tests.helpers.fakes import ScriptedModel

STEMS = TitleStems([*["leather sofa"] * 3, *["garden hose"] * 3, *["oak floor tile"] * 60], ENGLISH, max_share=0.5)


@pytest.mark.parametrize(
    ("text", "words", "fault"),
    [
        ("sofa, leather, seat", ["sofa", "leather", "seat"], ""),
        ("Words: Sofa leather.", ["sofa", "leather"], ""),
        ("- sofa\n- leather\n", ["sofa", "leather"], ""),
        ("1. sofa\n2) leather", ["sofa", "leather"], ""),
        ("", [], "empty"),
        (" ... ", [], "empty"),
        ('{"words": ["sofa"]}', [], "markup"),
        ("Sure, here are some words", [], "talk"),
        ("your own sofa", ["your", "own", "sofa"], ""),
        ("sofa " * (LONGEST + 1), [], "long"),
    ],
)
def test_answers_that_are_no_list_of_words_are_named(text: str, words: list[str], fault: str) -> None:
    assert read_words(text, "your couch", ENGLISH) == (words, fault)


def test_words_that_titles_have_weigh_by_their_rank(tmp_path: Path) -> None:
    answers = {"couch": "davenport, leathers, sofas, sofa, couch, 3", "hose": "I cannot say", "sofa": "sofa"}
    model = ScriptedModel(answers)
    source = TeacherSource(PromptedModel(model, PromptFile.load("words_v1"), store=TextStore(tmp_path)), STEMS)
    assert source.suggest(["couch", "hose", "sofa", "lost", " "]) == [
        [Suggestion("leathers", 1.0, "teacher"), Suggestion("sofas", 0.5, "teacher")], [], [], [], []
    ]  # fmt: skip
    assert source.model.faults == {"hose": "talk", "lost": "server timeout"}
    source.suggest(["couch", "hose"])
    assert sorted(model.asked) == ["couch", "hose", "lost", "sofa"]  # stored answers are not asked for again
