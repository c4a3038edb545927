"""The most pessimistic of several judges, pair by pair.

    judge = PessimisticJudge([blend, cross_encoder])

A text that fools one judge gains nothing unless it fools all of them (Coste et al. 2023, worst-case optimization over
an ensemble of reward models).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from judges.base import judge_for_shop, member_stats
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Judge
from qr_env.common.types import GAINS, Grades, Query, RowArray
from qr_env.shop.shop import Shop


class PessimisticJudge:
    """For each pair the verdict of the judge with the smallest expected gain; missing where any judge has none.

    Args:
        judges: two or more, of one shop.
    """

    def __init__(self, judges: Sequence[Judge]) -> None:
        names = [judge.name for judge in judges]
        if len(judges) < 2:
            raise ConfigError(f"a pessimistic judge needs two judges, got {names}: pessimistic:a,b")
        self.judges, self.name = list(judges), "pessimistic:" + ",".join(names)
        self._pairs = 0  # graded so far
        self._lowest = np.zeros(len(judges), np.int64)  # of them, by the judge whose verdict was taken

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """Verdicts, (N, K, 4); NaN where a judge has none, and on padding."""
        probs_JNK4 = np.stack([judge.grade(queries, rows_NK).probs_NK4 for judge in self.judges])
        gain_JNK = probs_JNK4 @ GAINS
        lowest_NK = gain_JNK.argmin(axis=0)  # NaN, which is missing, is the least
        taken_NK4 = np.take_along_axis(probs_JNK4, lowest_NK[None, ..., None], axis=0)[0]
        known_NK = ~np.isnan(taken_NK4[..., 0])
        self._pairs += int(known_NK.sum())
        self._lowest += np.bincount(lowest_NK[known_NK], minlength=len(self.judges))
        return Grades(taken_NK4)

    def for_shop(self, shop: Shop) -> PessimisticJudge:
        """The same judges for another shop's products."""
        return PessimisticJudge([judge_for_shop(judge, shop) for judge in self.judges])

    def stats(self) -> dict[str, float]:
        """pessimistic/NAME: share of pairs of which this judge had the smallest gain; and the judges' own counts."""
        counts: dict[str, float] = {}
        for judge, lowest in zip(self.judges, self._lowest.tolist(), strict=True):
            counts[f"pessimistic/{judge.name}"] = lowest / self._pairs if self._pairs else np.nan
        return counts | member_stats({judge.name: judge for judge in self.judges})
