"""What simulated shoppers search with: a rewriter on an engine, in this process."""

from __future__ import annotations

from collections.abc import Sequence

from agents.serving.exploration import Explorer
from judges.shoppers.sessions.simulator import SearchAnswer, SearchRequest, Visits
from qr_env.common.protocols import Agent, Retriever
from qr_env.query_text.kept import is_kept
from qr_env.retrieval.combine import ORIGINAL_WEIGHT, search


class AgentSearcher:
    """A rewriter on an engine; every distinct query is rewritten and searched once.

    Args:
        name: for reports.
        agent, retriever, combine, weight: how a query is rewritten and searched.
        explorer: draws the rewrites, with their probabilities; None serves the rewriter's best.
    """

    def __init__(
        self,
        name: str,
        agent: Agent,
        retriever: Retriever,
        combine: str = "expand",
        weight: float = ORIGINAL_WEIGHT,
        explorer: Explorer | None = None,
    ) -> None:
        self.name = name
        self._agent, self._retriever, self._combine, self._weight = agent, retriever, combine, weight
        self._explorer = explorer
        self._known: dict[str, SearchAnswer] = {}

    def answer(self, requests: Sequence[SearchRequest], k: int) -> list[SearchAnswer]:
        """The lists of N searches."""
        if self._explorer is not None:
            return self._explored(self._explorer, requests, k)
        fresh = [text for text in dict.fromkeys(one.query.text for one in requests) if text not in self._known]
        if fresh:
            rewrites = [group[0] for group in self._agent.rewrite(fresh)]
            hits = search(self._retriever, fresh, rewrites, self._combine, self._weight, k)
            for text, rewrite, rows_K in zip(fresh, rewrites, hits.rows_NK, strict=True):
                kept = is_kept(text, rewrite)
                self._known[text] = SearchAnswer(rows_K, "" if kept else rewrite, self.name)
        return [self._known[one.query.text] for one in requests]

    def _explored(self, explorer: Explorer, requests: Sequence[SearchRequest], k: int) -> list[SearchAnswer]:
        queries = [one.query.text for one in requests]
        drawn = explorer.choose(queries, [one.session * 1_000 + int(one.time) % 1_000 for one in requests])
        hits = search(self._retriever, queries, [rewrite for rewrite, _ in drawn], self._combine, self._weight, k)
        return [
            SearchAnswer(rows_K, rewrite, self.name, propensity)
            for rows_K, (rewrite, propensity) in zip(hits.rows_NK, drawn, strict=True)
        ]

    def shown(self, visits: Visits) -> None:
        """Nothing: this searcher does not learn."""
