"""An A/B test over its log: outcomes of sessions, decisions, restarts, damaged and late lines."""

from __future__ import annotations

import json

import numpy as np
import pytest

from agents.serving.experiment.assignment import CANDIDATE, HOLDOUT
from agents.serving.experiment.experiment import STATE_FILE, Experiment
from agents.serving.experiment.sessions import LogReader, SessionCollector
from agents.serving.experiment.settings import ExperimentSettings
from qr_env.common.errors import RunFolderError
from qr_env.traffic.ubi import ServedQuery, ShopperEvent, event_line, query_line

SETTINGS = ExperimentSettings(
    shadow_sessions=50, stage_sessions=150, max_sessions=5_000, expected_sessions=800, canary=(0.3, 0.5), holdout=0.1
)
START = 1_000_000.0


def write(folder, queries=(), events=()) -> None:
    with (folder / "ubi_queries.20260101-0000.ndjson").open("a") as file:
        file.writelines(query_line(one) + "\n" for one in queries)
    with (folder / "ubi_events.20260101-0000.ndjson").open("a") as file:
        file.writelines(event_line(one) + "\n" for one in events)


def visit(experiment: Experiment, number: int, now: float, rng: np.random.Generator, effect: float):
    """One session: a query, and a purchase with probability .2, for the candidate times `effect`."""
    name = f"session-{number}"
    assigned = experiment.assign(name)
    served = ServedQuery(f"q{number}", "sofa", name, timestamp=now, variant=assigned.variant, product_ids=("p1",))
    bought = rng.random() < 0.2 * (effect if assigned.variant == CANDIDATE else 1.0)
    event = ShopperEvent(f"q{number}", "purchase", "p1", 1, timestamp=now + 5, price=20.0, event_id=f"e{number}")
    return served, [event] if bought else []


def drive(folder, effect: float, restart_every: int = 0):
    """Visits until the test is decided; the experiment at its end."""
    experiment, rng, now = Experiment.open(folder, SETTINGS, START), np.random.default_rng(0), START + 1
    for batch in range(60):
        visits = [visit(experiment, 100 * batch + at, now, rng, effect) for at in range(100)]
        write(folder, [served for served, _ in visits], [event for _, events in visits for event in events])
        now += 3_600
        experiment.decide(now)
        if restart_every and batch % restart_every == 0:
            experiment = Experiment.open(folder, SETTINGS, now)
        if experiment.stage in ("promoted", "rolled back"):
            break
    return experiment, now


@pytest.mark.parametrize(("effect", "stage"), [(3.0, "promoted"), (0.2, "rolled back")])
def test_a_test_is_decided_by_its_log(tmp_path, effect, stage) -> None:
    experiment, _ = drive(tmp_path, effect)
    state = experiment.state()
    assert state["stage"] == stage and state["sessions left out"]["holdout"] > 20
    assert [one["stage"] for one in state["transitions"]][:2] == ["shadow", "canary"]
    json.dumps(state, allow_nan=False)


def test_a_restart_changes_neither_stage_nor_figures_nor_assignments(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    once, now = drive(tmp_path / "a", 3.0)
    often, _ = drive(tmp_path / "b", 3.0, restart_every=3)
    assert often.state()["transitions"] == once.state()["transitions"]
    reopened = Experiment.open(tmp_path / "a", SETTINGS, now)
    assert reopened.state()["evidence"]["sessions"] == once.state()["evidence"]["sessions"]
    for name, figures in once.state()["evidence"]["metrics"].items():
        assert reopened.state()["evidence"]["metrics"][name] == pytest.approx(figures)
    assert all(reopened.assign(f"new-{at}") == once.assign(f"new-{at}") for at in range(50))


def test_a_session_keeps_its_variant_while_the_shares_change_and_loses_it_at_a_roll_back(tmp_path) -> None:
    experiment = Experiment.open(tmp_path, SETTINGS, START)
    before = {f"s{at}": experiment.assign(f"s{at}") for at in range(300)}
    experiment.controller.enter("canary", START)
    assert all(experiment.assign(name) == one for name, one in before.items())
    assert any(experiment.assign(f"fresh{at}").variant == CANDIDATE for at in range(100))
    experiment.controller.enter("rolled back", START)
    experiment._forget_assignments()
    assert all(experiment.assign(f"fresh{at}").variant != CANDIDATE for at in range(100))


def test_another_folder_of_other_settings_or_a_damaged_file_is_refused(tmp_path) -> None:
    Experiment.open(tmp_path, SETTINGS, START)
    with pytest.raises(RunFolderError, match=r"other settings \(alpha\)"):
        Experiment.open(tmp_path, ExperimentSettings(**{**SETTINGS.__dict__, "alpha": 0.1}), START)
    (tmp_path / STATE_FILE).write_text("{")
    with pytest.raises(RunFolderError, match=r"experiment\.json is damaged"):
        Experiment.open(tmp_path, SETTINGS, START)


def test_lines_are_read_once_complete_ones_alone_and_damaged_ones_are_counted(tmp_path) -> None:
    reader = LogReader(tmp_path)
    write(tmp_path, [ServedQuery("1", "a")], [ShopperEvent("1", "click", "p")])
    path = tmp_path / "ubi_queries.20260101-0000.ndjson"
    with path.open("a") as file:
        file.write('{"broken": \n' + query_line(ServedQuery("2", "b"))[:20])
    queries, events = reader.read()
    assert ([one.query_id for one in queries], len(events), reader.damaged) == (["1"], 1, 1)
    with path.open("a") as file:
        file.write(query_line(ServedQuery("2", "b"))[20:] + "\n")
    assert [one.query_id for one in reader.read()[0]] == ["2"]
    assert reader.read() == ([], [])


def test_outcomes_of_a_session(tmp_path) -> None:
    collector = SessionCollector(lambda moment: 0.5, gap=100)
    queries = [
        ServedQuery("1", "a", "s", timestamp=10, variant=CANDIDATE, product_ids=("p",)),
        ServedQuery("2", "b", "s", timestamp=20, variant=CANDIDATE),
        ServedQuery("3", "a", "other", timestamp=20, variant=HOLDOUT, product_ids=("p",)),
        ServedQuery("4", "a", "mixed", timestamp=20, variant=CANDIDATE, product_ids=("p",)),
        ServedQuery("5", "a", "mixed", timestamp=30, variant="baseline", product_ids=("p",)),
    ]
    twice = ShopperEvent("1", "purchase", "p", timestamp=40, price=10.0, quantity=3, event_id="x")
    events = [ShopperEvent("1", "click", "p", timestamp=30), twice, twice, ShopperEvent("9", "click", "p")]
    collector.add(queries, events)
    assert len(collector.complete(100.0)) == 0
    found = collector.complete(200.0)
    assert found.value_N4.tolist() == [[1.0, 1.0, 30.0, 0.5]] and found.candidate_N.tolist() == [True]
    assert (collector.holdout, collector.mixed, collector.unknown_events) == (1, 1, 1)
