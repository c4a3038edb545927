"""The section on what to serve, and the report's first line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qr_env.common.errors import RunFolderError
from runs.common.serving_choice import (
    SERVE_FILE,
    CandidateFigures,
    Grading,
    PairedComparison,
    ServingChoice,
    write_serving_choice,
)
from runs.report.job import write_report
from tests.runs.report.conftest import EVIL, assert_well_formed

CANDIDATES = [
    CandidateFigures("identity", "identity", 0.386, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    CandidateFigures("suggest", "suggest:suggest.json", 0.411, 0.025, 0.02, 0.03, 0.3, 0.09, 0.5, f"words of {EVIL}"),
    CandidateFigures("online", "checkpoints/best", None, None, None, None, None, None, None),
]
COMPARISONS = [
    PairedComparison("suggest", "identity", 0.025, 0.02, 0.03, 0.0002),
    PairedComparison("online", "suggest", -0.001, -0.004, 0.002, 0.8),
    PairedComparison("online", "identity", None, None, None, 1.0),
]
LABELS = Grading("labels", "nDCG@10", "test", 3833, 1e-6, "suggest", CANDIDATES, COMPARISONS)
CHOICE = ServingChoice(
    "suggest", "suggest:suggest.json", f"Serve suggest: {EVIL}", "expand", 1.0, "bm25", "blend", "a", "b", 0.05, 0.05,
    [LABELS, replace(LABELS, by="judge llm", worse_by=0.01)],
)  # fmt: skip


def test_the_first_line_the_chart_and_the_comparisons(run_folder: Path) -> None:
    assert "What to serve" not in write_report(run_folder).read_text()
    write_serving_choice(run_folder, CHOICE)
    page = write_report(run_folder).read_text()
    assert_well_formed(page)
    text = page[page.index("</h1>") + len("</h1>") :].strip()
    assert text.startswith("<p class=lead>Serve suggest: "), "the first line below the title"
    assert "3,833 different test queries that shoppers typed, graded by labels." in page
    assert "graded by judge llm; the first table decides" in page
    assert page.count("Worse, better: changes by more than 0.01.") == 1
    assert "+0.025 [+0.020 +0.030]" in page and 'class="down">9.0 %' in page, "more than max_worse"
    assert "suggest − identity" in page and "0.0002" in page and ">better<" in page and ">not proven<" in page
    assert page.count("original queries</text>") == 2


def test_without_candidates_there_is_a_first_line_and_no_section(run_folder: Path) -> None:
    write_serving_choice(run_folder, replace(CHOICE, serve="identity", agent_spec="identity", gradings=[]))
    page = write_report(run_folder).read_text()
    assert "Serve suggest: " in page and "What to serve" not in page


def test_a_damaged_file_is_named(run_folder: Path) -> None:
    (run_folder / SERVE_FILE).write_text("{")
    with pytest.raises(RunFolderError, match=r"serve\.json: "):
        write_report(run_folder)
