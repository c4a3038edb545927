"""Warm-start pairs from the shop's own log: candidates of `word_model.py`, kept when they beat the query.

BEQUE's rejection sampling (arXiv 2311.03758 §3.1) keeps, for each query, the candidate that the engine and the judge
pay best, or teaches to leave the query alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.examples.scoring import Scorer
from qr_env.common.types import Query
from qr_env.shop.shop import Shop


@dataclass(frozen=True)
class WarmPairs:
    """Pairs kept by rejection sampling; `rewrite` "" teaches to leave the query alone. Counts for the log: candidates
    tried; queries rewritten, left alone, and left out because a verdict is missing."""

    pairs: list[tuple[str, str]]
    tried: int
    kept: int
    alone: int
    unjudged: int


def bought_titles(shop: Shop, queries: Sequence[Query]) -> dict[str, list[str]]:
    """Query id → distinct titles of what was bought for it, in the log's order; only `queries`' purchases are read."""
    bought: dict[str, dict[str, None]] = {query.id: {} for query in queries}
    for place, product in zip(*(part.tolist() for part in shop.purchases_of(queries)), strict=True):
        bought[queries[place].id][shop.titles[product]] = None
    return {name: list(titles) for name, titles in bought.items() if titles}


def rejection_sample(
    queries: Sequence[Query], options: Sequence[Sequence[str]], score: Scorer, min_reward: float = 0.02
) -> WarmPairs:
    """For each query the best-paid candidate, or "" where none is paid more than `min_reward`.

    A query is left alone only where every candidate has a verdict, or there is none to try; else it is left out and
    counted: silence is not evidence that the original is good.
    """
    rewards_PG = score(queries, options)
    pairs: list[tuple[str, str]] = []
    for query, texts, rewards_G in zip(queries, options, rewards_PG, strict=True):
        paid = np.nan_to_num(rewards_G[: len(texts)], nan=-np.inf)
        best = int(np.argmax(paid)) if texts else -1
        if best >= 0 and paid[best] > min_reward:
            pairs.append((query.text, texts[best]))
        elif np.isfinite(paid).all():
            pairs.append((query.text, ""))
    alone = sum(not rewrite for _, rewrite in pairs)
    counts = (sum(map(len, options)), len(pairs) - alone, alone, len(queries) - len(pairs))
    return WarmPairs(pairs, *counts)
