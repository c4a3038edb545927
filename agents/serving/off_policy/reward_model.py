"""Models of the reward of a query with a rewrite, for the doubly robust estimator.

`ShrunkenMeans` is fitted to the log, by cross-fitting: the prediction for a search comes from the sessions of the other
folds. The mean of a (query, rewrite) with n searches is shrunk to the mean of its rewrite's kind (kept or not) of the
query, that one to the query's, and that to the log's, each with `PRIOR` searches' worth of the next.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from agents.serving.off_policy.logged import Decisions

Floats = npt.NDArray[np.float64]
PRIOR = 10.0  # searches
FOLDS = 5


@dataclass
class ShrunkenMeans:
    """Means of rewards by what was searched."""

    overall: float = 0.0
    """Of the log."""
    sums: dict[Hashable, tuple[float, int]] = field(default_factory=dict)
    """Query, (query, kept?) or (query, rewrite, ) → sum of rewards, number of searches."""

    @classmethod
    def fit(cls, queries: Sequence[str], actions: Sequence[str], reward_N: Floats) -> ShrunkenMeans:
        """From N searches."""
        model = cls(float(reward_N.mean()) if len(reward_N) else 0.0)
        for query, action, reward in zip(queries, actions, reward_N.tolist(), strict=True):
            for key in _keys(query, action):
                total, count = model.sums.get(key, (0.0, 0))
                model.sums[key] = total + reward, count + 1
        return model

    def predict(self, queries: Sequence[str], actions: Sequence[str]) -> Floats:
        """(N,) expected rewards."""
        return np.array([self._value(query, action) for query, action in zip(queries, actions, strict=True)])

    def _value(self, query: str, action: str) -> float:
        value = self.overall
        for key in _keys(query, action):
            total, count = self.sums.get(key, (0.0, 0))
            value = (total + PRIOR * value) / (count + PRIOR)
        return value


def _keys(query: str, action: str) -> list[Hashable]:
    """From the coarsest to the finest."""
    return [query, (query, action == ""), (query, "=", action)]


def cross_fitted(decisions: Decisions, policy_actions: Sequence[str]) -> tuple[Floats, Floats]:
    """(q(x, π), q(x, a)) of N searches, each by a model that has not seen its session.

    policy_actions: N rewrites that the policy serves.
    """
    fold_N: npt.NDArray[np.int64] = np.random.default_rng(0).permutation(int(decisions.clusters_N.max()) + 1) % FOLDS
    of_search_N = fold_N[decisions.clusters_N]
    policy_N, logged_N = np.zeros(len(decisions)), np.zeros(len(decisions))
    for fold in range(FOLDS):
        seen, held_out = np.flatnonzero(of_search_N != fold), np.flatnonzero(of_search_N == fold)
        model = ShrunkenMeans.fit(_at(decisions.queries, seen), _at(decisions.actions, seen), decisions.reward_N[seen])
        queries = _at(decisions.queries, held_out)
        policy_N[held_out] = model.predict(queries, _at(policy_actions, held_out))
        logged_N[held_out] = model.predict(queries, _at(decisions.actions, held_out))
    return policy_N, logged_N


def _at(texts: Sequence[str], places: npt.NDArray[np.intp]) -> list[str]:
    return [texts[at] for at in places.tolist()]
