"""A causal language model in this process that answers prompts."""

from __future__ import annotations

from pathlib import Path

from agents.prompted.local_model import LocalModel
from tests.helpers.models import small_student


def test_batches_do_not_change_the_texts(tmp_path: Path) -> None:
    student = small_student(seed=3)
    student.model.save_pretrained(tmp_path / "lm")
    student.tokenizer.save_pretrained(tmp_path / "lm")
    model = LocalModel(str(tmp_path / "lm"), batch_size=2)
    prompts = ["sofa", "red couch blue shoes", "fridge freezer black"]
    texts = {index: text for index, text, _ in model.generate(prompts, 5, False)}
    assert sorted(texts) == [0, 1, 2] and any(texts.values())
    alone = [next(model.generate([prompt], 5, False))[1] for prompt in prompts]
    assert alone == [texts[index] for index in range(3)]
    assert model.settings["weights"]
