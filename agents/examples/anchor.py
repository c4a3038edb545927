"""AnchorPairs of the stream: rewrites that the shop's log suggests for the queries that pass by, kept when they are paid.

The supervised anchor of online learning (JD, arXiv 2603.02555, keeps one; BEQUE's rejection sampling makes the pairs).
A query that streams in is looked up in the log once: what was bought for it and for its words suggests candidates, the
engine and the judge pay each, the best one that beats the original becomes its pair, "" teaches to leave it alone.

The same is done for `SLIPS` twins of the query, typed by a hurried thumb (`qr_env.synthetic.typos.typo_variant`): the same shopper,
the same wish, another text, for which the engine finds something else and another rewrite pays. A log of ten thousand
queries holds few typos; its twins hold as many as wanted (runs/LOG.md: +7 points of headroom on test).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from agents.examples.pairs import rejection_sample
from agents.examples.scoring import Scorer
from agents.query_log.word_model import WordModel, candidates
from qr_env.common.types import Query
from qr_env.synthetic.typos import typo_variant

Pair = tuple[str, str]
REPLAY = 3
SLIPS = 3


@dataclass
class AnchorPairs:
    """Pairs for streaming queries, and `REPLAY` times as many from earlier ones and their twins.

    model: the log's words. score: pays candidates. keep_words: candidates carry the query's own words too (for
    `combine` modes that search the rewrite without them). slips: twins a query; 0 where a judge must be paid for each.
    seed: of the replay and the slips. epoch: rises with every change of what is on sale: a query that comes in another
    text or epoch than before is looked up again, and its earlier pairs are dropped. recent: earlier ones are replayed
    from so many queries that were looked up last, 0 from all: in a shop that changes, what was found long ago is in
    yesterday's words, and would be most of what is taught.
    """

    model: WordModel
    score: Scorer
    keep_words: bool = False
    slips: int = SLIPS
    seed: int = 0
    calls: int = 0
    epoch: Callable[[], int] = int  # int() is 0: nothing changes
    recent: int = 0
    known: dict[str, list[Pair]] = field(default_factory=dict)
    asked: dict[str, tuple[str, int]] = field(default_factory=dict)  # text and epoch of the last look
    order: list[str] = field(default_factory=list)  # of queries, by their last look

    def pairs(self, queries: Sequence[Query]) -> list[Pair]:
        """The pairs of these queries and those replayed; queries without a verdict, or not of the log, have none."""
        queries = [query for query in queries if query.id in self.model.row_of]
        self._learn(queries)
        rng = np.random.default_rng([self.seed, self.calls])
        self.calls += 1
        now = [self.known[query.id][0] for query in queries if self.known[query.id]]
        among = self.order[-self.recent :]
        places = rng.integers(max(len(among), 1), size=REPLAY * len(queries)).tolist()
        earlier = [self.known[among[place]] for place in places if among]
        return now + [pairs[int(rng.integers(len(pairs)))] for pairs in earlier if pairs]

    def _learn(self, queries: Sequence[Query]) -> None:
        """Look fresh queries and their twins up, pay the candidates, keep the pairs, the query's own first."""
        now = self.epoch()
        fresh = list({q.id: q for q in queries if self.asked.get(q.id) != (q.text, now)}.values())
        if not fresh:
            return
        both = [*fresh, *(twin for query in fresh for twin in twins(query, self.slips, self.seed))]
        options = candidates(self.model, both)
        if self.keep_words:
            options = [[f"{query.text} {text}" for text in texts] for query, texts in zip(both, options, strict=True)]
        found = dict(rejection_sample(both, options, self.score).pairs)
        again = {query.id for query in fresh} & self.known.keys()
        self.order = [name for name in self.order if name not in again] if again else self.order
        for query in fresh:
            self.order.append(query.id)
            self.known[query.id], self.asked[query.id] = [], (query.text, now)
        for query in both:
            if query.text in found:
                self.known[query.id].append((query.text, found[query.text]))

    def state_dict(self) -> dict[str, object]:
        """What the next call depends on besides the log and the judge."""
        return {
            "calls": self.calls,
            "known": {name: list(pairs) for name, pairs in self.known.items()},
            "order": list(self.order),
            "asked": dict(self.asked),
        }

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on where `state_dict` was taken."""
        self.calls, self.known, self.order = state["calls"], dict(state["known"]), list(state["order"])  # type: ignore[assignment,call-overload]
        self.asked = {name: (text, epoch) for name, (text, epoch) in state["asked"].items()}  # type: ignore[attr-defined]


def twins(query: Query, n: int, seed: int) -> list[Query]:
    """Up to n twins of a query that differ from it by a slip; the same ones whenever they are asked for."""
    rng = random.Random(f"{seed} {query.id}")
    texts = dict.fromkeys(typo_variant(query.text, rng) for _ in range(n))
    return [replace(query, text=text) for text in texts if text != query.text]
