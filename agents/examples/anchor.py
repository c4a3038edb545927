"""Anchor pairs of online learning: completions proposed for streaming queries, kept if engine and judge reward them.

They are the supervised anchor of online learning (JD, arXiv 2603.02555, has one; BEQUE's rejection sampling makes the
pairs). Each query of the stream is looked up once: a source (`agents.examples.candidates`: the purchases of the query
and of its words, or the query's suggestions) proposes candidates, engine and judge score them, and the best candidate
that beats the default, "" or what `suggest` chooses, becomes the query's pair.

With a log of purchases the same is done for `TYPO_VARIANTS` variants of the query with one typo each
(`qr_env.synthetic.typos`): same intent, another text, for which the engine finds other products and another rewrite is
best. A log of ten thousand queries holds few typos; variants add as many as wanted (runs/LOG.md: +7 points of headroom
on test).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from agents.examples.candidates import CandidateSource
from agents.examples.pairs import rejection_sample
from agents.examples.scoring import Scorer
from qr_env.common.types import Query
from qr_env.synthetic.typos import typo_variant

Pair = tuple[str, str]
REPLAYED_PER_QUERY = 3  # pairs of earlier queries for each query
TYPO_VARIANTS = 3


@dataclass
class AnchorPairs:
    """Supervised pairs for the queries of an update, and `REPLAYED_PER_QUERY` times as many of earlier queries."""

    source: CandidateSource
    """Proposes candidates."""
    score: Scorer
    """Rewards of candidates."""
    typo_variants: int = TYPO_VARIANTS
    """Typo variants of each query; 0 saves their verdicts where every verdict costs money."""
    seed: int = 0
    """Of the replayed pairs and the typo variants."""
    calls: int = 0
    """Number of calls of `pairs` so far."""
    epoch: Callable[[], int] = int  # int() is 0: nothing changes
    """Version of the assortment on sale; a query whose text or epoch has changed is looked up again, and its earlier
    pairs are dropped."""
    recent: int = 0
    """Replay only this many of the queries looked up last; 0 replays all. In a shop whose catalogue changes, old pairs
    use outdated words."""
    pairs_of: dict[str, list[Pair]] = field(default_factory=dict)
    """Query id → pairs of the query, its own first, then those of its typo variants."""
    looked_up: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Query id → (text, epoch) of its last look-up."""
    order: list[str] = field(default_factory=list)
    """Query ids in the order of their last look-up."""

    def pairs(self, queries: Sequence[Query]) -> list[Pair]:
        """Pairs of these queries, then replayed ones; queries without a verdict, or not in the log, have none."""
        queries = [query for query in queries if self.source.knows(query)]
        self._look_up(queries)
        rng = np.random.default_rng([self.seed, self.calls])
        self.calls += 1
        current = [self.pairs_of[query.id][0] for query in queries if self.pairs_of[query.id]]
        replayable = self.order[-self.recent :]
        places = rng.integers(max(len(replayable), 1), size=REPLAYED_PER_QUERY * len(queries)).tolist()
        earlier = [self.pairs_of[replayable[place]] for place in places if replayable]
        return current + [pairs[int(rng.integers(len(pairs)))] for pairs in earlier if pairs]

    def _look_up(self, queries: Sequence[Query]) -> None:
        """Score the candidates of new queries and their typo variants, and keep the pairs."""
        epoch = self.epoch()
        new = list({q.id: q for q in queries if self.looked_up.get(q.id) != (q.text, epoch)}.values())
        if not new:
            return
        texts = [*new, *(variant for query in new for variant in typo_variants(query, self.typo_variants, self.seed))]
        options, defaults = self.source.candidates(texts), self.source.defaults(texts)
        found = dict(rejection_sample(texts, options, self.score, defaults=defaults).pairs)
        again = {query.id for query in new} & self.pairs_of.keys()
        self.order = [name for name in self.order if name not in again] if again else self.order
        for query in new:
            self.order.append(query.id)
            self.pairs_of[query.id], self.looked_up[query.id] = [], (query.text, epoch)
        for query in texts:
            if query.text in found:
                self.pairs_of[query.id].append((query.text, found[query.text]))

    def state_dict(self) -> dict[str, object]:
        """Everything that the next call depends on besides the log and the scores."""
        return {
            "calls": self.calls,
            "pairs_of": {name: list(pairs) for name, pairs in self.pairs_of.items()},
            "order": list(self.order),
            "looked_up": dict(self.looked_up),
        }

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Continue where `state_dict` was taken."""
        self.calls, self.pairs_of, self.order = state["calls"], dict(state["pairs_of"]), list(state["order"])  # type: ignore[assignment,call-overload]
        self.looked_up = {name: (text, epoch) for name, (text, epoch) in state["looked_up"].items()}  # type: ignore[attr-defined]


def typo_variants(query: Query, n: int, seed: int) -> list[Query]:
    """Up to n copies of a query with one typo each; the same ones at every call."""
    rng = random.Random(f"{seed} {query.id}")
    texts = dict.fromkeys(typo_variant(query.text, rng) for _ in range(n))
    return [replace(query, text=text) for text in texts if text != query.text]
