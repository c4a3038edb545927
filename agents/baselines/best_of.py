"""Best of N: another agent proposes rewrites, the engine searches each, and a judge selects the best or the original.

    qr evaluate --agent best-of-8:out/quickstart/checkpoints/best --select-judge embedding

A strong baseline without training. It costs N searches and up to 10 N verdicts a query at serving time (`costs`). The
selecting judge should not be the judge that evaluates: `--select-judge labels` is an upper bound, not a baseline.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Agent, Judge, Retriever
from qr_env.common.types import Hits, Query
from qr_env.query_text.kept import is_kept
from qr_env.retrieval import combine as combining
from qr_env.reward.metrics import DEPTH, dcg
from qr_env.shop.shop import Shop

MARGIN = 1e-6  # by which a rewrite must beat its original


class BestOf:
    """Implements `qr_env.common.protocols.Agent`.

    Args:
        base: proposes n − 1 rewrites, its greedy one and samples (a deterministic agent proposes one).
        n: candidates a query, the original included.
        shop: the judge receives the shop's own query where the text is one of its queries.
        retriever: searches every candidate.
        judge: grades each candidate's results for the original query.
        combine: how a rewrite is searched with its original, as it will be served.
        weight: of the original's words in "expand".

    A candidate's score is the DCG@10 of the judge's expected gains. A candidate with a missing verdict is not selected;
    if the original's verdict is missing, the original is kept.
    """

    def __init__(
        self,
        base: Agent,
        n: int,
        shop: Shop,
        retriever: Retriever,
        judge: Judge,
        combine: str = "expand",
        weight: float = combining.ORIGINAL_WEIGHT,
    ) -> None:
        if n < 2:
            raise ConfigError(f"best-of-{n}: N must be 2 or more, since the original is one of the candidates")
        self.name = f"best-of-{n}:{base.name}"
        self._base, self._n, self._retriever, self._judge = base, n, retriever, judge
        self._combine, self._weight = combine, weight
        self._known = {query.text: query for query in shop.all_queries}  # judges that look queries up by row need it
        self._queries = self._searches = self._verdicts = 0

    @property
    def costs(self) -> dict[str, float]:
        """Searches and verdicts a query, over all queries so far."""
        count = max(self._queries, 1)
        return {"searches/query": self._searches / count, "verdicts/query": self._verdicts / count}

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The n best candidates by the judge, best first; filled up with the best if there are fewer."""
        if not queries:
            return []
        options = self._options(queries, seed)
        owner_N = np.repeat(np.arange(len(queries)), [len(row) for row in options])
        texts = [text for row in options for text in row]
        score_N = self._scores([queries[at] for at in owner_N.tolist()], texts)
        ends = np.cumsum([len(row) for row in options]).tolist()
        starts = [0, *ends[:-1]]
        self._queries += len(queries)
        return [_best(texts[start:end], score_N[start:end], n) for start, end in zip(starts, ends, strict=True)]

    def _options(self, queries: Sequence[str], seed: int) -> list[list[str]]:
        """For each query the original, then the distinct rewrites that differ from it."""
        proposed = self._base.rewrite(queries, n=self._n - 1, seed=seed)
        return [
            [query, *(text for text in dict.fromkeys(texts) if not is_kept(query, text))]
            for query, texts in zip(queries, proposed, strict=True)
        ]

    def _scores(self, originals: list[str], texts: list[str]) -> npt.NDArray[np.float64]:
        """(N,) DCG@10 of each candidate by the judge; NaN if a verdict is missing."""
        hits = combining.search(self._retriever, originals, texts, self._combine, self._weight, DEPTH)
        known = [self._known.get(text, Query(-1, "", text)) for text in originals]
        gains_NK = np.where(hits.found_NK, self._judge.grade(known, hits.rows_NK).gain_NK, 0.0)
        self._searches += len(texts)
        self._verdicts += _distinct_verdicts(originals, hits)
        return dcg(gains_NK)


def _distinct_verdicts(originals: list[str], hits: Hits) -> int:
    """Number of distinct (query, product) pairs among the hits."""
    place = {text: at for at, text in enumerate(dict.fromkeys(originals))}
    owner_N1 = np.array([place[text] for text in originals], np.int64)[:, None]
    pairs = (owner_N1 << 32) + hits.rows_NK
    return len(np.unique(pairs[hits.found_NK]))


def _best(texts: list[str], score_N: npt.NDArray[np.float64], n: int) -> list[str]:
    """The n texts with the highest scores; the first one, the original, wins ties."""
    score_N = np.where(np.isnan(score_N), -np.inf, score_N)
    score_N[0] = score_N[0] + MARGIN if np.isfinite(score_N[0]) else np.inf
    order = np.argsort(-score_N, kind="stable")[:n]
    chosen = [texts[at] for at in order.tolist()]
    return chosen + chosen[:1] * (n - len(chosen))
