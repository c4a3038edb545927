"""Regret, recovery and forgetting against slow loops and against policies with known results."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from qr_env.common.errors import ConfigError, DataError
from qr_env.evaluation.regret import (
    OutcomeLog,
    Outcomes,
    forgetting,
    read_outcomes,
    recoveries,
    recovery,
    regret,
    report,
    share,
    shares,
    trailing,
)

EVENT = {"at": 4_000, "event": "words", "length": 0, "share": 1.0, "what": ""}


def lines(n: int = 10_000, low: float = 0.2, duration: int = 3_000) -> list[str]:
    """Outcomes of a learning and a frozen policy with 80 % of the headroom, which drops to `low` at the event.

    The learning policy recovers linearly within `duration` queries. A third of the queries have no headroom."""
    rng = np.random.default_rng(0)
    rows = []
    for at in range(n):
        since = at - EVENT["at"]
        level = 0.8 if since < 0 else low + (0.8 - low) * min(since / duration, 1.0)
        oracle = float(rng.random() * (rng.random() < 2 / 3))
        gain = {"learning": level * oracle, "frozen": (0.8 if since < 0 else low) * oracle, "oracle": oracle}
        rows.append(json.dumps({"at": at, "query": f"q{at % 50}", "segment": "ab"[at % 2], "gain": gain}))
    return [*rows, json.dumps(EVENT)]


OUTCOMES = read_outcomes(lines())


def test_regret_is_the_cumulative_difference_to_the_oracle() -> None:
    outcomes = read_outcomes(
        ['{"at": 1, "gain": {"me": 0.1, "oracle": -0.5}}', '{"at": 0, "gain": {"me": 0.25, "oracle": 1.0}}']
    )
    np.testing.assert_allclose(regret(outcomes, "me"), [0.75, 0.65])  # the oracle may leave a query alone
    assert outcomes.policies == ["me"]


def test_shares_are_sums_over_sums() -> None:
    gains_N, oracle_N = np.array([0.1, 0.0, 0.3, -0.2, 0.5]), np.array([0.2, 0.0, 0.4, 0.0, 0.5])
    assert share(gains_N, oracle_N) == pytest.approx(0.7 / 1.1)
    np.testing.assert_allclose(shares(gains_N, oracle_N, 2), [0.5, 0.6 / 0.9])  # the odd one joins the last window
    assert math.isnan(share(gains_N, np.zeros(5))) and np.isnan(shares(gains_N, np.zeros(5), 5)).all()


def test_trailing_equals_a_loop() -> None:
    rng = np.random.default_rng(1)
    gains_N, oracle_N = rng.normal(size=300), rng.random(300)
    expected = [gains_N[i - 40 : i].sum() / oracle_N[i - 40 : i].sum() for i in range(40, 301)]
    np.testing.assert_allclose(trailing(gains_N, oracle_N, 40), expected)
    assert len(trailing(gains_N, oracle_N, 301)) == 0


def test_a_learner_recovers_when_a_window_reaches_the_level_and_a_frozen_policy_does_not() -> None:
    learning, frozen = (recovery(OUTCOMES, name, 4_000, window=500) for name in ("learning", "frozen"))
    assert learning is not None and frozen is not None
    assert learning.before == pytest.approx(0.8) == frozen.before
    assert frozen.queries is None and frozen.lowest == pytest.approx(0.2) == frozen.last
    # 80 % of 0.8 is 0.64, climbed to after 0.44 / 0.6 of 3,000 queries; the mean of a window of 500 is 250 behind.
    assert learning.queries == pytest.approx(2_200 + 250, abs=60)
    assert learning.last == pytest.approx(0.8) and learning.first == pytest.approx(0.25, abs=0.02)


def test_a_policy_without_a_drop_recovers_after_one_window() -> None:
    one = recovery(read_outcomes(lines(low=0.8)), "learning", 4_000, window=500)
    assert one is not None and one.queries == 500


def test_events_that_cannot_be_measured_are_left_out() -> None:
    assert recovery(OUTCOMES, "learning", 300, window=500) is None, "no window before it"
    assert recovery(OUTCOMES, "learning", 4_000, until=4_400, window=500) is None, "no window before the next event"
    assert recovery(OUTCOMES, "learning", 4_000, until=5_000, window=500).queries is None  # type: ignore[union-attr]
    for window, level in ((0, 0.8), (500, 0.0), (500, 1.1)):
        with pytest.raises(ConfigError, match="window must be"):
            recovery(OUTCOMES, "learning", 4_000, window=window, level=level)


def test_an_event_is_measured_up_to_the_next() -> None:
    two = [*lines(), json.dumps({**EVENT, "at": 4_900, "event": "typos"}), json.dumps({**EVENT, "at": 9_900})]
    found = recoveries(read_outcomes(two), "learning", 500)
    assert [(one.event, one.at, one.queries) for one in found] == [("words", 4_000, None), ("typos", 4_900, 500)]


def test_forgetting_is_the_best_earlier_share_less_the_last() -> None:
    at_N = np.arange(4_000)
    level_N = np.where(at_N % 2 == 0, np.where(at_N < 2_000, 0.9, 0.4), np.where(at_N < 2_000, 0.1, 0.6))
    segment_N = np.where(at_N % 2 == 0, "old", "new")
    outcomes = Outcomes(at_N, segment_N, {"learning": level_N, "oracle": np.ones(4_000)})
    assert forgetting(outcomes, "learning", 500) == pytest.approx({"new": -0.0, "old": 0.5}, abs=1e-9)
    assert forgetting(outcomes, "learning", 1_500) == {}


def test_missing_verdicts_are_left_out_for_all_and_counted() -> None:
    rows = [
        '{"at": 0, "gain": {"a": null, "b": 1.0, "oracle": 1.0}}',
        '{"at": 1, "gain": {"a": 0.5, "b": 0.25, "oracle": 1}}',
    ]
    outcomes = read_outcomes(rows)
    assert (outcomes.missing, outcomes.at_N.tolist(), regret(outcomes, "b").tolist()) == (1, [1], [0.75])


def test_the_report_is_json() -> None:
    made = report(OUTCOMES, window=500)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert len(made["at"]) == 20 == len(made["policies"]["learning"]["shares"])
    assert made["policies"]["frozen"]["regret"] > made["policies"]["learning"]["regret"] > 0
    assert made["policies"]["learning"]["recoveries"][0]["event"] == "words"
    assert made["policies"]["frozen"]["forgetting"]["a"] == pytest.approx(0.6, abs=1e-6)


@pytest.mark.parametrize(
    ("row", "words"),
    [("{", "line 1"), ('{"gain": {}}', "line 1"), ('{"at": 1, "gain": {"a": 1}}', "'oracle'"), ("", "line 1")],
)
def test_invalid_outcome_lines_raise(row: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_outcomes([row])
    with pytest.raises(DataError, match="no line of a query"):
        read_outcomes([json.dumps(EVENT)])


def test_the_log_is_rewound_to_a_clock_and_read_back(tmp_path: Path) -> None:
    log = OutcomeLog(tmp_path / "run" / "outcomes.jsonl")
    log.rewind(0)
    log.write({"at": at, "segment": "", "gain": {"a": at / 10 if at else math.nan, "oracle": 1.0}} for at in range(6))
    log.write([EVENT])
    with log.path.open("a") as handle:
        handle.write('{"at": 7, "ga')
    log.rewind(4)
    log.write([{"at": 4, "segment": "", "gain": {"a": 0.5, "oracle": 1.0}}])
    outcomes = read_outcomes(log.path)
    assert (outcomes.at_N.tolist(), outcomes.missing, outcomes.events) == ([1, 2, 3, 4], 1, [])
    np.testing.assert_allclose(outcomes.gains["a"], [0.1, 0.2, 0.3, 0.5])
