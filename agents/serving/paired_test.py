"""Sequential paired test of a candidate against the serving policy: valid after every batch and at any stopping time.

    test = PairedTest()
    test.add(candidate_N, serving_N)          # gains on the same queries, NaN where a verdict is missing
    test.log_e()                              # ≥ log(1 / alpha): better; wrong with probability ≤ alpha
    test.interval(0.05)                       # (low, high) of the mean difference, valid at all times

Testing by betting (Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86(1),
2024, arXiv 2010.09686). Against H: E[D] ≤ m, with D in [−b, b], the wealth of a gambler who stakes λ on each pair is

    K(λ) = Π_i (1 + λ (D_i − m)),       0 ≤ λ < 1 / (b + m),

a supermartingale under H, so that it ever exceeds 1 / alpha with probability ≤ alpha (Ville 1939). The e-value is the
mean of K over the fixed stakes `STAKES` / (b + m): no variance has to be known, and its logarithm is at most
log(number of stakes) below the best stake's. The interval inverts the test.

The queries of one update are distinct, that is, drawn without replacement, so the D of one batch are not independent;
the bound holds at the ends of batches. For uniform traffic it is exact: the expected product over draws without
replacement is at most (1 + λ (E[D] − m))^P (Maclaurin's inequality). For traffic by frequency, E[D] is the mean over
the queries as they are drawn, and the bound was checked by simulation (tests/agents/serving/test_paired_test.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError

Array = npt.NDArray[np.float64]
# Stakes as shares of the largest one; with a smaller one than the last, thousands of pairs would not decide.
STAKES = np.array([0.9 / 2**halved for halved in range(7)])
BISECTIONS = 24  # of an end of the interval: to a ten-millionth of its range


@dataclass
class PairedTest:
    """The pairs so far, and the e-values computed from them."""

    bound: float = 1.0
    """Largest absolute difference."""
    differences_N: Array = field(default_factory=partial(np.zeros, 0))
    """Differences candidate − serving in order of arrival, each in [−bound, bound]."""
    missing: int = 0
    """Number of pairs that were left out because a verdict was missing."""
    wealth: dict[tuple[int, float], tuple[int, Array]] = field(default_factory=dict)
    """(sign, margin) → (pairs summed, log wealth of each stake): a cache, so that each pair is summed once."""

    def __len__(self) -> int:
        return len(self.differences_N)

    def add(self, candidate_N: npt.ArrayLike, serving_N: npt.ArrayLike) -> None:
        """Add a batch of pairs; NaN marks a missing verdict.

        Raises:
            ConfigError: a difference exceeds the bound, without which the test is not valid.
        """
        new_N = np.asarray(candidate_N, np.float64) - np.asarray(serving_N, np.float64)
        known_N = new_N[~np.isnan(new_N)]
        if len(known_N) and np.abs(known_N).max() > self.bound + 1e-6:
            raise ConfigError(f"a difference of {np.abs(known_N).max():g} is beyond ±{self.bound:g}: scale the values")
        self.missing += len(new_N) - len(known_N)
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
        """Sums the log wealth of the pairs added since the last call."""
        counted, wealth_B = self.wealth.get((sign, margin), (0, np.zeros(len(STAKES))))
        wealth_B = wealth_B + log_wealth(sign * self.differences_N[counted:], margin, self.bound)
        self.wealth[sign, margin] = (len(self), wealth_B)
        return _log_mean_exp(wealth_B)

    def interval(self, alpha: float) -> tuple[float, float]:
        """(low, high) of the mean difference; each end is ever wrong with probability ≤ alpha, over all times."""
        return self._lower(1, alpha), -self._lower(-1, alpha)

    def _lower(self, sign: int, alpha: float) -> float:
        """The largest margin that is rejected; the e-value falls as the margin rises, so bisection finds it."""
        values_U, counts_U = np.unique(sign * self.differences_N, return_counts=True)  # most pairs are ties
        low, high = -self.bound * (1 - 1e-9), self.bound
        if _log_mean_exp(log_wealth(values_U, low, self.bound, counts_U)) < -math.log(alpha):
            return -self.bound
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            rejected = _log_mean_exp(log_wealth(values_U, middle, self.bound, counts_U)) >= -math.log(alpha)
            low, high = (middle, high) if rejected else (low, middle)
        return low

    def state_dict(self) -> dict[str, Any]:
        """All fields; the sums too, because their last bit depends on the batches."""
        return {name: getattr(self, name) for name in ("bound", "differences_N", "missing", "wealth")}


def log_wealth(values_N: Array, margin: float, bound: float, counts_N: npt.ArrayLike = 1) -> Array:
    """log K(λ) of the module docstring for each stake, (B,); pair n counts `counts_N` times."""
    stakes_B = STAKES / (bound + margin)
    wealth_B: Array = (np.log1p(stakes_B[:, None] * (values_N - margin)) * counts_N).sum(axis=1)
    return wealth_B


def _log_mean_exp(wealth_B: Array) -> float:
    return float(np.logaddexp.reduce(wealth_B) - math.log(len(STAKES)))
