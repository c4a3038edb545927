"""The section that compares the training judge with other sources."""

from __future__ import annotations

import json
from pathlib import Path

from runs.report.job import write_report


def test_judge_and_labels_are_compared(run_folder: Path) -> None:
    assert "Judge and labels" not in write_report(run_folder).read_text()  # labels alone: nothing to compare
    rows: list[dict[str, float]] = [{"update": 1, "kl": 0.04}, {"update": 2, "kl": 0.12}]
    for update, judge, labels in ((0, 0.40, 0.30), (2, 0.55, 0.28)):
        rows.append({"update": update, "eval/judge nDCG@10": judge, "eval/nDCG@10": labels})
    (run_folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = write_report(run_folder).read_text()
    assert "the training judge +0.150; the labels -0.020" in page
    assert "labels, 0.282843: -0.02" in page  # √ of the mean KL, 0.08
    assert "above labels, 2: 0.17" in page
