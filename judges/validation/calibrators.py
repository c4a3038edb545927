"""Calibrators of a judge's probabilities: fitted to graded pairs, applied to (…, 4) arrays.

calibrator = fit_temperature(levels_M, probs_M4)       # or fit_isotonic
calibrated_N4 = calibrator(probs_N4)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression, minimize_scalar

from qr_env.common.types import LEVELS

Array = npt.NDArray[np.float64]
Levels = npt.NDArray[np.integer]
FLOOR = 1e-6  # least probability under a logarithm
PRIOR_PAIRS = 4.0  # weight of the levels' shares in the isotonic fit, in pairs, so that no level gets probability 0


@dataclass(frozen=True, slots=True)
class Temperature:
    """p ↦ p^(1/T), normalised (Guo et al. 2017, section 4.2)."""

    temperature: float
    """T; above 1 it makes a judge less certain"""

    def __call__(self, probs_N4: npt.ArrayLike) -> Array:
        """Calibrated probabilities of the same shape; NaN stays NaN."""
        logits = np.log(np.maximum(np.asarray(probs_N4, np.float64), FLOOR)) / self.temperature
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=-1, keepdims=True))


def fit_temperature(levels_M: Levels, probs_M4: Array) -> Temperature:
    """Maximum-likelihood T in [0.05, 20]."""

    def loss(log_t: float) -> float:
        probs = Temperature(float(np.exp(log_t)))(probs_M4)
        return float(-np.log(np.maximum(probs[np.arange(len(levels_M)), levels_M], FLOOR)).mean())

    return Temperature(float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x)))


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Expected level ↦ P(level ≥ 1), P(≥ 2), P(≥ 3): non-decreasing, linear between the U fitted points."""

    expected_U: Array
    """(U,) expected levels of the fitted points, ascending"""
    at_least_U3: Array
    """(U, 3) P(level ≥ 1), P(≥ 2), P(≥ 3) at these points"""

    def __call__(self, probs_N4: npt.ArrayLike) -> Array:
        """Calibrated probabilities of the same shape; NaN stays NaN."""
        x = expected_level(probs_N4)
        at_least = [np.interp(x, self.expected_U, column) for column in self.at_least_U3.T]
        edges = np.stack([np.ones_like(x), *at_least, np.zeros_like(x)], axis=-1)
        return np.where(np.isnan(x)[..., None], np.nan, edges[..., :-1] - edges[..., 1:])


def fit_isotonic(levels_M: Levels, probs_M4: Array) -> Isotonic:
    """Isotonic regression by pool-adjacent-violators for each P(level ≥ j); pairs of equal score are pooled first."""
    expected_U, place_M, pairs_U = np.unique(expected_level(probs_M4), return_inverse=True, return_counts=True)
    shares = [np.bincount(place_M, levels_M >= level, len(expected_U)) / pairs_U for level in range(1, len(LEVELS))]
    steps = [isotonic_regression(share_U, weights=pairs_U.astype(np.float64)).x for share_U in shares]
    prior = np.array([np.mean(levels_M >= level) for level in range(1, len(LEVELS))])
    weight = PRIOR_PAIRS / (PRIOR_PAIRS + len(levels_M))
    return Isotonic(expected_U, (1 - weight) * np.stack(steps, axis=1) + weight * prior)


def expected_level(probs_N4: npt.ArrayLike) -> Array:
    """Σ level · probability, in [0, 3], rounded so that the order of summation does not matter."""
    return np.asarray(np.round(np.asarray(probs_N4, np.float64) @ np.arange(len(LEVELS)), 9))
