"""The student as an agent: order of queries, greedy rewrite first, saving and loading."""

import json
from dataclasses import replace

import pytest

from agents.policy.prompt import TEMPLATE, completion_ids, parse_completions, prompt_text, retry_prompt_text
from agents.policy.rollout import rollout_of_completions
from agents.policy.student import Student
from agents.suggestions.suggester import OfferSettings
from qr_env.common.errors import ConfigError
from tests.helpers.models import same_weights, small_student
from tests.helpers.suggestions import word_suggester

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


def test_a_student_sees_numbered_suggestions_and_its_numbers_become_words():
    suggester = word_suggester({"couch": ["sofa", "settee"]})
    student = replace(small_student(), suggester=suggester)
    assert student.prompts(["couch", "fridge 2"]) == [
        "Query: couch\nMatches: 0\nWords: titles 1 sofa .1 2 settee .1\nRewrite:",
        "Query: fridge 2\nMatches: 0\nWords:\nRewrite:",
    ]
    assert student.training_pairs([("couch", "2")]) == [(student.prompts(["couch"])[0], "2")]
    ids = completion_ids(student.tokenizer, ["1", "2 red", "", "1 1"])
    rollout = rollout_of_completions([[1]], ids, student.tokenizer.eos_token_id, 0, "cpu")
    assert student.texts(rollout, ["couch"]) == ["sofa^0.1", "settee^0.1 red", "", "sofa^0.2"]
    assert student.texts(rollout, ["couch", "couch", "fridge 2", "couch"]) == [
        "sofa^0.1", "settee^0.1 red", "", "sofa^0.2",
    ]  # fmt: skip


def test_a_student_that_sees_suggestions_is_saved_with_their_settings(tmp_path):
    suggester = word_suggester({"couch": ["sofa"]})
    student = replace(small_student(), suggester=suggester)
    student.save(tmp_path)
    expected = student.rewrite(["couch", "fridge"], n=2)
    assert Student.load(tmp_path, suggester=suggester).rewrite(["couch", "fridge"], n=2) == expected
    alone = Student.load(tmp_path)
    assert alone.suggester is not None and alone.suggester.settings == suggester.settings
    with pytest.raises(ConfigError, match="without a suggester"):
        alone.rewrite(["couch"])
    with pytest.raises(ConfigError, match="most=3"):
        Student.load(tmp_path, suggester=word_suggester({}, OfferSettings(most=3)))
    small_student().save(tmp_path / "plain")
    assert Student.load(tmp_path / "plain", suggester=suggester).suggester is None


def test_a_later_turn_shows_the_suggestions_too():
    suggester = word_suggester({"couch": ["sofa"]})
    student = replace(small_student(), suggester=suggester)
    rollout = student.sample_retry(["couch", "couch"], ["red", ""], ["Lindholm", ""], group_size=2, temperature=0.0)
    text = student.tokenizer.decode(rollout.prompt_ids_PTp[0], skip_special_tokens=True)
    assert text == retry_prompt_text("couch", "red", "Lindholm", suggester.offers(["couch"])[0]).lower()
    assert "words: titles 1 sofa .1\nrewrite:" in text
