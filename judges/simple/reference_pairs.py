"""Pairs of a shop's own queries and products that need no label: what a search finds, and random products.

They tell a judge how its scores are distributed: `Reference.standardised` brings scores of different scales together,
and `Reference.thresholds` places the levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from judges.simple.thresholds import Thresholds
from qr_env.common.errors import JudgeError
from qr_env.common.protocols import Retriever
from qr_env.common.types import FloatArray, Query, RowArray
from qr_env.shop.shop import Shop

QUERIES = 200  # of the log
K = 10  # retrieved products, and random ones, a query
# Assumed shares of a search's first ten: half Exact, seven tenths Substitute or Exact, eight tenths not Irrelevant.
# ESCI's judged results, of a better engine, have about 65 %, 87 % and 90 % (Reddy et al. 2022).
AT_LEAST = {"complement": 0.8, "substitute": 0.7, "exact": 0.5}
RANDOM_IS_EXACT = 0.02  # assumed probability that a random product is Exact


@dataclass(frozen=True, slots=True)
class ReferencePairs:
    """P queries with K retrieved products, then K random ones."""

    queries: Sequence[Query]
    """P queries of the log"""
    rows_PK: RowArray
    """(P, 2 K) product rows; -1 is padding"""

    @classmethod
    def draw(cls, shop: Shop, retriever: Retriever, seed: int = 0) -> ReferencePairs:
        """Up to 200 queries of the train split (of all where it has none), drawn by `seed`; reads no label.

        Raises JudgeError for a shop without queries.
        """
        rng = np.random.default_rng(seed)
        asked = shop.split("train") or shop.all_queries
        if not asked:
            raise JudgeError(f"{shop!r}: judge 'blend' is calibrated on the shop's queries; add queries.csv")
        queries = [asked[at] for at in np.sort(rng.permutation(len(asked))[:QUERIES]).tolist()]
        found_PK = retriever.search([query.text for query in queries], K).rows_NK
        random_PK = rng.integers(len(shop.products), size=(len(queries), K)).astype(np.int32)
        return cls(queries, np.concatenate([found_PK, random_PK], axis=1))

    def random_mean(self, scores_PK: FloatArray) -> float:
        """Mean score of the random half; inf where it has none, so that nothing is above it."""
        drawn = scores_PK[:, self.rows_PK.shape[1] // 2 :]
        known = drawn[~np.isnan(drawn)]
        return float(known.mean()) if len(known) else float("inf")


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and standard deviation of a judge's scores on the reference pairs."""

    mean: float
    """in units of the score"""
    deviation: float
    """in units of the score"""

    @classmethod
    def of(cls, scores_PK: FloatArray) -> Scale:
        """Of scores; NaN is left out. A score that never varies gets deviation 1."""
        known = scores_PK[~np.isnan(scores_PK)].astype(np.float64)
        deviation = float(known.std()) if len(known) else 0.0
        return cls(float(known.mean()) if len(known) else 0.0, deviation if deviation > 1e-9 else 1.0)

    def standardised(self, scores_NK: FloatArray) -> FloatArray:
        """(score − mean) / deviation."""
        return ((scores_NK - self.mean) / self.deviation).astype(np.float32)


def assumed_thresholds(scores_PK: FloatArray) -> Thresholds:
    """Cuts that give the retrieved half of `ReferencePairs` the shares of `AT_LEAST`.

    The temperature makes the mean score of a random product Exact with probability `RANDOM_IS_EXACT`.
    """
    width = scores_PK.shape[1] // 2
    found, drawn = (part[~np.isnan(part)].astype(np.float64) for part in np.split(scores_PK, [width], axis=1))
    if not len(found) or not len(drawn):
        return Thresholds(-0.5, 0.0, 0.5, temperature=0.5)
    cuts = {name: float(np.quantile(found, 1 - share)) for name, share in AT_LEAST.items()}
    distance = cuts["exact"] - float(drawn.mean())
    return Thresholds(**cuts, temperature=max(distance / float(logit(1 - RANDOM_IS_EXACT)), 0.05))
