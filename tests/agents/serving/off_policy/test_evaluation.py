"""A candidate on a log: rewards from events, support, refusal, and a model that has not seen the session."""

from __future__ import annotations

import numpy as np
import pytest

from agents.serving.off_policy.evaluation import OffPolicySettings, evaluate_policy, policy_weights
from agents.serving.off_policy.logged import Decisions, logged_decisions
from agents.serving.off_policy.reward_model import ShrunkenMeans, cross_fitted
from qr_env.common.errors import ConfigError, DataError
from qr_env.traffic.ubi import ServedQuery, ShopperEvent, UbiLog


def a_log() -> UbiLog:
    queries = [
        ServedQuery("1", "Couch", "s1", rewrite="Sofa^0.50", propensity=0.5),
        ServedQuery("2", "lamp", "s1", rewrite="", propensity=0.25),
        ServedQuery("3", "lamp", "", "c9", rewrite="light"),
    ]
    events = [
        ShopperEvent("1", "purchase", "p1", price=10.0, quantity=2),
        ShopperEvent("1", "purchase", "p2", price=5.0),
        ShopperEvent("2", "click", "p3"),
        ShopperEvent("3", "none", "p3"),
        ShopperEvent("unknown", "purchase", "p3", price=1.0),
    ]
    return UbiLog(queries, events)


def test_rewards_come_from_events_and_deeper_ones_count() -> None:
    assert logged_decisions(a_log(), "click").reward_N.tolist() == [1, 1, 0]
    assert logged_decisions(a_log(), "purchase").reward_N.tolist() == [1, 0, 0]
    assert logged_decisions(a_log(), "revenue").reward_N.tolist() == [25, 0, 0]
    decisions = logged_decisions(a_log())
    assert decisions.actions == ["sofa^0.5", "", "light"]
    assert decisions.clusters_N[0] == decisions.clusters_N[1] != decisions.clusters_N[2]
    with pytest.raises(ConfigError, match="reward='likes'"):
        logged_decisions(a_log(), "likes")
    with pytest.raises(DataError, match="no query"):
        logged_decisions(UbiLog([], []))


def test_weights_are_inverse_probabilities_where_the_rewrite_is_the_logged_one() -> None:
    assert policy_weights(logged_decisions(a_log()), ["sofa^0.5", "light", "light"]).tolist() == [2, 0, 1]


def simulated(epsilon: float, size: int = 3_000) -> Decisions:
    """Two queries, two rewrites each; "good" sells with .5, "bad" with .2; served: "bad", except for epsilon."""
    rng = np.random.default_rng(0)
    good_N = rng.random(size) < epsilon
    reward_N = (rng.random(size) < np.where(good_N, 0.5, 0.2)).astype(float)
    queries = [f"q{at % 2}" for at in range(size)]
    actions = ["good" if one else "bad" for one in good_N]
    return Decisions(
        queries, actions, np.where(good_N, max(epsilon, 1e-9), 1 - epsilon), reward_N, np.arange(size) // 2
    )


def test_all_estimators_find_a_better_candidate_in_a_log_with_exploration() -> None:
    decisions = simulated(0.3)
    actions = ["good"] * len(decisions)
    found = evaluate_policy(decisions, actions, ["ips", "snips", "dr"], model=cross_fitted(decisions, actions))
    assert found["support"]["low"] < 1 < found["support"]["high"]
    for estimate in found["estimates"].values():
        assert estimate["value"] == pytest.approx(0.5, abs=0.06)
        assert estimate["difference"]["low"] > 0.1
    assert found["served"]["value"] == pytest.approx(decisions.reward_N.mean())


def test_without_support_a_candidate_is_refused_with_the_way_out() -> None:
    with pytest.raises(DataError, match=r"no support: 0\.0% .*every logged probability is 1.*--explore 0\.1"):
        evaluate_policy(simulated(0.0), ["good"] * 3_000, ["ips"])
    with pytest.raises(DataError, match="too little support"):
        evaluate_policy(simulated(0.3, 60), ["good"] * 60, ["ips"], OffPolicySettings(min_effective=50))


def test_the_fitted_model_shrinks_and_predicts_held_out_sessions() -> None:
    model = ShrunkenMeans.fit(["a"] * 40 + ["b"], ["x"] * 40 + ["y"], np.array([1.0] * 40 + [0.0]))
    seen, rare, unknown = model.predict(["a", "b", "c"], ["x", "y", "z"]).tolist()
    assert seen > 0.95 and 0.5 < rare < unknown == pytest.approx(40 / 41)
    decisions = simulated(0.5)
    policy_N, logged_N = cross_fitted(decisions, ["good"] * len(decisions))
    assert policy_N.mean() == pytest.approx(0.5, abs=0.05)
    bad_N = np.array([action == "bad" for action in decisions.actions])
    assert logged_N[bad_N].mean() == pytest.approx(0.2, abs=0.05)
