"""The simulation of promotion: its figures are those of its trials, generated pairs or a run's own."""

import json
import math

import numpy as np
import pytest

from qr_env.common.errors import ConfigError
from runs.bench import promotion
from runs.bench.args import PromotionArgs
from runs.bench.promotion import main, resampled, simulate
from runs.report.drift import OUTCOMES_FILE


def outcomes(folder, effect):
    rng = np.random.default_rng(0)
    rows = [
        {"at": n, "query": str(n), "segment": "", "gain": {"learning": gain + effect, "frozen": gain, "oracle": 0.9}}
        for n, gain in enumerate(rng.normal(0.0, 0.1, 500).tolist())
    ]
    (folder / OUTCOMES_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_better_candidates_are_promoted_and_others_are_not(tmp_path):
    main(PromotionArgs(trials=40, effect=0.05, json=str(tmp_path / "promotion.json")))
    figures = json.loads((tmp_path / "promotion.json").read_text())["candidates"]
    assert figures["no better"]["promoted"] <= 0.05 < figures["no better"]["promoted at most"]
    assert figures["worse"]["promoted"] == figures["worse"]["reached canary"] == 0.0
    assert figures["better"]["promoted"] == 1.0 and figures["better"]["queries until promoted, median"] < 450


def test_pairs_are_drawn_from_a_run(tmp_path):
    figures = simulate(PromotionArgs(run=outcomes(tmp_path, 0.1), trials=20))
    assert figures["better"]["promoted"] == 1.0 and figures["worse"]["promoted"] == 0.0
    assert figures["no better"]["promoted"] <= 0.1
    assert math.isnan(figures["worse"]["queries until promoted, median"])


def test_random_signs_leave_no_difference():
    draws = [resampled(np.random.default_rng(1), np.array([0.5, 0.25]), sign)(4_000) for sign in (-1, 0, 1)]
    assert (draws[0] < 0).all() and (draws[2] > 0).all()
    assert abs(draws[1].mean()) < 0.02 and set(np.abs(draws[1])) == {0.5, 0.25}


def test_a_run_without_drift_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"outcomes\.jsonl does not exist: make the run with --drift"):
        simulate(PromotionArgs(run=tmp_path))


def test_the_verb_prints_a_line_a_kind(monkeypatch, capsys):
    monkeypatch.setattr(promotion, "simulate", lambda args: {"worse": {"candidates": args.trials}})
    main(PromotionArgs())
    assert "worse: candidates 200" in capsys.readouterr().out
