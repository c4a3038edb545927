"""The blend judge: the standardised mean of what several judges say of a pair; needs no labels.

    judge = BlendJudge.calibrated([embedding, coverage], [1.0, 3.0], ReferencePairs.draw(shop, bm25))
    grades = judge.grade(queries, hits.rows_NK)

With s_j the score of member j, and μ_j and σ_j its mean and deviation on `reference_pairs`,

    s = Σ_j w_j (s_j − μ_j) / σ_j  /  Σ_j w_j

Where coverage finds words of the query that do not fit the title (`coverage.py`), u ∈ [0, 1] of the query in all, what
is above a random product's mean score f is reduced: s − min(u / `FULL_DOUBT`, 1)³ · max(s − f, 0). Similarity alone
cannot notice such titles.
The cumulative link model of `thresholds.py` gives the levels. Its thresholds come from the reference pairs, or are
fitted to purchases. Members that have no verdict on a pair are left out of its mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from judges.base import judge_for_shop, judge_stats, member_stats
from judges.simple.coverage import CoverageJudge
from judges.simple.reference_pairs import ReferencePairs, Scale, assumed_thresholds
from judges.simple.thresholds import Levels, Thresholds, fit_thresholds, level_probs
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Judge
from qr_env.common.types import LEVELS, FloatArray, Grades, Query, RowArray
from qr_env.shop.shop import Shop

# Share of a query in words that do not fit the title at which nothing is left of what is above a random product's
# score; half of it leaves 7/8. On Home Depot's log, linear doubt leaves 42 % of the titles with an appended query a
# better grade, this 13 %, at .001 less pair accuracy (runs/results/judges.md).
FULL_DOUBT = 0.5


class ScoringJudge(Judge, Protocol):
    """A judge with a score of its own scale under its grades."""

    def score(self, queries: Sequence[Query], rows_NK: RowArray) -> FloatArray:
        """(N, K) the greater, the more relevant; NaN where there is no verdict."""
        ...


class LevelScore:
    """Any judge as a member of a blend: its score is the expected level, 0 … 3."""

    def __init__(self, judge: Judge) -> None:
        self.judge, self.name = judge, judge.name

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """The judge's verdicts."""
        return self.judge.grade(queries, rows_NK)

    def score(self, queries: Sequence[Query], rows_NK: RowArray) -> FloatArray:
        """Expected level of each product."""
        levels = np.arange(len(LEVELS), dtype=np.float32)
        return np.asarray(self.judge.grade(queries, rows_NK).probs_NK4 @ levels, np.float32)

    def for_shop(self, shop: Shop) -> LevelScore:
        """The same judge for another shop's products."""
        return LevelScore(judge_for_shop(self.judge, shop))

    def stats(self) -> dict[str, float]:
        """The judge's own counts."""
        return judge_stats(self.judge)


@dataclass(frozen=True, slots=True)
class Member:
    """A judge in a blend."""

    judge: ScoringJudge
    """gives the scores"""
    weight: float
    """in the mean, above 0"""
    scale: Scale
    """of its scores on the reference pairs"""


class BlendJudge:
    """Grades by the weighted mean of standardised scores. `calibrated` makes one from judges.

    Args:
        members: two or more, of one shop.
        thresholds: on the standardised mean.
        floor: mean score of a random product.
    """

    name = "blend"

    def __init__(self, members: Sequence[Member], thresholds: Thresholds, floor: float) -> None:
        self.members, self.thresholds, self.floor = list(members), thresholds, floor

    @classmethod
    def calibrated(
        cls, judges: Sequence[ScoringJudge], weights: Sequence[float], reference: ReferencePairs
    ) -> BlendJudge:
        """Scales and thresholds from the reference pairs.

        Raises ConfigError for fewer than two judges, or a weight that is not above 0.
        """
        if len(judges) < 2 or len(weights) != len(judges) or not all(0 < weight < float("inf") for weight in weights):
            names = [judge.name for judge in judges]
            raise ConfigError(f"blend of {names} with weights {list(weights)}: two judges or more, each weight above 0")
        scores = [judge.score(reference.queries, reference.rows_PK) for judge in judges]
        members = [
            Member(judge, weight, Scale.of(scores_PK))
            for judge, weight, scores_PK in zip(judges, weights, scores, strict=True)
        ]
        blend = cls(members, Thresholds(), floor=float("inf"))
        blend.floor = reference.random_mean(blend.score(reference.queries, reference.rows_PK))
        blend.thresholds = assumed_thresholds(blend.score(reference.queries, reference.rows_PK))
        return blend

    def for_shop(self, shop: Shop) -> BlendJudge:
        """The same judge for another shop's products; scales and thresholds stay."""
        members = [replace(member, judge=judge_for_shop(member.judge, shop)) for member in self.members]
        return BlendJudge(members, self.thresholds, self.floor)

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """Soft verdicts, (N, K, 4); NaN where no member has one, and on padding."""
        return Grades(level_probs(self.score(queries, rows_NK), self.thresholds))

    def score(self, queries: Sequence[Query], rows_NK: RowArray) -> FloatArray:
        """(N, K) the score of the module docstring, in deviations from the mean of the reference pairs."""
        scores, unfitting_NK = [], np.zeros(rows_NK.shape, np.float32)
        for member in self.members:
            if isinstance(member.judge, CoverageJudge):
                fitting_NK, unfitting_NK = member.judge.coverage_and_unfitting(queries, rows_NK)
                scores.append(member.scale.standardised(fitting_NK + unfitting_NK))
            else:
                scores.append(member.scale.standardised(member.judge.score(queries, rows_NK)))
        score_JNK = np.stack(scores)
        known_JNK = ~np.isnan(score_JNK)
        weight_JNK = known_JNK * np.array([member.weight for member in self.members], np.float32)[:, None, None]
        total_NK = weight_JNK.sum(axis=0)
        sum_NK = (np.where(known_JNK, score_JNK, 0) * weight_JNK).sum(axis=0)
        mean_NK = np.divide(sum_NK, total_NK, out=np.full(total_NK.shape, np.nan, np.float32), where=total_NK > 0)
        doubt_NK = (
            np.minimum(np.nan_to_num(unfitting_NK) / FULL_DOUBT, 1) ** 3
        )  # NaN: no word, which other judges may grade
        return mean_NK - doubt_NK * np.maximum(mean_NK - self.floor, 0)

    def fit(self, shop: Shop, query_rows_N: Sequence[int], rows_N: Levels, levels_N: Levels) -> Thresholds:
        """Fit the thresholds to N pairs of the shop with levels, such as `EmbeddingJudge.purchase_pairs`."""
        queries = [shop.all_queries[row] for row in query_rows_N]
        score_N = self.score(queries, np.asarray(rows_N, np.int32)[:, None])[:, 0]
        known_N = ~np.isnan(score_N)
        self.thresholds = fit_thresholds(score_N[known_N], np.asarray(levels_N)[known_N], self.thresholds)
        return self.thresholds

    def stats(self) -> dict[str, float]:
        """The members' own counts, as NAME/…."""
        return member_stats({member.judge.name: member.judge for member in self.members})
