"""Sequential tests of an A/B test whose shares change: valid at every look and at any stopping time.

**Difference of means** (`MeanDifference`). Session i is served by the candidate, A_i = 1, with probability p_i, and has
the outcome Y_i. With m_i the mean of the outcomes before it,

    z_i = (Y_i − m_i) · (A_i / p_i − (1 − A_i) / (1 − p_i)),         E[z_i] = τ, the mean difference,

whatever the shares were (inverse propensity weighting; m_i lowers the variance and, as it is known before session i,
adds no bias). The interval is the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52(6), 2024 (arXiv
2103.06476), theorem 2.2: with n sessions, mean z̄ and standard deviation σ̂ of the z_i,

    z̄ ± σ̂ √( 2 (n ρ² + 1) / (n² ρ²) · log( √(n ρ² + 1) / α ) ),     ρ² = (−2 log α + log(1 − 2 log α)) / n*,

narrowest at n = n*. Outcomes need a finite variance, no bound.

**Sample ratio** (`SampleRatio`). Where sessions get lost in one variant, the means are not comparable. The e-value of
Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022, is the probability of the counts
under a uniform prior over all ratios, divided by that under the intended one; for each share of the test anew, and
multiplied. It exceeds 1 / α with probability ≤ α if the ratio is right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.special import betaln

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass
class MeanDifference:
    """Candidate − baseline of one outcome a session."""

    expected: int = 20_000
    """n* of the module docstring."""
    count: int = 0
    """Sessions."""
    total: float = 0.0
    """Σ z."""
    squares: float = 0.0
    """Σ z²."""
    sum_2: Floats = field(default_factory=partial(np.zeros, 2))
    """Σ Y of baseline and candidate."""
    count_2: Floats = field(default_factory=partial(np.zeros, 2))
    """Sessions of baseline and candidate."""

    def add(self, value_N: Floats, candidate_N: Bools, share_N: Floats) -> None:
        """Add N sessions: outcomes, whether the candidate served, and its probability."""
        if not len(value_N):
            return
        before = np.concatenate([[self.sum_2.sum()], value_N[:-1]]).cumsum()
        mean_N = before / np.maximum(self.count + np.arange(len(value_N)), 1)
        z_N = (value_N - mean_N) * np.where(candidate_N, 1 / share_N, -1 / (1 - share_N))
        self.count += len(value_N)
        self.total += float(z_N.sum())
        self.squares += float(np.square(z_N).sum())
        for side, mine in enumerate((~candidate_N, candidate_N)):
            self.sum_2[side] += value_N[mine].sum()
            self.count_2[side] += mine.sum()

    @property
    def mean(self) -> float:
        """z̄; NaN before the first session."""
        return self.total / self.count if self.count else math.nan

    @property
    def mean_2(self) -> tuple[float, float]:
        """Mean outcome of baseline and candidate; NaN where there is no session."""
        baseline, candidate = (
            float(total / count) if count else math.nan for total, count in zip(self.sum_2, self.count_2, strict=True)
        )
        return baseline, candidate

    def interval(self, alpha: float) -> tuple[float, float]:
        """The confidence sequence now; (−inf, inf) before both sides have a session."""
        if min(self.count_2) < 1:
            return -math.inf, math.inf
        variance = max(self.squares / self.count - self.mean**2, 0.0)
        rho_2 = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / self.expected
        spread = self.count * rho_2 + 1
        radius = math.sqrt(2 * spread / (self.count**2 * rho_2) * math.log(math.sqrt(spread) / alpha) * variance)
        return self.mean - radius, self.mean + radius


@dataclass
class SampleRatio:
    """Whether as many sessions arrive in each variant as were assigned to it."""

    counts: dict[float, tuple[int, int]] = field(default_factory=dict)
    """Share of the candidate → sessions of baseline, candidate."""

    def add(self, candidate_N: Bools, share_N: Floats) -> None:
        """Add N sessions."""
        for share in np.unique(share_N).tolist():
            mine = candidate_N[share_N == share]
            baseline, candidate = self.counts.get(share, (0, 0))
            self.counts[share] = baseline + int((~mine).sum()), candidate + int(mine.sum())

    def log_e(self) -> float:
        """Logarithm of the e-value against the intended ratio; 0 before the first session."""
        return sum(
            float(betaln(1 + candidate, 1 + baseline)) - candidate * math.log(share) - baseline * math.log(1 - share)
            for share, (baseline, candidate) in self.counts.items()
            if 0 < share < 1
        )
