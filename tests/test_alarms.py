"""Alarms ring on collapse, after a full window, and not before."""

from agents.alarms import Alarms

FINE = {"entropy": 1.0, "completions/mean_length": 4.0, "groups/zero_variance": 0.3}


def rings(**changed):
    alarms = Alarms(window=3)
    return [alarms.check(FINE | changed) for _ in range(3)]


def test_a_healthy_run_is_silent():
    assert rings() == [[], [], []]


def test_each_collapse_has_its_message_once_the_window_is_full():
    for name, value, word in (
        ("entropy", 0.001, "exploring"),
        ("completions/mean_length", 12.0, "budget"),
        ("groups/zero_variance", 1.0, "identical"),
    ):
        early, still, late = rings(**{name: value})
        assert early == still == []
        assert len(late) == 1
        assert word in late[0]


def test_one_odd_update_is_no_alarm():
    alarms = Alarms(window=3)
    messages = [alarms.check(FINE | {"entropy": value}) for value in (1.0, 0.0, 1.0)]
    assert messages[-1] == []
