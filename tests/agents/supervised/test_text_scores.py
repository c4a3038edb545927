"""Exact match, ROUGE-L against the textbook recursion, and cross-entropy."""

from functools import cache

import numpy as np
import pytest

from agents.examples.tasks import Example
from agents.supervised.text_scores import exact_match, rouge_l, text_scores
from qr_env.common.errors import ConfigError
from tests.helpers.models import student_trained_on

PAIRS = [("couch", "sofa"), ("fridge", "freezer black"), ("red", "")]


def slow_rouge(first, second):
    a, b = first.split(), second.split()

    @cache
    def longest(i, j):
        if i == len(a) or j == len(b):
            return 0
        if a[i] == b[j]:
            return 1 + longest(i + 1, j + 1)
        return max(longest(i + 1, j), longest(i, j + 1))

    common = longest(0, 0)
    if not a and not b:
        return 1.0
    if not common:
        return 0.0
    precision, recall = common / len(a), common / len(b)
    return 2 * precision * recall / (precision + recall)


def test_rouge_l_equals_the_textbook_recursion():
    rng = np.random.default_rng(0)
    texts, references = (
        [" ".join(rng.choice(["sofa", "red", "blue", "3", "seater"], rng.integers(0, 9))) for _ in range(300)]
        for _ in range(2)
    )
    expected = [slow_rouge(a, b) for a, b in zip(texts, references, strict=True)]
    assert np.allclose(rouge_l(texts, references), expected)
    assert 0.2 < np.mean(expected) < 0.8


def test_scores_equal_a_calculation_by_hand():
    assert rouge_l(["the Red, sofa", "a", ""], ["red sofa", "b", "x"]).tolist() == [0.8, 0.0, 0.0]
    assert rouge_l([], []).shape == (0,)
    assert exact_match(["Red  sofa!", "sofa red", ""], ["red sofa", "red sofa", ""]).tolist() == [1.0, 0.0, 1.0]


def test_a_student_that_memorized_the_pairs_scores_full_marks():
    student = student_trained_on(PAIRS)
    examples = [Example("rewrite", query, text) for query, text in PAIRS]
    scores = text_scores(student, examples)
    assert scores["exact match"] == scores["ROUGE-L"] == 1.0
    assert 0 < scores["cross-entropy"] < 0.1
    other = text_scores(student, [Example("rewrite", "couch", "running shoes"), *examples])
    assert other["exact match"] == 0.75
    assert other["cross-entropy"] > 1.0


def test_examples_of_other_tasks_are_refused():
    student = student_trained_on(PAIRS, steps=1)
    with pytest.raises(ConfigError, match="0 examples"):
        text_scores(student, [])
    with pytest.raises(ConfigError, match="title"):
        text_scores(student, [Example("title", "couch", "sofa")])
