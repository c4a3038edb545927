"""Stochastic serving: the candidates are fixed, their probabilities sum to 1 and are those of the draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from agents.serving.exploration import Explorer, action_of
from qr_env.common.errors import ConfigError

TABLE = {
    "couch": ["sofa", "settee", "SOFA", "couch"],
    "lamp": ["lamp", "lamp"],
    "desk": ["table^0.5", "table^0.50"],
}


class Scripted:
    """Rewrites by a table; samples are the further entries."""

    name = "scripted"

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The first n entries, repeated."""
        return [(TABLE[query] * n)[:n] for query in queries]


def test_candidates_are_distinct_searches_the_best_first_and_the_query_as_typed_among_them() -> None:
    found = Explorer(Scripted(), 0.3, 4).candidates(["couch", "lamp", "desk"])
    assert found == [["sofa", "", "settee"], [""], ["table^0.5", ""]]


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_the_probabilities_sum_to_one_and_are_those_of_the_draws(epsilon: float) -> None:
    explorer = Explorer(Scripted(), epsilon, 4)
    (candidates,) = explorer.candidates(["couch"])
    probabilities = dict(zip(candidates, explorer.probabilities(candidates), strict=True))
    assert sum(probabilities.values()) == pytest.approx(1)
    drawn = explorer.choose(["couch"] * 6_000, range(6_000))
    counts = Counter(rewrite for rewrite, _ in drawn)
    assert all(probability == pytest.approx(probabilities[rewrite]) for rewrite, probability in drawn)
    for candidate, probability in probabilities.items():
        spread = 4 * np.sqrt(probability * (1 - probability) / 6_000)
        assert counts[candidate] / 6_000 == pytest.approx(probability, abs=spread + 1e-12)


def test_a_seed_draws_the_same_rewrite_whatever_else_is_asked() -> None:
    alone = Explorer(Scripted(), 0.5).choose(["couch"], [17])
    assert Explorer(Scripted(), 0.5).choose(["desk", "couch"], [3, 17])[1:] == alone


def test_equal_searches_are_one_action() -> None:
    assert action_of("Couch", "SOFA  bed^0.50") == action_of("couch", "sofa bed^0.5") == "sofa bed^0.5"
    assert action_of("couch", " COUCH ") == action_of("couch", "") == ""


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"explore=1\.5"):
        Explorer(Scripted(), 1.5)
    with pytest.raises(ConfigError, match="candidates=1"):
        Explorer(Scripted(), 0.5, 1)
