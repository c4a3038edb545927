"""The report's Goodhart plot: what the training judge says was won, beside another judge and people's labels.

"When a measure becomes a target, it ceases to be a good measure": the training judge's curve goes on rising while the
others turn (Gao et al. 2023, arXiv 2210.10760, figure 1, has the distance from the first policy as its x axis).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from runs.report.charts import Chart, Line, Point, chart
from runs.report.sections import Rows, series

# (metric, who says so, colour)
WITNESSES = (
    ("eval/judge nDCG@10", "training judge", 3),
    ("eval/report judge nDCG@10", "report judge", 4),
    ("eval/nDCG@10", "labels", 0),
    ("eval/test labels nDCG@10", "test labels", 1),
)


def goodhart(metrics: Rows, evaluation: Mapping[str, Any]) -> str:
    """Changes since the first evaluation; "" where fewer than two witnesses spoke twice.

    evaluation: as in eval.json; says who reported at the end.
    """
    found = [(name, color, _changes(series(metrics, key))) for key, name, color in WITNESSES]
    found = [(name, color, points) for name, color, points in found if len(points) > 1]
    if len(found) < 2:
        return ""
    told = "; ".join(f"the {name} {points[-1][1]:+.3f}" for name, _, points in found)
    last = ""
    if evaluation:
        record = evaluation["agents"][evaluation["agent"]]
        last = f" The final report is by {escape(str(record['by']))}."
    lines = [Line(name, points, color, dots=True) for name, color, points in found]
    wide = Chart("Who says that it got better", "update", lines, [("warm start", 0.0, 1)], note=
        "Change in nDCG@10 since the first evaluation, on dev queries (test labels: on test queries)", width=1060,
        height=320,
        y_label="change in nDCG@10")  # fmt: skip
    return (
        f"<h2>Judge and labels</h2><p class=soft>Since the first evaluation: {told}. A training judge that rises "
        f"alone is being exploited, not satisfied.{last}</p>{chart(wide)}"
        f'<div class="charts">{_against_distance(metrics, found)}{_gap(found)}</div>'
    )


def _changes(points: list[Point]) -> list[Point]:
    return [(update, value - points[0][1]) for update, value in points]


def _against_distance(metrics: Rows, found: list[tuple[str, int, list[Point]]]) -> str:
    """The same over the square root of the KL to the warm start, as Gao et al. draw it."""
    distances = series(metrics, "kl")
    lines = [Line(name, _at_distance(points, distances), color, dots=True) for name, color, points in found]
    note = "Change over the distance from the warm start (KL: mean since the evaluation before)"
    return chart(Chart("Won, by distance", "√KL, nats a token", lines, note=note))


def _at_distance(points: list[Point], distances: list[Point]) -> list[Point]:
    """Each point with the root of the mean KL of the updates since the point before it, in the order of that."""
    moved, before = [], -math.inf
    for update, value in points:
        since = [kl for at, kl in distances if before < at <= update]
        moved.append((math.sqrt(max(sum(since) / len(since), 0.0)) if since else 0.0, value))
        before = update
    return sorted(moved) if distances else []


def _gap(found: list[tuple[str, int, list[Point]]]) -> str:
    """What the training judge says beyond the others."""
    judge = dict(found[0][2]) if found[0][0] == WITNESSES[0][1] else {}
    lines = [
        Line(f"beyond {name}", [(update, judge[update] - value) for update, value in points if update in judge], color,
             dots=True)
        for name, color, points in found[1:]
    ]  # fmt: skip
    return chart(Chart("Overstated", "update", lines, [("fair", 0.0, 1)], note="Training judge minus the others"))
