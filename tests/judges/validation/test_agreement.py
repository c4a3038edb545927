"""Agreement metrics against scikit-learn, by hand, and their bootstrap over queries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from judges.validation.agreement import (
    agreement,
    auc,
    calibration_error,
    kappa,
    pair_accuracy,
    reliability,
    resample_weights,
    slope_at_equal_level,
    spearman,
)


def noisy(pairs: int = 600, queries: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(levels, probs, query numbers) of a judge that is right more often than not, ties included."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(4, size=pairs)
    logits = np.round(2 * np.eye(4)[levels] + rng.normal(size=(pairs, 4)), 1)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return levels, probs, rng.integers(queries, size=pairs)


def test_kappa_and_auc_are_scikit_learns() -> None:
    levels, probs, query = noisy()
    figures = agreement(levels, probs, query, resample_weights(40))
    verdicts = probs.argmax(axis=1)
    assert figures["kappa"].value == pytest.approx(cohen_kappa_score(levels, verdicts))
    assert figures["kappa quadratic"].value == pytest.approx(cohen_kappa_score(levels, verdicts, weights="quadratic"))
    gains = probs @ np.array([0, 0.01, 0.1, 1], np.float32)
    assert figures["auc"].value == pytest.approx(roc_auc_score(levels >= 2, gains))
    assert figures["accuracy"].value == pytest.approx((levels == verdicts).mean())
    for figure in figures.values():
        assert figure.low < figure.value < figure.high


def test_every_resample_of_the_auc_is_that_of_its_pairs() -> None:
    levels, probs, query = noisy(200, 12)
    scores, weights = np.round(probs[:, 3], 1), resample_weights(12, seed=3, resamples=5)
    for weight_P, value in zip(weights, auc(scores, levels >= 2, query, weights), strict=True):
        drawn = np.repeat(np.arange(200), weight_P[query].astype(int))
        assert value == pytest.approx(roc_auc_score(levels[drawn] >= 2, scores[drawn]))


def test_pair_accuracy_is_a_loop_over_the_pairs_of_each_query() -> None:
    levels, probs, query = noisy(120, 9)
    scores, weights = np.round(probs[:, 3], 1), resample_weights(9, seed=1, resamples=4)
    values = pair_accuracy(scores, levels, query, weights)
    for weight_P, value in zip(weights, values, strict=True):
        right = total = 0.0
        for a in range(120):
            for b in range(120):
                if query[a] == query[b] and levels[a] > levels[b]:
                    total += weight_P[query[a]]
                    right += weight_P[query[a]] * (0.5 if scores[a] == scores[b] else scores[a] > scores[b])
        assert value == pytest.approx(right / total)
    figure = agreement(levels, probs, query, resample_weights(9))["pair accuracy"]
    assert 0.5 < figure.low < figure.value < figure.high < 1


def test_pair_accuracy_needs_two_levels_in_a_query() -> None:
    levels, query = np.array([3, 3, 1]), np.array([0, 0, 1])
    assert np.isnan(pair_accuracy(np.array([0.1, 0.9, 0.5]), levels, query, np.ones((1, 2)))).all()
    assert pair_accuracy(np.zeros(2), np.array([0, 3]), np.zeros(2, int), np.ones((1, 1)))[0] == 0.5


def test_spearman_is_scipys() -> None:
    levels, probs, query = noisy()
    scores = np.round(probs[:, 3], 1)
    value = spearman(scores, levels, query, resample_weights(40, resamples=2))[0]
    assert value == pytest.approx(spearmanr(scores, levels).statistic)
    assert np.isnan(spearman(np.ones(3), levels[:3], query[:3], np.ones((1, 40)))).all()


def test_kappa_by_hand_and_where_chance_is_certain() -> None:
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[0, 3], matrix[3, 0], matrix[3, 3] = (
        20,
        5,
        10,
        15,
    )  # the textbook case: observed agreement 0.7, by chance 0.5
    assert kappa(matrix) == pytest.approx(0.4)
    assert kappa(matrix, quadratic=True) == pytest.approx(0.4)
    assert np.isnan(kappa(np.diag([9, 0, 0, 0])))


def test_intervals_resample_queries_not_pairs() -> None:
    levels, probs, query = noisy(800, 80)
    # The same pairs 50 times over in the same queries carry no more information.
    once = agreement(levels, probs, query, resample_weights(80))["kappa"]
    often = agreement(*(np.repeat(part, 50, axis=0) for part in (levels, probs, query)), resample_weights(80))["kappa"]
    assert (often.low, often.high) == (pytest.approx(once.low), pytest.approx(once.high))


def test_calibration_error_is_zero_for_a_calibrated_judge_and_the_gap_for_an_overconfident_one() -> None:
    rng = np.random.default_rng(0)
    stated = rng.choice([0.15, 0.55, 0.95], 60_000)
    true = rng.random(60_000) < stated
    query, weights = np.zeros(60_000, int), resample_weights(1)
    assert calibration_error(stated, true, query, weights)[0] < 0.01
    assert calibration_error(np.full(60_000, 0.99), true, query, weights)[0] == pytest.approx(0.99 - true.mean())
    assert [round(p, 2) for p, _, _ in reliability(stated, true)] == [0.15, 0.55, 0.95]


def test_slope_measures_bias_and_not_the_truth() -> None:
    rng = np.random.default_rng(0)
    levels, query = rng.integers(4, size=5_000), rng.integers(50, size=5_000)
    length = levels + rng.normal(size=5_000)  # better products have longer texts
    unbiased = levels / 3 + 0.1 * rng.normal(size=5_000)
    weights = resample_weights(50)
    assert abs(slope_at_equal_level(length, unbiased, levels, query, weights)[0]) < 0.005
    assert slope_at_equal_level(length, unbiased + 0.2 * length, levels, query, weights)[0] == pytest.approx(
        0.2, abs=0.005
    )
    assert np.isnan(slope_at_equal_level(np.ones(5_000), unbiased, levels, query, weights)[0])
