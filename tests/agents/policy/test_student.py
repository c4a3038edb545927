"""The student as an agent: order of queries, greedy rewrite first, saving and loading."""

import json
from dataclasses import replace

import pytest

from agents.policy.prompt import TEMPLATE, completion_ids, parse_completions, prompt_text
from agents.policy.student import Student
from qr_env.common.errors import ConfigError
from tests.helpers.models import same_weights, small_student

QUERIES = ["running shoes red", "couch", "fridge freezer"]


def test_rewrites_are_in_the_order_of_the_queries_for_any_batch_size():
    student = small_student()
    expected = student.rewrite(QUERIES)
    student.batch_size = 1
    assert student.rewrite(QUERIES) == expected
    assert student.rewrite(QUERIES[::-1]) == expected[::-1]


def test_n_rewrites_are_the_greedy_one_and_seeded_samples():
    student = small_student()
    first, again, other = (student.rewrite(QUERIES, n=4, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert [row[0] for row in first] == [row[0] for row in student.rewrite(QUERIES)]
    assert all(len(row) == 4 for row in first)


def test_no_queries_give_no_rewrites():
    assert small_student().rewrite([]) == []


def test_a_loaded_student_equals_the_saved_one(tmp_path):
    student = replace(small_student(), combine="replace", weight=2.0)
    student.save(tmp_path / "s")
    loaded = Student.load(tmp_path / "s")
    assert same_weights(loaded.model, student.model)
    assert loaded.rewrite(QUERIES, n=3) == student.rewrite(QUERIES, n=3)
    assert (loaded.max_new_tokens, loaded.combine, loaded.weight) == (student.max_new_tokens, "replace", 2.0)


def test_a_folder_without_a_student_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"student\.json is missing"):
        Student.load(tmp_path)


def test_a_student_of_another_prompt_template_is_refused(tmp_path):
    small_student().save(tmp_path)
    settings = json.loads((tmp_path / "student.json").read_text()) | {"template": "Q: {query} A:"}
    (tmp_path / "student.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="Q: "):
        Student.load(tmp_path)


def test_a_lora_student_is_saved_and_loaded_as_an_adapter(tmp_path):
    from agents.policy.student import pretrained_student

    base = small_student()
    base.model.save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    student = pretrained_student(str(tmp_path / "base"), 4, lora_rank=2)
    trainable = [name for name, p in student.model.named_parameters() if p.requires_grad]
    assert trainable
    assert all("lora" in name for name in trainable)
    student.save(tmp_path / "adapter")
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    loaded = Student.load(tmp_path / "adapter", trainable=True)
    assert loaded.rewrite(QUERIES) == student.rewrite(QUERIES)
    assert any(p.requires_grad for p in loaded.model.parameters())


def test_prompt_and_completion_round_trip():
    tokenizer = small_student().tokenizer
    assert prompt_text("  red \n sofa ") == TEMPLATE.format(query="red sofa")
    assert len(prompt_text("x" * 10_000)) < 300
    rows = completion_ids(tokenizer, ["blue sofa", ""])
    assert all(row[-1] == tokenizer.eos_token_id for row in rows)
    assert len(rows[1]) == 1
    assert parse_completions(tokenizer, rows) == ["blue sofa", ""]
    assert parse_completions(tokenizer, completion_ids(tokenizer, ["sofa\nblue"])) == ["sofa"]
