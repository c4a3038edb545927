"""Loading and saving weights prints no progress bar of transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers.utils import logging

from agents.policy.student import Student
from qr_env.models.hub import load_causal_lm
from qr_env.models.progress import no_weight_bars
from tests.helpers.models import small_student


@pytest.fixture(autouse=True)
def _bars_enabled() -> None:
    logging.enable_progress_bar()


def test_loading_and_saving_weights_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small_student().save(tmp_path)
    Student.load(tmp_path)
    load_causal_lm(str(tmp_path))
    assert capfd.readouterr().err == ""
    assert logging.is_progress_bar_enabled()


def test_the_bars_are_there_without_the_helper(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    student = small_student()
    student.model.save_pretrained(tmp_path)
    assert "Writing model shards" in capfd.readouterr().err


def test_bars_that_were_off_stay_off() -> None:
    logging.disable_progress_bar()
    with no_weight_bars():
        pass
    assert not logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
