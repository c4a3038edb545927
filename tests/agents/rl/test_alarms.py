"""Alarms are raised on collapse, after a full window, and not before."""

import re

import pytest

from agents.rl.alarms import Alarms

FINE = {"entropy": 1.0, "completions/mean_length": 4.0, "groups/zero_variance": 0.3, "kl": 0.5}


def raised(**changed):
    alarms = Alarms(window=3)
    return [alarms.check(FINE | changed) for _ in range(3)]


def test_a_healthy_run_raises_no_alarm():
    assert raised() == [[], [], []]


def test_each_collapse_has_its_message_once_the_window_is_full():
    for name, value, word in (
        ("entropy", 0.001, "exploring"),
        ("completions/mean_length", 12.0, "budget"),
        ("groups/zero_variance", 1.0, "identical"),
        ("kl", 12.0, "far from the warm start"),
    ):
        first, second, third = raised(**{name: value})
        assert first == second == []
        assert len(third) == 1
        assert word in third[0]


def test_a_single_odd_update_raises_no_alarm():
    alarms = Alarms(window=3)
    messages = [alarms.check(FINE | {"entropy": value}) for value in (1.0, 0.0, 1.0)]
    assert messages[-1] == []


HELD_OUT = {"judge/exploit_rate": 0.2, "eval/judge nDCG@10": 0.5, "eval/nDCG@10": 0.4}


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"judge/exploit_rate": 0.25}, ""),
        ({"judge/exploit_rate": 0.35}, "exploit rate 0.35, up by 0.15"),
        ({"eval/judge nDCG@10": 0.6, "eval/nDCG@10": 0.45}, ""),  # both rise
        ({"eval/judge nDCG@10": 0.42, "eval/nDCG@10": 0.35}, ""),  # both fall: the shop has changed
        ({"eval/judge nDCG@10": 0.56, "eval/nDCG@10": 0.39}, r"nDCG by the judge \+0.060, by labels -0.010"),
    ],
)
def test_the_judge_is_compared_with_the_first_evaluation(changed, word):
    alarms = Alarms()
    assert alarms.check_held_out(HELD_OUT) == []
    restored = Alarms()
    restored.load_state_dict(alarms.state_dict())
    messages = restored.check_held_out(HELD_OUT | changed)
    assert len(messages) == bool(word)
    assert not word or re.search(word, messages[0])


CONVERTING = {"eval/relevance@10": 0.7, "eval/purchase@10": 0.3}


@pytest.mark.parametrize(
    ("relevance", "purchase", "is_raised"),
    [(0.695, 0.4, False), (0.68, 0.29, False), (0.68, 0.31, True), (0.8, 0.4, False), (float("nan"), 0.4, False)],
)
def test_relevance_may_not_fall_while_conversion_rises(relevance, purchase, is_raised):
    alarms = Alarms()
    assert alarms.check_held_out(CONVERTING) == []
    now = {"eval/relevance@10": relevance, "eval/purchase@10": purchase}
    assert bool(alarms.check_held_out(now)) == is_raised
    assert not is_raised or alarms.check_held_out(now)[0].startswith("relevance -0.020 while conversion +0.010")
    assert alarms.check_held_out(now | {"eval/relevance@10": 0.699}) == []


def test_a_changed_shop_is_compared_with_the_first_evaluation_after_the_change():
    alarms = Alarms()
    alarms.check_held_out(CONVERTING | {"stream/shifts": 0.0})
    after = {"eval/relevance@10": 0.5, "eval/purchase@10": 0.31, "stream/shifts": 1.0}
    assert alarms.check_held_out(after) == []
    assert len(alarms.check_held_out(after | {"eval/relevance@10": 0.48, "eval/purchase@10": 0.33})) == 1


def test_an_evaluation_without_judge_metrics_raises_no_alarm():
    alarms = Alarms()
    assert [alarms.check_held_out({"eval/nDCG@10": value}) for value in (0.5, 0.1)] == [[], []]
