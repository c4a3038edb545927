"""What simulated shoppers search with: a rewriter on an engine, in this process."""

from __future__ import annotations

from collections.abc import Sequence

from judges.shoppers.sessions.simulator import SearchAnswer, SearchRequest, Visits
from qr_env.common.protocols import Agent, Retriever
from qr_env.query_text.kept import is_kept
from qr_env.retrieval.combine import ORIGINAL_WEIGHT, search


class AgentSearcher:
    """A rewriter on an engine; every distinct query is rewritten and searched once.

    Args:
        name: for reports.
        agent, retriever, combine, weight: how a query is rewritten and searched.
    """

    def __init__(
        self,
        name: str,
        agent: Agent,
        retriever: Retriever,
        combine: str = "expand",
        weight: float = ORIGINAL_WEIGHT,
    ) -> None:
        self.name = name
        self._agent, self._retriever, self._combine, self._weight = agent, retriever, combine, weight
        self._known: dict[str, SearchAnswer] = {}

    def answer(self, requests: Sequence[SearchRequest], k: int) -> list[SearchAnswer]:
        """The lists of N searches."""
        fresh = [text for text in dict.fromkeys(one.query.text for one in requests) if text not in self._known]
        if fresh:
            rewrites = [group[0] for group in self._agent.rewrite(fresh)]
            hits = search(self._retriever, fresh, rewrites, self._combine, self._weight, k)
            for text, rewrite, rows_K in zip(fresh, rewrites, hits.rows_NK, strict=True):
                kept = is_kept(text, rewrite)
                self._known[text] = SearchAnswer(rows_K, "" if kept else rewrite, self.name)
        return [self._known[one.query.text] for one in requests]

    def shown(self, visits: Visits) -> None:
        """Nothing: this searcher does not learn."""
