"""`qr online --optimizer dpo`: a whole run, resumed exactly, and refused to another optimizer."""

import json

import pytest

from runs.online.args import LearningSettings
from tests.runs.online.test_ppo import run_and_resume


@pytest.mark.usefixtures("own_cache")
def test_a_run_is_resumed_exactly_and_only_by_its_own_optimizer(tmp_path):
    settings = {"optimizer": "dpo", "learning": LearningSettings(dpo_all_pairs=True)}
    one, other = run_and_resume(tmp_path, settings)
    assert one["updates"] == other["updates"] == 3
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any(line.get("pairs", 0) > 0 and "rewards/margins" in line for line in lines)
