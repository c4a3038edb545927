"""Two implementations timed alternately, their ratio, and the provenance in every report."""

from __future__ import annotations

import json

from runs.common.timing import Pair, alternate, stamped


def test_turns_alternate_after_a_warm_up() -> None:
    calls: list[str] = []
    pair = alternate(lambda: calls.append("ours"), lambda: calls.append("theirs"), pairs=3)
    assert calls == ["ours", "theirs", "ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert len(pair.ours) == len(pair.theirs) == 3


def test_ratio_is_the_median_over_pairs() -> None:
    assert Pair((1.0, 9.0, 4.0), (2.0, 3.0, 4.0)).ratio == 1.0


def test_every_report_is_stamped() -> None:
    report = stamped({"ratios": {"a": 1.0}, "sizes": {}})
    assert report.keys() == {"ratios", "sizes", "commit", "versions", "machine"}
    assert report["machine"]["cores"] >= 1 and "numpy" in report["versions"]
    json.dumps(report)
