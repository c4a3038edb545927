"""Decisions of a log: rewards, sessions, probabilities within the variant."""

import pytest

from agents.serving.off_policy.logged import logged_decisions
from qr_env.common.errors import ConfigError, DataError
from qr_env.traffic.ubi import ServedQuery, ShopperEvent, UbiLog


def served(number, **more):
    return ServedQuery(f"i{number}", "couch", **more)


def test_rewards_count_deeper_events_and_sum_money():
    queries = [served(1, session_id="a", rewrite="Sofa"), served(2, session_id="a", rewrite="couch"), served(3)]
    events = [
        ShopperEvent("i1", "click", "p1"),
        ShopperEvent("i1", "purchase", "p1", price=10.0, quantity=2),
        ShopperEvent("i1", "purchase", "p2", price=5.0),
        ShopperEvent("i2", "click", "p1"),
        ShopperEvent("i3", "none", "p1"),
    ]
    log = UbiLog(queries, events)
    assert logged_decisions(log, "click").reward_N.tolist() == [1, 1, 0]
    assert logged_decisions(log, "purchase").reward_N.tolist() == [1, 0, 0]
    assert logged_decisions(log, "revenue").reward_N.tolist() == [25, 0, 0]
    found = logged_decisions(log, "cart")
    assert found.reward_N.tolist() == [1, 0, 0]
    assert found.actions == ["sofa", "", ""]  # "couch" for couch keeps it
    assert found.clusters_N[0] == found.clusters_N[1] != found.clusters_N[2]


def test_probabilities_are_those_within_the_variant():
    queries = [
        served(1, variant="baseline", propensity=0.2, assignment=0.4),
        served(2, variant="candidate", propensity=0.05, assignment=0.5, rewrite="sofa"),
        served(3, variant="holdout", propensity=0.1, assignment=0.1),
    ]
    found = logged_decisions(UbiLog(queries, []))
    assert found.propensity_N.tolist() == [0.5, pytest.approx(0.1)]  # a holdout draws nothing
    assert logged_decisions(UbiLog(queries[2:], [])).propensity_N.tolist() == [1.0]


def test_refusals():
    with pytest.raises(DataError, match="no query"):
        logged_decisions(UbiLog([], []))
    with pytest.raises(ConfigError, match="reward='views'"):
        logged_decisions(UbiLog([served(1)], []), "views")
