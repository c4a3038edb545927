"""The report's section on a shop that changes: how policies followed the stream, event by event.

From OUT/outcomes.jsonl, which `qr online --drift …` writes (runs/stream/job.py, qr_env/evaluation/regret.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from qr_env.common.errors import DataError
from qr_env.evaluation.regret import WINDOW, Outcomes, read_outcomes, report
from runs.report.charts import Chart, Line, chart
from runs.report.sections import table

POINTS = 12  # windows that a timeline has at least
SHOWN = 40  # events in the table, the first ones
SEGMENTS = 8  # that forgot most
HEADS = ("policy", "before", "after", "lowest", "at last", "recovered")
COLORS = (0, 1, 3, 4, 5)


def timeline(path: Path) -> str:
    """The section; "" where the file is not there, or has no query yet."""
    if not path.is_file():
        return ""
    try:
        outcomes = read_outcomes(path)
    except DataError:
        return ""
    made = report(outcomes, window=max(1, min(WINDOW, len(outcomes.at_N) // POINTS)))
    told = f"{made['queries']:,} queries in windows of {made['window']:,}, {made['missing']:,} more without a verdict. "
    told += (
        "Headroom share: what the policy's rewrites gained, as a share of what the oracle's would have, on the same "
    )
    told += "queries in the shop as it was at that moment."
    return (
        f"<h2>The stream, and what changed in it</h2><p class=soft>{told}</p>{_charts(outcomes, made)}"
        f"{_events(made)}{_forgetting(made)}"
    )


def _charts(outcomes: Outcomes, made: Mapping[str, Any]) -> str:
    events = [(float(event["at"]), str(event["event"])) for event in outcomes.events]
    policies = made["policies"].items()
    named = list(zip(policies, COLORS, strict=False))
    shares = [Line(name, _points(made, told["shares"]), color, dots=True) for (name, told), color in named]
    regrets = [Line(name, [(0.0, 0.0), *_points(made, told["regrets"])], color) for (name, told), color in named]
    both: dict[str, Any] = {"events": events, "width": 1060, "height": 320}
    first = Chart("Headroom share", "queries", shares, percent=True, y_label="of the oracle's gain", **both)
    note = "What was left on the table, summed up: oracle minus policy, in gains"
    return chart(first) + chart(Chart("Regret", "queries", regrets, note=note, **both))


def _points(made: Mapping[str, Any], values: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(map(float, made["at"]), values, strict=True))


def _events(made: Mapping[str, Any]) -> str:
    """Each event and how each policy took it; events too close to another one, or to an end, cannot be measured."""
    taken = [(one["at"], one, name) for name, told in made["policies"].items() for one in told["recoveries"]]
    taken.sort(key=lambda some: some[0])
    if not taken:
        return ""
    rows = [(f"{one['event']}, query {at:,}", _recovery(name, one), False) for at, one, name in taken[:SHOWN]]
    told = "Shares in the last window before the event, the first after it, and until the next event; recovered: "
    told += f"queries until {100 * made['level']:.0f} % of the share before are back."
    return f"<h3>Events</h3><p class=soft>{told}</p>{table(HEADS, rows)}"


def _recovery(name: str, one: Mapping[str, Any]) -> list[str]:
    shares = [f"{100 * one[when]:.1f} %" for when in ("before", "first", "lowest", "last")]
    took = '<span class="down">not</span>' if one["queries"] is None else f"after {one['queries']:,}"
    return [escape(name), *shares, took]


def _forgetting(made: Mapping[str, Any]) -> str:
    """The segments that some policy forgot most of; noise counts as forgetting, so policies stand side by side."""
    policies = made["policies"]
    worst: dict[str, float] = {}
    for told in policies.values():
        for segment, lost in told["forgetting"].items():
            worst[segment] = max(lost, worst.get(segment, lost))
    rows = [
        (segment or "unknown", [_lost(told["forgetting"].get(segment)) for told in policies.values()], False)
        for segment in sorted(worst, key=lambda segment: -worst[segment])[:SEGMENTS]
    ]
    if not rows:
        return ""
    note = "Best earlier share of the segment's windows minus its last one; the best of noisy windows overstates it."
    return f"<h3>Forgetting</h3><p class=soft>{note}</p>{table(list(policies), rows)}"


def _lost(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f} points"
