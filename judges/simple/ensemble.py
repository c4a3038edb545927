"""Mean of several judges' probabilities, and their disagreement.

    judge = EnsembleJudge([llm, cross_encoder])
    judge.grade(queries, hits.rows_NK); judge.stats()["ensemble/disagreement"]

A policy that exploits one judge moves away from the others: the disagreement rises during training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from judges.base import judge_for_shop, member_stats
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Judge
from qr_env.common.types import Grades, Query, RowArray
from qr_env.shop.shop import Shop


class EnsembleJudge:
    """Mean of the judges' probabilities over those with a verdict; missing only where all of them are.

    Args:
        judges: two or more, of one shop.
        weights: one positive number a judge, such as its κ; None weighs all equally.
    """

    def __init__(self, judges: Sequence[Judge], weights: Sequence[float] | None = None) -> None:
        weights = [1.0] * len(judges) if weights is None else list(weights)
        if len(judges) < 2:
            raise ConfigError(f"an ensemble needs two judges, got {[judge.name for judge in judges]}: ensemble:a,b")
        if len(weights) != len(judges) or not all(0 < weight < float("inf") for weight in weights):
            raise ConfigError(f"weights {weights} for {len(judges)} judges: give each a positive number")
        self.judges, self.weights = list(judges), np.array(weights)
        names = [judge.name for judge in judges]
        self.name = "ensemble:" + ",".join(names)
        self.labels = [name if names.count(name) == 1 else f"{name}#{j}" for j, name in enumerate(names, 1)]
        self._pairs = 0  # graded so far
        self._compared = 0  # of them, with two or more verdicts
        self._split = 0  # of those, with different most probable levels
        self._distance = 0.0  # sum of total variation distances from the mean over the compared pairs
        self._missing = np.zeros(len(judges), np.int64)  # by judge

    def for_shop(self, shop: Shop) -> EnsembleJudge:
        """The same judges for another shop's products."""
        return EnsembleJudge([judge_for_shop(judge, shop) for judge in self.judges], self.weights.tolist())

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """Weighted mean over the judges that answered, (N, K, 4)."""
        probs_JNK4 = np.stack([judge.grade(queries, rows_NK).probs_NK4 for judge in self.judges])
        known_JNK = np.asarray(~np.isnan(probs_JNK4).any(axis=-1))
        weight_JNK1 = (self.weights[:, None, None] * known_JNK)[..., None]
        with np.errstate(invalid="ignore"):  # 0 / 0 where no judge answered gives NaN
            mean_NK4 = (np.where(known_JNK[..., None], probs_JNK4, 0) * weight_JNK1).sum(0) / weight_JNK1.sum(0)
        self._count(probs_JNK4, known_JNK, mean_NK4, rows_NK >= 0)
        return Grades(mean_NK4.astype(np.float32))

    def _count(self, probs_JNK4: np.ndarray, known_JNK: np.ndarray, mean_NK4: np.ndarray, real_NK: np.ndarray) -> None:
        self._pairs += int(real_NK.sum())
        self._missing += (~known_JNK & real_NK).sum(axis=(1, 2))
        compared_NK = (known_JNK.sum(axis=0) >= 2) & real_NK
        probs_JM4, known_JM = probs_JNK4[:, compared_NK], known_JNK[:, compared_NK]
        distance_JM = 0.5 * np.abs(probs_JM4 - mean_NK4[compared_NK]).sum(axis=-1)
        self._compared += int(compared_NK.sum())
        self._distance += float((np.where(known_JM, distance_JM, 0).sum(axis=0) / known_JM.sum(axis=0)).sum())
        top_JM = np.where(known_JM, np.where(known_JM[..., None], probs_JM4, 0).argmax(axis=-1), -1)
        lowest_M = np.where(known_JM, top_JM, 4).min(axis=0, initial=4)
        self._split += int((lowest_M < top_JM.max(axis=0, initial=-1)).sum())

    def stats(self) -> dict[str, float]:
        """Counts since the judge was made.

        ensemble/pairs; ensemble/disagreement: mean total variation distance (0 … 1) of the judges from their mean,
        where two or more have a verdict; ensemble/split: share of those pairs where the most probable levels differ;
        ensemble/missing/JUDGE: share of missing verdicts; and each judge's own counts, as JUDGE/….
        """
        compared = self._compared or np.nan
        figures = {"pairs": self._pairs, "disagreement": self._distance / compared, "split": self._split / compared}
        for label, missing in zip(self.labels, self._missing.tolist(), strict=True):
            figures[f"missing/{label}"] = missing / self._pairs if self._pairs else np.nan
        counts = {f"ensemble/{name}": value for name, value in figures.items()}
        return counts | member_stats(dict(zip(self.labels, self.judges, strict=True)))
