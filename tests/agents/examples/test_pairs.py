"""Rejection sampling: candidates of the query log, kept by reward."""

import numpy as np
import pytest

from agents.examples.pairs import rejection_sample
from agents.examples.scoring import RewardScorer
from agents.query_log.word_model import candidates, word_model
from tests.helpers.fakes import tiny_shop, tiny_simulator


@pytest.fixture(scope="module")
def tiny_setup():
    shop = tiny_shop()
    return shop, shop.split("train")


def test_rejection_keeps_the_highest_reward_or_the_original(tiny_setup):
    _, train = tiny_setup
    options = [["a", "b"], ["c"], [], ["d"]]
    rewards = np.array([[0.1, 0.3], [-0.2, np.nan], [np.nan, np.nan], [np.nan, np.nan]], np.float32)
    found = rejection_sample(train[:4], options, lambda q, o: rewards)
    assert found.pairs == [(train[0].text, "b"), (train[1].text, ""), (train[2].text, "")]
    assert (found.candidates, found.rewritten, found.unchanged, found.unjudged) == (4, 1, 2, 1)


def test_the_original_is_kept_only_if_every_candidate_was_judged(tiny_setup):
    _, train = tiny_setup
    nan = np.nan
    rewards = np.array([[nan, nan, -0.1], [0.01, nan, nan], [nan, 0.5, nan], [-0.1, -0.2, 0.01]], np.float32)
    options = [["a", "b", "c"], ["a"], ["a", "b"], ["a", "b", "c"]]
    found = rejection_sample(train[:4], options, lambda q, o: rewards)
    assert found.pairs == [(train[1].text, ""), (train[2].text, "b"), (train[3].text, "")]
    assert (found.rewritten, found.unchanged, found.unjudged) == (1, 2, 1)


def test_candidates_are_scored_by_the_simulator(tiny_setup):
    shop, train = tiny_setup
    options = candidates(word_model(shop, train), train)
    found = rejection_sample(train, options, RewardScorer(tiny_simulator, chunk=3))
    rewrites = dict(found.pairs)
    assert "sofa" in rewrites["couch"]
    assert rewrites["sofa"] == ""  # nothing beats a query that finds what it should
