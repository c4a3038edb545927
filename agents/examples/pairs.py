"""Training pairs by rejection sampling: candidates of the query log, kept if they beat the original query.

BEQUE's rejection sampling (arXiv 2311.03758 §3.1) keeps, for each query, the candidate with the highest reward by
engine and judge, or the pair (query, "") where keeping the original is best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.examples.scoring import Scorer
from qr_env.common.types import Query
from qr_env.shop.shop import Shop


@dataclass(frozen=True)
class SampledPairs:
    """Result of rejection sampling."""

    pairs: list[tuple[str, str]]
    """(query, rewrite); the rewrite "" keeps the original."""
    candidates: int
    """Number of candidates scored."""
    rewritten: int
    """Number of queries with a rewrite."""
    unchanged: int
    """Number of queries that keep the original."""
    unjudged: int
    """Number of queries without a pair, because a verdict is missing."""


def bought_titles(shop: Shop, queries: Sequence[Query]) -> dict[str, list[str]]:
    """Query id → distinct titles bought for it, in the log's order; only the purchases of `queries` are read."""
    bought: dict[str, dict[str, None]] = {query.id: {} for query in queries}
    for place, product in zip(*(part.tolist() for part in shop.purchases_of(queries)), strict=True):
        bought[queries[place].id][shop.titles[product]] = None
    return {name: list(titles) for name, titles in bought.items() if titles}


def rejection_sample(
    queries: Sequence[Query],
    options: Sequence[Sequence[str]],
    score: Scorer,
    min_reward: float = 0.02,
    defaults: Sequence[str] | None = None,
) -> SampledPairs:
    """For each query the candidate with the highest reward, or its default if none is `min_reward` better.

    The best of many noisy rewards is too high by chance, so that a candidate has to be better by a margin. A query has
    its default only if every candidate has a verdict, or there is no candidate. Otherwise the query is left out and
    counted: a missing verdict is no evidence that the default is good.

    Args:
        queries: P queries.
        options: their candidates.
        score: rewards of the candidates; that of "" is 0.
        min_reward: margin by which the best candidate must beat the default.
        defaults: one a query, "" or one of its candidates; None: "", the original query.
    """
    rewards_PG = score(queries, options)
    pairs: list[tuple[str, str]] = []
    usual = [""] * len(queries) if defaults is None else defaults
    for query, texts, rewards_G, default in zip(queries, options, rewards_PG, usual, strict=True):
        known = np.nan_to_num(rewards_G[: len(texts)], nan=-np.inf)
        best = int(np.argmax(known)) if texts else -1
        to_beat = known[texts.index(default)] if default else 0.0
        if best >= 0 and np.isfinite(to_beat) and known[best] > to_beat + min_reward:
            pairs.append((query.text, texts[best]))
        elif np.isfinite(known).all():
            pairs.append((query.text, default))
    unchanged = sum(not rewrite for _, rewrite in pairs)
    return SampledPairs(
        pairs,
        candidates=sum(map(len, options)),
        rewritten=len(pairs) - unchanged,
        unchanged=unchanged,
        unjudged=len(queries) - len(pairs),
    )
