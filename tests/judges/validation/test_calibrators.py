"""Calibrators: temperature is recovered, isotonic corrects monotone distortion."""

from __future__ import annotations

import numpy as np
import pytest

from judges.validation.agreement import (
    agreement,
    resample_weights,
)
from judges.validation.calibrators import Isotonic, Temperature, fit_isotonic, fit_temperature


def noisy(pairs: int = 600, queries: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(levels, probs, query numbers) of a judge that is right more often than not, ties included."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(4, size=pairs)
    logits = np.round(2 * np.eye(4)[levels] + rng.normal(size=(pairs, 4)), 1)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return levels, probs, rng.integers(queries, size=pairs)


def test_temperature_is_recovered() -> None:
    levels, probs, _ = noisy(20_000)
    expected = fit_temperature(levels, probs).temperature
    overconfident = fit_temperature(levels, Temperature(1 / 3)(probs)).temperature
    assert overconfident == pytest.approx(3 * expected, rel=0.02)
    assert Temperature(2.0)(np.array([0.8, 0.2, 0, 0]))[:2] == pytest.approx([2 / 3, 1 / 3], abs=1e-3)


def test_isotonic_gives_probabilities_and_corrects_monotone_distortion() -> None:
    levels, probs, query = noisy(4_000)
    bent = probs**3 * [50, 1, 1, 0.02]
    bent /= bent.sum(axis=1, keepdims=True)
    calibrated = fit_isotonic(levels, bent)(bent)
    assert (calibrated >= 0).all() and calibrated.sum(axis=1) == pytest.approx(np.ones(4_000))
    weights = resample_weights(40)
    before, after = (agreement(levels, p, query, weights) for p in (bent, calibrated))
    assert after["log loss"].value < before["log loss"].value - 0.1
    assert after["ece"].value < before["ece"].value / 2
    assert np.isnan(Isotonic(np.array([0.0, 3]), np.array([[0.0] * 3, [1.0] * 3]))(np.full((1, 4), np.nan))).all()
