"""Generated texts: what is stored, and what is generated again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.prompted.generation import PromptedModel
from agents.prompted.language_model import Answers
from agents.prompted.prompt_file import PromptFile
from qr_env.common.text_store import TextStore
from tests.helpers.fakes import ScriptedModel


def test_stored_texts_are_not_generated_again_and_keys_hold_the_prompt(tmp_path: Path) -> None:
    table = {f"q{n}": f"answer {n}" for n in range(40)}
    prompt = PromptFile.load("rewrite_few_v1")

    def prompted(**changes: Any) -> tuple[ScriptedModel, PromptedModel]:
        model = ScriptedModel(table)
        return model, PromptedModel(model, prompt, store=TextStore(tmp_path), **{"examples": [("a", "b")], **changes})

    _, first = prompted()
    assert first.texts(list(table)) == table
    model, again = prompted()
    assert again.texts(["q1", "q39"]) == {"q1": "answer 1", "q39": "answer 39"} and model.asked == []
    assert again.costs == {"generated/query": 0.0}
    for change in ({"examples": [("a", "c")]}, {"max_words": 5}, {"max_tokens": 7}):
        model, other = prompted(**change)
        other.texts(["q1"])
        assert model.asked == ["q1"], change


def test_texts_before_an_interrupt_are_stored(tmp_path: Path) -> None:
    class Interrupted(ScriptedModel):
        def generate(self, prompts: Sequence[str], max_tokens: int, json_schema: bool) -> Answers:
            yield from list(super().generate(prompts, max_tokens, json_schema))[:20]
            raise KeyboardInterrupt

    table = {f"q{n}": f"answer {n}" for n in range(40)}
    with pytest.raises(KeyboardInterrupt):
        PromptedModel(Interrupted(table), PromptFile.load("rewrite_v1"), store=TextStore(tmp_path)).texts(list(table))
    model = ScriptedModel(table)
    assert PromptedModel(model, PromptFile.load("rewrite_v1"), store=TextStore(tmp_path)).texts(list(table)) == table
    assert len(model.asked) == 20  # all twenty answers were stored, the last incomplete batch too
