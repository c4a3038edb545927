"""The report's section on a changing shop: how policies followed the query stream, event by event.

It is made from OUT/outcomes.jsonl, which `qr online --drift …` writes (`qr_env/evaluation/regret.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from qr_env.common.errors import DataError
from qr_env.evaluation.regret import WINDOW, Outcomes, read_outcomes, report
from runs.report.charts import Chart, Line, chart
from runs.report.html import Cell, Row, render

WINDOWS = 12  # of a timeline, at least
SHOWN_EVENTS = 40  # in the table, the first ones
SHOWN_SEGMENTS = 8  # those with the most forgetting
HEADS = ("policy", "before", "after", "lowest", "last", "recovered")
COLORS = (0, 1, 3, 4, 5)


def stream_section(path: Path) -> str:
    """The section; "" where the file does not exist or holds no query yet."""
    if not path.is_file():
        return ""
    try:
        outcomes = read_outcomes(path)
    except DataError:
        return ""
    analysis = report(outcomes, window=max(1, min(WINDOW, len(outcomes.at_N) // WINDOWS)))
    return render(
        "stream.html",
        analysis=analysis,
        charts=_charts(outcomes, analysis),
        heads=HEADS,
        events=_event_rows(analysis),
        policies=list(analysis["policies"]),
        forgetting=_forgetting_rows(analysis["policies"]),
    )


def _charts(outcomes: Outcomes, analysis: Mapping[str, Any]) -> list[Markup]:
    events = [(float(event["at"]), str(event["event"])) for event in outcomes.events]
    named = list(zip(analysis["policies"].items(), COLORS, strict=False))
    shares = [Line(name, _points(analysis, one["shares"]), color, dots=True) for (name, one), color in named]
    regrets = [Line(name, [(0.0, 0.0), *_points(analysis, one["regrets"])], color) for (name, one), color in named]
    common: dict[str, Any] = {"events": events, "width": 1060, "height": 320}
    charts = (
        Chart("Headroom share", "queries", shares, percent=True, y_label="of the oracle's gain", **common),
        Chart("Regret", "queries", regrets, note="Cumulative gain of the oracle minus that of the policy", **common),
    )
    return [chart(spec) for spec in charts]


def _points(analysis: Mapping[str, Any], values: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(map(float, analysis["at"]), values, strict=True))


def _event_rows(analysis: Mapping[str, Any]) -> list[Row]:
    """One row an event and policy; events too close to another event, or to an end, cannot be measured."""
    recoveries = [(one, name) for name, policy in analysis["policies"].items() for one in policy["recoveries"]]
    recoveries.sort(key=lambda recovery: recovery[0]["at"])
    rows = []
    for one, name in recoveries[:SHOWN_EVENTS]:
        shares = [Cell(f"{100 * one[when]:.1f} %") for when in ("before", "first", "lowest", "last")]
        recovered = Cell("not", color="down") if one["queries"] is None else Cell(f"after {one['queries']:,}")
        rows.append(Row(f"{one['event']}, query {one['at']:,}", [Cell(name), *shares, recovered]))
    return rows


def _forgetting_rows(policies: Mapping[str, Any]) -> list[Row]:
    """The segments that some policy forgot most; noise counts as forgetting, so policies are shown side by side."""
    worst: dict[str, float] = {}
    for policy in policies.values():
        for segment, lost in policy["forgetting"].items():
            worst[segment] = max(lost, worst.get(segment, lost))
    return [
        Row(
            segment or "unknown",
            [Cell(_points_lost(policy["forgetting"].get(segment))) for policy in policies.values()],
        )
        for segment in sorted(worst, key=lambda segment: -worst[segment])[:SHOWN_SEGMENTS]
    ]


def _points_lost(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f} points"
