"""The simulated shopper as a model of the reward: what engine, judge and shopper expect of a query and its rewrite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agents.serving.off_policy.reward_model import Floats
from judges.shoppers.model import PROFILES, ModelShopper
from qr_env.common.protocols import Judge
from qr_env.common.text_keys import text_key
from qr_env.common.types import Query
from qr_env.retrieval.combine import search
from runs.common.serving.rewriter import OpenRewriter

DEPTH = 10
EVENTS = ("click", "cart", "purchase")


class SimulatedReward:
    """Expected rewards of searches, each distinct (query, rewrite) computed once.

    Args:
        opened: shop, engine, and how rewrites are searched. judge: grades. reward: click, cart, purchase or revenue.
    """

    def __init__(self, opened: OpenRewriter, judge: Judge, reward: str) -> None:
        self._opened, self._judge, self._reward = opened, judge, reward
        self._shopper = ModelShopper(opened.shop, PROFILES)
        self._price_C = np.nan_to_num(opened.shop.products["price"].to_numpy().astype(np.float64))
        self._queries = {text_key(query.text): query for query in opened.shop.all_queries}
        self._known: dict[tuple[str, str], float] = {}

    def predict(self, queries: Sequence[str], actions: Sequence[str]) -> Floats:
        """(N,) expected rewards. A list without a verdict expects the mean of the others."""
        pairs = list(zip(queries, actions, strict=True))
        fresh = [pair for pair in dict.fromkeys(pairs) if pair not in self._known]
        if fresh:
            self._known |= dict(zip(fresh, self._computed(fresh).tolist(), strict=True))
        value_N = np.array([self._known[pair] for pair in pairs])
        return np.where(np.isnan(value_N), np.nanmean(value_N) if not np.isnan(value_N).all() else 0.0, value_N)

    def _computed(self, pairs: Sequence[tuple[str, str]]) -> npt.NDArray[np.float64]:
        opened = self._opened
        texts, rewrites = [query for query, _ in pairs], [action for _, action in pairs]
        hits = search(opened.retriever, texts, rewrites, opened.combine, opened.weight, DEPTH)
        typed = [self._queries.get(text_key(text), Query(-1, "", text)) for text in texts]
        engagement = self._shopper.engage(typed, hits.rows_NK, self._judge.grade(typed, hits.rows_NK))
        if self._reward != "revenue":
            return engagement.some_N3[:, EVENTS.index(self._reward)].astype(np.float64)
        price_NK = np.where(hits.rows_NK >= 0, self._price_C[np.maximum(hits.rows_NK, 0)], 0.0)
        return np.nansum(engagement.purchase_NK * price_NK, axis=1).astype(np.float64)
