"""Agreement metrics against scikit-learn, by hand, and their bootstrap over queries."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from judges.validation.agreement import (
    agreement,
    auc,
    calibration_error,
    kappa,
    reliability,
    resample_weights,
    slope_at_equal_level,
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
