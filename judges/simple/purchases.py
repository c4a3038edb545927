"""The purchases judge: similarity of a product to what shoppers bought after the same query; needs no labels.

    judge = PurchasesJudge(shop, embedding)                    # embedding: judges.simple.embedding.EmbeddingJudge
    grades = judge.grade(queries, hits.rows_NK)                # NaN for a query after which nothing was bought

The score is the greatest cosine between the product and another one that was bought for the query, in the train or dev
split; it is never compared with itself, so that one odd purchase does not prove itself. The query's own words do not
count: a product that is called otherwise is graded by what it is, which similarity of query and title cannot see. The
cumulative link model of `thresholds.py` gives the levels; its thresholds are fitted to purchases.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from judges.simple.embedding import EmbeddingJudge
from judges.simple.thresholds import Thresholds, fit_thresholds, level_probs
from qr_env.common.types import FloatArray, Grades, Query, RowArray
from qr_env.shop.shop import Shop

# Purchases for dev queries choose among a run's checkpoints, and no student learns from dev queries; test is held out.
SPLITS = ("train", "dev")


class PurchasesJudge:
    """Grades by the nearest product that was bought for the query.

    Args:
        shop: whose products are graded; purchases for its train and dev queries are read.
        embedding: gives the product vectors.
        thresholds: None fits them to the purchases.
    """

    name = "purchases"

    def __init__(self, shop: Shop, embedding: EmbeddingJudge, thresholds: Thresholds | None = None) -> None:
        self.shop, self.embedding = shop, embedding
        pairs = [shop.purchase_rows(split=split) for split in SPLITS]
        query_N, product_N = (np.concatenate(columns) for columns in zip(*pairs, strict=True))
        order = np.argsort(query_N, kind="stable")
        asked_U, start_U = np.unique(query_N[order], return_index=True)
        parts = np.split(product_N[order].astype(np.int32), start_U[1:])
        self._bought = dict(zip(asked_U.tolist(), map(np.unique, parts), strict=False))
        self.thresholds = thresholds or self._fitted()

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """Soft verdicts, (N, K, 4); NaN on padding and where nothing else was bought for the query."""
        return Grades(level_probs(self.score(queries, rows_NK), self.thresholds))

    def score(self, queries: Sequence[Query], rows_NK: RowArray) -> FloatArray:
        """(N, K) greatest cosine with another bought product; NaN where there is none."""
        return self._score([query.row for query in queries], rows_NK)

    def for_shop(self, shop: Shop) -> PurchasesJudge:
        """The same judge for another shop's products."""
        return PurchasesJudge(shop, self.embedding.for_shop(shop), self.thresholds)

    def _score(self, query_rows: Sequence[int], rows_NK: RowArray) -> FloatArray:
        score_NK = np.full(rows_NK.shape, np.nan, np.float32)
        bought = [self._bought.get(row, rows_NK[:0].ravel()) for row in query_rows]
        needed = np.concatenate([rows_NK[rows_NK >= 0], *bought]) if len(bought) else rows_NK.ravel()
        if not needed.size:
            return score_NK
        vectors_CD = self.embedding.product_vectors(needed)
        for n, bought_M in enumerate(bought):
            if not len(bought_M):
                continue
            similarity_KM = vectors_CD[np.maximum(rows_NK[n], 0)] @ vectors_CD[bought_M].T
            similarity_KM[rows_NK[n][:, None] == bought_M] = -np.inf
            score_NK[n] = similarity_KM.max(axis=1)
        score_NK[(rows_NK < 0) | np.isinf(score_NK)] = np.nan
        return score_NK

    def _fitted(self) -> Thresholds:
        """Thresholds from `EmbeddingJudge.purchase_pairs`; the defaults where nothing was bought."""
        if not len(self.shop.purchase_rows(split="train")[0]):
            return Thresholds()
        query_rows, rows_N, levels_N = self.embedding.purchase_pairs("train")
        score_N = self._score(query_rows, np.asarray(rows_N, np.int32)[:, None])[:, 0]
        known_N = ~np.isnan(score_N)
        return fit_thresholds(score_N[known_N], np.asarray(levels_N)[known_N], Thresholds())
