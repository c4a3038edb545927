"""The fitted model of the reward, and that no search is predicted from its own session."""

import numpy as np
import pytest

from agents.serving.off_policy.logged import Decisions
from agents.serving.off_policy.reward_model import ShrunkenMeans, cross_fitted


def test_means_are_shrunk_from_rewrite_to_log():
    model = ShrunkenMeans.fit(["a"] * 10, ["x"] * 10, np.ones(10))
    assert model.predict(["a", "b"], ["x", ""]).tolist() == [1.0, 1.0]
    model = ShrunkenMeans.fit(["a"] * 10 + ["b"] * 10, [""] * 20, np.repeat([1.0, 0.0], 10))
    # Three levels, each (10 · mean + 10 · the level above) / 20: 0.75, 0.875, 0.9375.
    assert model.predict(["a", "c"], ["", ""]).tolist() == [pytest.approx(0.9375), 0.5]
    assert ShrunkenMeans.fit([], [], np.zeros(0)).predict(["a"], [""]).tolist() == [0.0]


def test_a_search_is_not_predicted_from_its_own_session():
    count = 50
    parts = ["q"] * count, ["x"] * count, np.ones(count)
    before = Decisions(*parts, np.zeros(count), np.arange(count) // 5)
    changed = Decisions(*parts, np.zeros(count), np.arange(count) // 5)
    changed.reward_N[:5] = 1.0
    old, new = cross_fitted(before, ["x"] * count), cross_fitted(changed, ["x"] * count)
    assert (new[1][:5] == old[1][:5]).all()
    assert (new[1][5:] > old[1][5:]).any()
