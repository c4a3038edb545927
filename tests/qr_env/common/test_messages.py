"""Messages go to stderr, one line each, also while a progress bar is shown."""

from __future__ import annotations

import sys

import pytest
from tqdm import tqdm

from qr_env.common.messages import print_message


def test_a_message_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("shop loaded")
    assert tuple(capsys.readouterr()) == ("", "shop loaded\n")


def test_a_message_does_not_break_a_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with tqdm(total=2, file=sys.stderr, desc="work") as bar:
        bar.update(1)
        print_message("halfway")
    lines = capsys.readouterr().err.replace("\r", "\n").split("\n")
    assert "halfway" in lines
