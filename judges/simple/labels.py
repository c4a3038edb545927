"""The labels judge: human labels, or the generated shop's truth, as verdicts with probability 1.

grades = LabelsJudge(shop).grade(queries, hits.rows_NK)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qr_env.common.errors import ConfigError
from qr_env.common.types import LEVELS, Grades, Query, RowArray
from qr_env.shop.shop import SPLITS, Shop

# Row level + 1 is the verdict: row 0 (no label) is NaN, the others are one-hot.
_ONE_HOT = np.concatenate([np.full((1, len(LEVELS)), np.nan), np.eye(len(LEVELS))]).astype(np.float32)


class LabelsJudge:
    """Grades from `Shop.qrels`; missing for pairs without a label and for queries that are not the shop's.

    Args:
        shop: holds the labels.
        split: grade only queries of this split ("train", "dev", "test"), so that held-out labels cannot leak into
            training; None grades all. Raises ConfigError for another name.
    """

    name = "labels"

    def __init__(self, shop: Shop, split: str | None = None) -> None:
        if split is not None and split not in SPLITS:
            raise ConfigError(f"labels judge: no split {split!r}; choose one of {', '.join(SPLITS)}")
        self.shop = shop
        self.split = split

    def for_shop(self, shop: Shop) -> LabelsJudge:
        """The same judge for another shop."""
        return LabelsJudge(shop, self.split)

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """One-hot verdicts, (N, K, 4); NaN where there is no label, and on padding."""
        query_rows_N = np.array([query.row for query in queries], np.int64)
        if self.split is not None:
            query_rows_N[[query.split != self.split for query in queries]] = -1
        return Grades(_ONE_HOT.take(self.shop.levels(query_rows_N, rows_NK) + np.int8(1), axis=0))
