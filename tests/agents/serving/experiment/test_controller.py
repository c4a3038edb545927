"""Stages: shadow, canary, promoted, rolled back, by simulated sessions of equal, better, worse, broken candidates."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from agents.serving.experiment.controller import Controller, SessionOutcomes
from agents.serving.experiment.settings import PROMOTED, ROLLED_BACK, ExperimentSettings
from qr_env.common.errors import ConfigError
from runs.bench.serving.experiment import draw, simulate

SMALL = ExperimentSettings(expected_sessions=4_000, max_sessions=12_000, zero_margin=0.05)


def stages(settings: ExperimentSettings, effect: float, seed: int, **changes: float) -> list[tuple[str, float, str]]:
    """(stage, share, why) of every transition of one test."""
    controller, rng, found = Controller(settings), np.random.default_rng(seed), []
    for at in range(80):
        outcomes = draw(controller.share, 0.25, effect, rng, float(at))
        value_N4 = outcomes.value_N4.copy()
        value_N4[outcomes.candidate_N, 3] += changes.get("zero", 0.0)
        keep_N = ~outcomes.candidate_N | (rng.random(len(outcomes)) >= changes.get("lost", 0.0))
        kept = (getattr(outcomes, name)[keep_N] for name in ("candidate_N", "share_N"))
        controller.add(SessionOutcomes(*kept, value_N4[keep_N], outcomes.time_N[keep_N]))
        found += [(one.stage, one.share, one.why) for one in controller.decide(float(at))]
    return found


def test_a_much_better_candidate_goes_through_all_stages_and_is_promoted() -> None:
    found = stages(SMALL, 1.6, 0)
    assert [(stage, share) for stage, share, _ in found] == [
        ("canary", 0.05), ("canary", 0.25), ("canary", 0.5), ("promoted", 0.95),
    ]  # fmt: skip
    assert "better: purchase a session" in found[-1][2]


def test_a_worse_one_is_rolled_back_with_its_evidence() -> None:
    stage, share, why = stages(SMALL, 0.5, 0)[-1]
    assert (stage, share) == (ROLLED_BACK, 0.0) and "worse: purchase a session" in why and "→" in why


def test_an_undecided_one_is_rolled_back_at_the_end() -> None:
    stage, _, why = stages(SMALL, 1.0, 3)[-1]
    assert stage == ROLLED_BACK and "not proven better in 12," in why


def test_more_queries_without_results_are_a_loss_whatever_is_sold() -> None:
    assert "worse: zero results" in stages(SMALL, 1.0, 0, zero=0.2)[-1][2]


def test_a_variant_that_loses_sessions_stops_the_test() -> None:
    stage, _, why = stages(SMALL, 1.6, 0, lost=0.5)[-1]
    assert stage == ROLLED_BACK and why.startswith("sample ratio: ") and "were assigned" in why


def test_promotion_rates_of_simulated_tests() -> None:
    """The proof at full size is `qr bench experiment` (runs/results/ab-tests.md)."""
    settings = ExperimentSettings(expected_sessions=6_000, max_sessions=20_000, zero_margin=0.05)
    ends = {
        effect: Counter(simulate(settings, 0.25, effect, np.random.default_rng([at, 7])).promoted for at in range(30))
        for effect in (1.0, 1.4, 0.7)
    }
    assert ends[1.0][True] <= 3 and ends[1.4][True] >= 27 and ends[0.7][True] == 0


def test_sessions_without_a_candidate_count_for_the_shadow_stage_alone() -> None:
    controller = Controller(ExperimentSettings(shadow_sessions=100))
    nobody = SessionOutcomes(np.zeros(120, bool), np.zeros(120), np.zeros((120, 4)), np.zeros(120))
    controller.add(nobody)
    assert controller.sessions == 0 and controller.share == 0
    assert [one.stage for one in controller.decide(0.0)] == ["canary"] and controller.stage != PROMOTED
    assert controller.evidence()["metrics"]["clicks"]["difference"] is None


def test_impossible_settings_are_refused() -> None:
    for changes in ({"canary": (0.5, 0.1)}, {"canary": ()}, {"holdout": 1.0}, {"max_sessions": 0}):
        with pytest.raises(ConfigError, match=next(iter(changes))):
            ExperimentSettings(**changes)
