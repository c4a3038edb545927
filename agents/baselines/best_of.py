"""Best of N: another agent proposes, the engine searches every proposal, a judge picks; the original is among them.

    qr evaluate --agent best-of-8:out/quickstart/checkpoints/best --select-judge embedding

The strongest cheap opponent of a trained rewriter, and its price: N searches and up to 10 N verdicts a query at serving
time (`costs`). The judge that selects is passed in and should not be the one that reports: `--select-judge labels` is a
ceiling, no rewriter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Agent, Judge, Retriever
from qr_env.common.types import Hits, Query
from qr_env.retrieval import combine as combining
from qr_env.reward.metrics import DEPTH, dcg
from qr_env.shop.shop import Shop

MARGIN = 1e-6  # by which a rewrite must beat its original


class BestOf:
    """Implements `qr_env.common.protocols.Agent`.

    Args:
        base: who proposes, n − 1 rewrites beside the original: its best and samples (a deterministic one proposes one).
        n: candidates a query, the original among them.
        judge: grades what each candidate finds, for the original query.
        combine, weight: how a candidate meets its original, as it will be served.

    A candidate's worth is the DCG@10 of the judge's expected gains. Where a verdict is missing it has none and is not
    chosen; where the original's is missing, the original is kept.
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
            raise ConfigError(f"best-of-{n}: needs 2 or more, the original being one of them")
        self.name = f"best-of-{n}:{base.name}"
        self._base, self._n, self._retriever, self._judge = base, n, retriever, judge
        self._combine, self._weight = combine, weight
        self._known = {query.text: query for query in shop.all_queries}  # judges that go by row find theirs
        self._queries = self._searches = self._verdicts = 0

    @property
    def costs(self) -> dict[str, float]:
        """What it asked for, a query, of all queries so far."""
        asked = max(self._queries, 1)
        return {"searches/query": self._searches / asked, "verdicts/query": self._verdicts / asked}

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The n best candidates by the judge, best first; fewer different ones are filled up with the best."""
        if not queries:
            return []
        options = self._options(queries, seed)
        owner_C = np.repeat(np.arange(len(queries)), [len(row) for row in options])
        texts = [text for row in options for text in row]
        worth_C = self._worth([queries[at] for at in owner_C.tolist()], texts)
        ends = np.cumsum([len(row) for row in options]).tolist()
        starts = [0, *ends[:-1]]
        self._queries += len(queries)
        return [_best(texts[start:end], worth_C[start:end], n) for start, end in zip(starts, ends, strict=True)]

    def _options(self, queries: Sequence[str], seed: int) -> list[list[str]]:
        """The original first, then the different proposals that are not it."""
        proposed = self._base.rewrite(queries, n=self._n - 1, seed=seed)
        return [
            [query, *(text for text in dict.fromkeys(texts) if not combining.is_kept(query, text))]
            for query, texts in zip(queries, proposed, strict=True)
        ]

    def _worth(self, originals: list[str], texts: list[str]) -> npt.NDArray[np.float64]:
        """(C,) DCG@10 of each candidate by the judge, NaN where a verdict is missing."""
        hits = combining.search(self._retriever, originals, texts, self._combine, self._weight, DEPTH)
        asked = [self._known.get(text, Query(-1, "", text)) for text in originals]
        gains_CK = np.where(hits.found_NK, self._judge.grade(asked, hits.rows_NK).gain_NK, 0.0)
        self._searches += len(texts)
        self._verdicts += _distinct(originals, hits)
        return dcg(gains_CK)


def _distinct(originals: list[str], hits: Hits) -> int:
    """Verdicts that are needed: a product that several candidates of a query find is graded once."""
    place = {text: at for at, text in enumerate(dict.fromkeys(originals))}
    owner_C1 = np.array([place[text] for text in originals], np.int64)[:, None]
    pairs = (owner_C1 << 32) + hits.rows_NK
    return len(np.unique(pairs[hits.found_NK]))


def _best(texts: list[str], worth_C: npt.NDArray[np.float64], n: int) -> list[str]:
    """The n texts of most worth; the first, the original, wins ties."""
    worth_C = np.where(np.isnan(worth_C), -np.inf, worth_C)
    worth_C[0] = worth_C[0] + MARGIN if np.isfinite(worth_C[0]) else np.inf
    order = np.argsort(-worth_C, kind="stable")[:n]
    chosen = [texts[at] for at in order.tolist()]
    return chosen + chosen[:1] * (n - len(chosen))
