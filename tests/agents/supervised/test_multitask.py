"""Multi-task fine-tuning: the mixture has its weights, tasks do not interfere, scores agree with greedy decoding."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.examples.tasks import Example, task_sequences
from agents.policy.student import Student
from agents.supervised.multitask import fine_tune_tasks, mixture, response_scores, task_scores
from qr_env.common.errors import ConfigError
from tests.helpers.models import copy_of, small_student

QUERIES = ("couch", "fridge", "red shoes", "blue sofa")
REWRITES = ("sofa", "freezer", "running trainers", "")
TITLES = ("red settee", "white refrigerator", "blue", "black 3")
EXAMPLES = [
    *(Example("rewrite", query, text) for query, text in zip(QUERIES, REWRITES, strict=True)),
    *(Example("title", query, text) for query, text in zip(QUERIES, TITLES, strict=True)),
]
HELD_OUT = [replace(example, held_out=True) for example in EXAMPLES]


def counts(examples):
    return {task: sum(example.task == task for example in examples) for task in ("rewrite", "title")}


def test_a_student_learns_two_tasks_distinguished_by_their_prompts():
    student = copy_of(small_student())
    report = fine_tune_tasks(
        student, EXAMPLES * 20 + HELD_OUT, weights={"rewrite": 1, "title": 1}, learning_rate=1e-2, epochs=14,
        batch_size=16,
    )  # fmt: skip
    assert tuple(row[0] for row in student.rewrite(QUERIES)) == REWRITES
    for task in ("rewrite", "title"):  # the same queries, other answers
        assert report.after[task].exact == 1.0 > report.before[task].exact
        assert report.after[task].loss < 0.2 < report.before[task].loss
        assert report.after[task].accuracy == 1.0
    assert report.drawn == {"rewrite": 80, "title": 80}
    assert report.training["train_loss"] > 0


def test_scores_do_not_depend_on_the_batch():
    student = small_student()
    sequences = task_sequences(student.tokenizer, EXAMPLES)
    loss_N, right_N, tokens_N = response_scores(student.model, sequences)
    for at, row in enumerate(sequences):
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
        with torch.no_grad():
            out = student.model(input_ids=ids, labels=labels)
        kept = labels[0, 1:] != -100
        assert loss_N[at] == pytest.approx(out.loss.item() * int(kept.sum()), rel=1e-5)
        assert right_N[at] == int((out.logits[0, :-1].argmax(-1) == labels[0, 1:])[kept].sum())
        assert tokens_N[at] == int(kept.sum())


def test_exact_agrees_with_greedy_decoding():
    student = replace(small_student(), max_new_tokens=3)
    tokenizer = student.tokenizer
    written = [row[0] for row in student.rewrite(QUERIES)]
    rollout = student.sample(QUERIES, temperature=0.0)
    sequences = task_sequences(tokenizer, [Example("rewrite", query, "") for query in QUERIES])
    own = [
        {"input_ids": row["input_ids"][:-1] + ids, "labels": [-100] * (len(row["input_ids"]) - 1) + ids}
        for row, ids in zip(sequences, rollout.completions(), strict=True)
    ]
    _, right_N, tokens_N = response_scores(student.model, own)
    assert (right_N == tokens_N).all()
    assert (
        task_scores(student, [Example("rewrite", query, f"not {written[0]}") for query in QUERIES])["rewrite"].exact < 1
    )


def test_the_mixture_has_its_weights_and_is_reproducible():
    pool = EXAMPLES[:4] * 10 + EXAMPLES[4:]
    drawn = mixture(pool, {"rewrite": 3, "title": 1}, seed=1)
    assert (
        drawn == mixture(pool, {"rewrite": 3, "title": 1}, seed=1) != mixture(pool, {"rewrite": 3, "title": 1}, seed=2)
    )
    assert counts(drawn) == {"rewrite": 33, "title": 11}
    repeats = [drawn.count(example) for example in EXAMPLES[4:]]
    assert max(repeats) - min(repeats) <= 1  # every example is drawn once before one is drawn again
    assert counts(mixture(pool, {"rewrite": 1}, size=7)) == {"rewrite": 7, "title": 0}
    assert counts(mixture(pool)) == {"rewrite": 40, "title": 4}
    assert sum(counts(mixture(pool, {"rewrite": 1, "title": np.pi}, size=101)).values()) == 101


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"poetry": 1.0}, "poetry"),
        ({"rewrite": -1.0}, "-1"),
        ({"rewrite": float("nan")}, "nan"),
        ({"rewrite": 0.0}, "nothing to train on"),
        ({"rewrite": 1.0, "quality": 1.0}, "no training example"),
        ({}, "nothing to train on"),
    ],
)
def test_impossible_weights_are_refused(weights, message):
    with pytest.raises(ConfigError, match=message):
        mixture(EXAMPLES, weights)


def test_held_out_examples_are_not_trained_on_and_unweighted_tasks_not_scored():
    with pytest.raises(ConfigError, match="nothing to train on"):
        fine_tune_tasks(small_student(), HELD_OUT, learning_rate=1e-3)
    student = copy_of(small_student())
    report = fine_tune_tasks(student, EXAMPLES + HELD_OUT, weights={"title": 1}, learning_rate=1e-4)
    assert set(report.after) == {"title"}


def test_a_lora_student_trains_its_adapter_only():
    from peft import LoraConfig, get_peft_model

    base = copy_of(small_student())
    settings = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    student = Student(get_peft_model(base.model, settings), base.tokenizer)
    before = {name: value.clone() for name, value in student.model.state_dict().items()}
    report = fine_tune_tasks(
        student, EXAMPLES * 8 + HELD_OUT, learning_rate=1e-2, packing=True, batch_size=16, epochs=3
    )
    assert report.after["rewrite"].loss < report.before["rewrite"].loss
    changed = {name for name, value in student.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all("lora" in name for name in changed)
