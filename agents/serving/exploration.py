"""Stochastic serving with known probabilities: what off-policy evaluation needs of a log.

    explorer = Explorer(agent, epsilon=0.1, candidates=4)
    explorer.choose(["navy couch"], seeds=[17])          # [("sofa", 0.925)]: rewrite, and its probability

The candidates of a query are fixed: the query as typed, the rewriter's best rewrite, and further ones that it samples
with a fixed seed, each distinct search once, `candidates` at most. With m of them the best rewrite is served with
probability 1 − ε + ε / m and every other one with ε / m (ε-greedy). The probabilities of a query's candidates sum to 1.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Agent
from qr_env.query_text.kept import is_kept, plain
from qr_env.query_text.weights import parse_weights, write_weights

REMEMBERED = 20_000  # queries whose candidates are kept


class Explorer:
    """Draws rewrites.

    Args:
        agent: the rewriter that is explored around.
        epsilon: share of the answers that are drawn evenly, in [0, 1].
        candidates: searches among which is drawn, 2 or more.
    """

    def __init__(self, agent: Agent, epsilon: float, candidates: int = 4) -> None:
        if not 0 <= epsilon <= 1:
            raise ConfigError(f"explore={epsilon}: must be between 0 and 1")
        if candidates < 2:
            raise ConfigError(f"candidates={candidates}: must be 2 or more")
        self.agent, self.epsilon, self.most = agent, epsilon, candidates
        self._known: OrderedDict[str, list[str]] = OrderedDict()

    def choose(self, queries: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, float]]:
        """(rewrite, its probability) for each of P queries; "" keeps the query. A seed draws the same rewrite again."""
        return [
            _drawn(candidates, self.probabilities(candidates), seed)
            for candidates, seed in zip(self.candidates(queries), seeds, strict=True)
        ]

    def candidates(self, queries: Sequence[str]) -> list[list[str]]:
        """The candidates of each query, the rewriter's best first."""
        fresh = [query for query in dict.fromkeys(queries) if query not in self._known]
        found: dict[str, list[str]] = {}
        if fresh:
            groups = self.agent.rewrite(fresh, self.most, seed=0)
            found = {query: self._distinct(query, group) for query, group in zip(fresh, groups, strict=True)}
        answer = [found[query] if query in found else self._known[query] for query in queries]
        self._known |= found
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return answer

    def _distinct(self, query: str, rewrites: Sequence[str]) -> list[str]:
        best, *sampled = [action_of(query, rewrite) for rewrite in rewrites]
        return list(dict.fromkeys([best, "", *sampled]))[: self.most]

    def probabilities(self, candidates: Sequence[str]) -> list[float]:
        """Probability of each candidate, the best first."""
        even = self.epsilon / len(candidates)
        return [1 - self.epsilon + even, *[even] * (len(candidates) - 1)]


def _drawn(candidates: Sequence[str], probabilities: Sequence[float], seed: int) -> tuple[str, float]:
    at = int(np.random.default_rng(seed).choice(len(candidates), p=np.array(probabilities) / sum(probabilities)))
    return candidates[at], probabilities[at]


def action_of(query: str, rewrite: str) -> str:
    """A rewrite in the form in which two that are searched alike are equal; "" where it keeps the query."""
    if is_kept(query, rewrite):
        return ""
    return write_weights((plain(text), weight) for text, weight in parse_weights(rewrite).texts)
