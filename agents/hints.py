"""Hints of the stream: rewrites that the shop's log suggests for the queries that pass by, kept when they are paid.

The supervised anchor of online learning (JD, arXiv 2603.02555, keeps one; BEQUE's rejection sampling makes the pairs).
A query that streams in is looked up in the log once: what was bought for it and for its words suggests candidates, the
engine and the judge pay each, the best one that beats the original becomes its pair, "" teaches to leave it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from agents.pairs import Scorer, WordModel, candidates, rejection_sample
from qr_env.types import Query

Pair = tuple[str, str]
REPLAY = 3


@dataclass
class Hints:
    """Pairs for streaming queries, and `REPLAY` times as many from earlier ones, lest they be forgotten.

    model: the log's words. score: pays candidates. keep_words: candidates carry the query's own words too (for
    `combine` modes that search the rewrite without them). seed: of the replay.
    """

    model: WordModel
    score: Scorer
    keep_words: bool = False
    seed: int = 0
    calls: int = 0
    known: dict[str, Pair | None] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    def pairs(self, queries: Sequence[Query]) -> list[Pair]:
        """The pairs of these queries and those replayed; queries without a verdict have none."""
        self._learn(queries)
        rng = np.random.default_rng([self.seed, self.calls])
        self.calls += 1
        earlier = (
            [self.order[i] for i in rng.integers(len(self.order), size=REPLAY * len(queries))] if self.order else []
        )
        found = [self.known[name] for name in [*(query.id for query in queries), *earlier]]
        return [pair for pair in found if pair is not None]

    def _learn(self, queries: Sequence[Query]) -> None:
        fresh = list({query.id: query for query in queries if query.id not in self.known}.values())
        if not fresh:
            return
        options = candidates(self.model, fresh)
        if self.keep_words:
            options = [[f"{query.text} {text}" for text in texts] for query, texts in zip(fresh, options, strict=True)]
        found = dict(rejection_sample(fresh, options, self.score).pairs)
        for query in fresh:
            self.known[query.id] = (query.text, found[query.text]) if query.text in found else None
            self.order.append(query.id)

    def state_dict(self) -> dict[str, object]:
        """What the next call depends on besides the log and the judge."""
        return {"calls": self.calls, "known": dict(self.known), "order": list(self.order)}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on where `state_dict` was taken."""
        self.calls, self.known, self.order = state["calls"], dict(state["known"]), list(state["order"])  # type: ignore[assignment,call-overload]
