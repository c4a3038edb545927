"""The section on promotion."""

from __future__ import annotations

import json
from pathlib import Path

from runs.report.job import write_report
from tests.runs.report.conftest import EVIL, assert_well_formed


def test_promotions_are_reported_with_their_evidence(run_folder: Path) -> None:
    assert "Promotion:" not in write_report(run_folder).read_text()
    evidence = {"candidate": "update-000025", "pairs": 640, "missing": 3, "mean_difference": 0.04, "low": 0.01}
    evidence |= {"high": 0.07, "e_value": 1234567.0, "e_value_worse": 0.0, "alpha": 0.05}
    evidence |= {"share_better": 0.125, "share_worse": 0.05}
    records: list[dict[str, object]] = [
        {"update": 0, "event": "serving", "reason": "the first policy", "serving": "update-000000"},
        {"update": 25, "event": "shadow", "reason": "new", "serving": "update-000000", "candidate": "update-000025"},
        {"update": 45, "event": "promoted", "reason": "better", "serving": "update-000025", **evidence},
        {"update": 60, "event": "rolled back", "reason": f"alarm: {EVIL}", "serving": "update-000025"},
    ]
    records[2] |= {"phase": "promotion"}
    (run_folder / "promotions.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    with (run_folder / "metrics.jsonl").open("w") as out:
        for update in range(1, 4):
            row = {"update": update, "serve/gain": 0.1, "serve/log_e": 2.0 * update, "serve/canary": 0.1}
            out.write(json.dumps(row) + "\n")
    page = write_report(run_folder).read_text()
    assert "1 candidates, 1 promoted, 1 rolled back; serving now: update-000025" in page
    assert "+0.040" in page and "+0.010 … +0.070" in page and "10<sup>6</sup>" in page and "12.5 %" in page
    assert "Gain served" in page and "threshold 2.996" in page
    assert EVIL not in page
    assert_well_formed(page)
