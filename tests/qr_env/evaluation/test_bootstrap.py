"""Paired bootstrap: deterministic, nominal coverage, parity with a slow loop."""

from __future__ import annotations

import numpy as np
import pytest

from qr_env.evaluation import bootstrap
from qr_env.evaluation.bootstrap import interval, resampled_means


def test_means_equal_a_slow_loop_over_the_same_draws() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(7, 2))
    values[3, 1] = np.nan
    weights = rng.uniform(1, 5, size=(7, 2))
    fast = resampled_means(values, weights, resamples=20, seed=4)
    drawn = np.random.default_rng(4).integers(0, 7, (20, 7))
    for row, picked in zip(fast, drawn, strict=True):
        for column in range(2):
            known = [at for at in picked if not np.isnan(values[at, column])]
            total = sum(weights[at, column] for at in known)
            slow = sum(values[at, column] * weights[at, column] for at in known) / total
            assert row[column] == pytest.approx(slow)


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(11, 3))
    expected = resampled_means(values, resamples=50, seed=2)
    monkeypatch.setattr(bootstrap, "CHUNK_CELLS", 35)
    np.testing.assert_allclose(resampled_means(values, resamples=50, seed=2), expected)


def test_same_seed_same_interval_and_it_holds_the_mean() -> None:
    values = np.random.default_rng(0).normal(0.3, 1.0, size=(200, 1))
    first, second = (interval(resampled_means(values, seed=7)[:, 0]) for _ in range(2))
    assert first == second
    assert first[0] < values.mean() < first[1]


def test_95_percent_intervals_cover_the_truth_about_95_percent_of_the_time() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(200):
        low, high = interval(resampled_means(rng.normal(1.0, 2.0, size=(80, 1)), resamples=400, seed=trial)[:, 0])
        hits += low < 1.0 < high
    assert 0.90 <= hits / 200 <= 0.99


def test_zero_difference_has_a_zero_interval() -> None:
    values = np.random.default_rng(0).normal(size=(50, 1))
    means = resampled_means(np.concatenate([values, values], axis=1))
    assert interval(means[:, 0] - means[:, 1]) == (0.0, 0.0)


def test_pairing_makes_the_interval_of_a_small_steady_gain_narrow() -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(size=500)
    means = resampled_means(np.stack([raw + 0.01 + rng.normal(0, 0.01, 500), raw], axis=1))
    low, high = interval(means[:, 0] - means[:, 1])
    assert 0 < low < 0.011 < high + 0.002 < 0.02


def test_undefined_everywhere_is_nan_not_an_error() -> None:
    assert np.isnan(interval(resampled_means(np.full((5, 1), np.nan))[:, 0])).all()
    assert resampled_means(np.empty((0, 2)), resamples=3).shape == (3, 2)
