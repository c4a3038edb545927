"""Rewards and feedback of candidates equal those of a simulator step."""

import numpy as np
import pytest

from agents.examples.scoring import FIGURES, FeedbackScorer, RewardScorer
from tests.helpers.fakes import tiny_shop, tiny_simulator


@pytest.fixture(scope="module")
def tiny_setup():
    shop = tiny_shop()
    return shop, shop.split("train"), tiny_simulator


def test_figures_equal_those_of_a_step_and_are_nan_without_a_candidate(tiny_setup):
    _, train, simulator = tiny_setup
    options = [["sofa", "red"], ["refrigerator"], []]
    found = FeedbackScorer(simulator, chunk=2)(train[:3], options)
    assert set(found) == set(FIGURES)
    for values in found.values():
        assert np.isnan(values).tolist() == [[False, False], [False, True], [True, True]]
    step_of = simulator(1, 2)
    step_of.reset(train[:1])
    step = step_of.step(options[0])
    assert found["reward"][0] == pytest.approx(step.rewards_N)
    assert found["increment"][0] == pytest.approx(step.figures.increment)
    assert np.array_equal(RewardScorer(simulator)(train[:3], options), found["reward"], equal_nan=True)
