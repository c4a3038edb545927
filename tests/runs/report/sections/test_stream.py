"""The section on a changing shop."""

from __future__ import annotations

import json
from pathlib import Path

from runs.report.job import write_report
from tests.runs.report.conftest import EVIL, assert_well_formed


def test_the_stream_is_reported_with_its_events(run_folder: Path) -> None:
    assert "The query stream and its changes" not in write_report(run_folder).read_text()
    events = [{"at": 600, "event": "words", "length": 0, "share": 1.0, "what": ""}]
    rows = [
        {"at": at, "query": "q", "segment": EVIL, "gain": {"learning": 0.5 if at < 600 or at > 800 else 0.1}}
        for at in range(1200)
    ]
    for row in rows:
        row["gain"] |= {"frozen": 0.5 if row["at"] < 600 else 0.1, "oracle": 1.0}  # type: ignore[operator,index]
    text = "".join(json.dumps(row) + "\n" for row in (*events, *rows))
    (run_folder / "outcomes.jsonl").write_text(text)
    page = write_report(run_folder).read_text()
    assert "words, query 600" in page and "after 2" in page and '<td class="down">not</td>' in page
    assert '<line class="event"' in page and "Regret" in page and EVIL not in page
    assert_well_formed(page)
