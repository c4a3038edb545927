"""The cumulative link model: a judge's score of a pair → probabilities of the four levels.

    level_probs(scores_NK, Thresholds(0.35, 0.45, 0.60, temperature=0.06))      # (N, K, 4)
    fit_thresholds(scores_N, levels_N, Thresholds())                            # maximum likelihood

With s a score that rises with relevance (McCullagh 1980, proportional odds):

    P(level ≥ j) = σ((s − cut_j) / temperature),  j = Complement, Substitute, Exact;  cut_C ≤ cut_S ≤ cut_E
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from qr_env.common.errors import ConfigError
from qr_env.common.types import FloatArray

RIDGE = 1e-3  # pull towards the given thresholds; decides cuts that the data does not, as of a level that never occurs

Levels = npt.NDArray[np.int_]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Cuts of the cumulative link model on a score, and its temperature."""

    complement: float = 0.35
    """score at which P(at least Complement) is ½"""
    substitute: float = 0.45
    """score at which P(at least Substitute) is ½"""
    exact: float = 0.60
    """score at which P(Exact) is ½"""
    temperature: float = 0.06
    """scale of the score: the greater, the softer the grades"""

    def __post_init__(self) -> None:
        if not self.complement <= self.substitute <= self.exact:
            raise ConfigError(f"{self}: must rise, complement ≤ substitute ≤ exact")
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(f"{self}: the temperature must be a positive number")

    @property
    def cuts(self) -> npt.NDArray[np.float64]:
        """(3,) in the order of the levels."""
        return np.array([self.complement, self.substitute, self.exact])


def level_probs(score: npt.NDArray[np.floating], thresholds: Thresholds) -> FloatArray:
    """Probability of each of `LEVELS`, (…, 4), by the module docstring's formula; NaN stays NaN."""
    at_least = expit((np.asarray(score, np.float64)[..., None] - thresholds.cuts) / thresholds.temperature)
    edges = np.concatenate([np.ones_like(at_least[..., :1]), at_least, np.zeros_like(at_least[..., :1])], axis=-1)
    return np.where(np.isnan(at_least[..., :1]), np.nan, edges[..., :-1] - edges[..., 1:]).astype(np.float32)


def fit_thresholds(score_N: npt.NDArray[np.floating], levels_N: Levels, start: Thresholds) -> Thresholds:
    """Maximum likelihood of the cumulative link model, with a weak ridge towards `start`."""
    exact_N: npt.NDArray[np.float64] = np.asarray(score_N, np.float64)
    origin = _pack(start)

    def loss(packed: npt.NDArray[np.float64]) -> float:
        probs_N4 = _probs(exact_N, packed)
        picked_N = probs_N4[np.arange(len(levels_N)), levels_N]
        return float(-np.log(np.maximum(picked_N, 1e-12)).mean() + RIDGE * np.square(packed - origin).sum())

    return _unpack(minimize(loss, origin, method="L-BFGS-B", options={"maxiter": 500}).x)


def _probs(score_N: npt.NDArray[np.float64], packed: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`level_probs` in float64."""
    t = _unpack(packed)
    at_least_N3 = expit((score_N[:, None] - t.cuts) / t.temperature)
    ones, zeros = np.ones((len(score_N), 1)), np.zeros((len(score_N), 1))
    return -np.diff(np.concatenate([ones, at_least_N3, zeros], axis=1), axis=1)


def _pack(t: Thresholds) -> npt.NDArray[np.float64]:
    """Free parameters: lowest cut, logs of the two gaps, log temperature."""
    gaps = np.log(np.maximum(np.diff(t.cuts), 1e-4))
    return np.array([t.complement, *gaps, np.log(t.temperature)])


def _unpack(packed: npt.NDArray[np.float64]) -> Thresholds:
    lowest, first, second, temperature = (float(value) for value in np.clip(packed, -12, 3))
    middle = lowest + float(np.exp(first))
    return Thresholds(lowest, middle, middle + float(np.exp(second)), float(np.exp(temperature)))
