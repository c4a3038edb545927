"""Examples: a prompt for each task, loss on the response only, and the Parquet file."""

import math
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agents.examples.tasks import TASKS, Example, prompt_of, read_examples, task_sequences, write_examples
from agents.policy.prompt import prompt_text
from agents.supervised.sft import response_sequences
from qr_env.common.errors import ConfigError
from tests.helpers.models import small_model

EXAMPLE = Example("rewrite", "couch  blue", "sofa", "sofa", ("Blue Sofa", "Sofa Bed"), "log", "q1", 0.5, 1.0, 0.2)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ConfigError, match=r"pairs\.parquet is damaged"):
        read_examples(tmp_path / "pairs.parquet")


def test_the_rewrite_prompt_equals_the_online_prompt():
    _, tokenizer = small_model()
    example = replace(EXAMPLE, context=())
    assert prompt_of(example) == prompt_text("couch blue")
    assert task_sequences(tokenizer, [example]) == response_sequences(tokenizer, [("couch blue", "sofa")])


def test_every_task_has_a_prompt_of_its_own_that_starts_with_the_query():
    prompts = [prompt_of(replace(EXAMPLE, task=task, context=())) for task in TASKS]
    assert len(set(prompts)) == len({prompt.rpartition("\n")[2] for prompt in prompts}) == len(TASKS)
    assert all(prompt.startswith("Query: couch blue\n") for prompt in prompts)


def test_context_precedes_the_query_and_is_truncated():
    long = replace(EXAMPLE, context=("x" * 500, "b\nc", "d", "never read"))
    assert prompt_of(long) == f"Bought: {'x' * 80} | b c | d\n" + prompt_text("couch blue")


def test_a_rewrite_that_is_judged_is_in_the_prompt():
    assert "Rewrite: sofa\n" in prompt_of(replace(EXAMPLE, task="quality"))
    assert "Other: sofa\n" in prompt_of(replace(EXAMPLE, task="tagging"))


def test_loss_is_on_the_response_and_its_end_only():
    _, tokenizer = small_model()
    examples = [replace(EXAMPLE, task=task, response="yes") for task in TASKS] + [replace(EXAMPLE, response="")]
    for example, row in zip(examples, task_sequences(tokenizer, examples), strict=True):
        learnt = [i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
        assert learnt[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(learnt[:-1]).strip() == example.response
        assert tokenizer.decode(row["input_ids"][: -len(learnt)]) == prompt_of(example).lower()
        assert all(label == i for i, label in zip(row["input_ids"][-len(learnt) :], learnt, strict=True))


def test_examples_survive_a_file_round_trip(tmp_path):
    examples = [EXAMPLE, Example("title", "sofa", "Blue Sofa", held_out=True)]
    write_examples(tmp_path / "new" / "pairs.parquet", examples)
    first, second = read_examples(tmp_path / "new" / "pairs.parquet")
    assert first == replace(EXAMPLE, reward=first.reward) and first.reward == pytest.approx(0.2)
    assert second.held_out and math.isnan(second.relevance) and second.context == ()


def test_unknown_tasks_and_unusable_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown task 'poem'"):
        Example("poem", "sofa", "")
    with pytest.raises(ConfigError, match="qr pairs SHOP"):
        read_examples(tmp_path / "none.parquet")
    pq.write_table(pa.table({"task": ["rewrite"]}), tmp_path / "other.parquet")
    with pytest.raises(ConfigError, match="lacks the columns query, response"):
        read_examples(tmp_path / "other.parquet")


def test_no_examples_give_an_empty_file(tmp_path):
    write_examples(tmp_path / "pairs.parquet", [])
    assert read_examples(tmp_path / "pairs.parquet") == []
    assert task_sequences(small_model()[1], []) == []
