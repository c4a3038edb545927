"""Is a candidate better than what serves? A paired test that may be looked at after every batch and stopped at will.

    test = PairedTest()
    test.add(candidate_N, serving_N)          # gains on the same queries, NaN where a verdict is missing
    test.log_e()                              # ≥ log(1 / alpha): better, and wrong with probability ≤ alpha
    test.interval(0.05)                       # (low, high) of the mean difference, right at every time at once

Testing by betting (Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86(1),
2024, arXiv 2010.09686). Against H: E[D] ≤ m, with D in [−b, b], a gambler who stakes λ a pair owns

    K(λ) = Π_i (1 + λ (D_i − m)),       0 ≤ λ < 1 / (b + m),

which under H does not grow on average, so it passes 1 / alpha at any time with probability ≤ alpha (Ville 1939). We own
the mean of K over the fixed stakes `STAKES` / (b + m): no variance has to be guessed, and what is lost against the best
stake is at most log(number of stakes). The interval inverts the test.

Queries of one update are distinct, hence drawn without replacement, so D of one batch are not independent; the bound is
at the ends of batches. For uniform traffic it is exact: the product's mean over draws without replacement is at most
(1 + λ (E[D] − m))^P (Maclaurin's inequality). For traffic by frequency, "E[D]" is the mean over the queries as they are
drawn, and the bound was checked by simulation (tests/agents/serving/test_paired_test.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError

Array = npt.NDArray[np.float64]
# Shares of what a pair could cost; below the last, thousands of pairs would not tell.
STAKES = np.array([0.9 / 2**halved for halved in range(7)])
HALVINGS = 24  # of the interval's ends: to a ten-millionth of its range


@dataclass
class PairedTest:
    """Differences candidate − serving so far, N of them, in order, each in [−bound, bound]; and the pairs left out
    because a verdict was missing."""

    bound: float = 1.0
    differences_N: Array = field(default_factory=lambda: np.zeros(0))
    missing: int = 0
    # (sign, margin) → (pairs counted, log wealth of each stake): what is asked at every update is added up once.
    wealth: dict[tuple[int, float], tuple[int, Array]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.differences_N)

    def add(self, candidate_N: npt.ArrayLike, serving_N: npt.ArrayLike) -> None:
        """Take a batch of pairs. Raises ConfigError for a difference beyond the bound, under which nothing holds."""
        fresh_N = np.asarray(candidate_N, np.float64) - np.asarray(serving_N, np.float64)
        known_N = fresh_N[~np.isnan(fresh_N)]
        if len(known_N) and np.abs(known_N).max() > self.bound + 1e-6:
            raise ConfigError(f"a difference of {np.abs(known_N).max():g} is beyond ±{self.bound:g}: scale the figures")
        self.missing += len(fresh_N) - len(known_N)
        self.differences_N = np.concatenate([self.differences_N, known_N.clip(-self.bound, self.bound)])

    @property
    def mean(self) -> float:
        """Mean difference; NaN before the first pair."""
        return float(self.differences_N.mean()) if len(self) else math.nan

    def log_e(self, margin: float = 0.0) -> float:
        """Logarithm of the e-value for "better by more than `margin`"; 0 before the first pair."""
        return self._log_e(1, margin)

    def log_e_below(self, margin: float = 0.0) -> float:
        """Logarithm of the e-value for "better by less than `margin`"; at 0: "worse"."""
        return self._log_e(-1, -margin)

    def _log_e(self, sign: int, margin: float) -> float:
        """Goes on from the pairs counted before."""
        counted, wealth_J = self.wealth.get((sign, margin), (0, np.zeros(len(STAKES))))
        wealth_J = wealth_J + log_wealth(sign * self.differences_N[counted:], margin, self.bound)
        self.wealth[sign, margin] = (len(self), wealth_J)
        return _mixed(wealth_J)

    def interval(self, alpha: float) -> tuple[float, float]:
        """(low, high) of the mean; at all times together each end is wrong with probability ≤ alpha."""
        return self._lower(1, alpha), -self._lower(-1, alpha)

    def _lower(self, sign: int, alpha: float) -> float:
        """The largest mean refuted from below: the e-value falls as the margin rises, so it is found by halving."""
        values_M, counts_M = np.unique(sign * self.differences_N, return_counts=True)  # most pairs are ties
        low, high = -self.bound * (1 - 1e-9), self.bound
        if _mixed(log_wealth(values_M, low, self.bound, counts_M)) < -math.log(alpha):
            return -self.bound
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            refuted = _mixed(log_wealth(values_M, middle, self.bound, counts_M)) >= -math.log(alpha)
            low, high = (middle, high) if refuted else (low, middle)
        return low

    def state_dict(self) -> dict[str, Any]:
        """Every pair, the evidence itself, and the sums over them, whose last bit depends on the batches."""
        return {name: getattr(self, name) for name in ("bound", "differences_N", "missing", "wealth")}


def log_wealth(values_N: Array, margin: float, bound: float, counts_N: npt.ArrayLike = 1) -> Array:
    """log K(λ) of the module docstring for each stake, (J,); pair n counts `counts_N` times."""
    stakes_J = STAKES / (bound + margin)
    wealth_J: Array = (np.log1p(stakes_J[:, None] * (values_N - margin)) * counts_N).sum(axis=1)
    return wealth_J


def _mixed(wealth_J: Array) -> float:
    return float(np.logaddexp.reduce(wealth_J) - math.log(len(STAKES)))
