"""The report's comparison of the training judge with another judge and with the shop's labels.

"When a measure becomes a target, it ceases to be a good measure": the training judge's curve goes on rising while the
others fall (Gao et al. 2023, arXiv 2210.10760, figure 1, has the distance from the first policy as its x axis).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from runs.report.charts import Chart, Line, Point, chart
from runs.report.html import render
from runs.report.sections.curves import MetricRows, graded_by, series

TRAINING_JUDGE = "training judge"
# (metric, name of its source, color)
SOURCES = (
    ("eval/judge nDCG@10", TRAINING_JUDGE, 3),
    ("eval/report judge nDCG@10", "report judge", 4),
    ("eval/nDCG@10", "labels", 0),
    ("eval/test labels nDCG@10", "test labels", 1),
)
Curve = tuple[str, int, list[Point]]  # name of the source, color, points


def goodhart_section(metrics: MetricRows, evaluation: Mapping[str, Any]) -> str:
    """Changes since the first evaluation; "" where fewer than two sources have two evaluations.

    Args:
        evaluation: content of eval.json; its `by` names the source of the final report.
    """
    own_grades = graded_by(metrics)
    curves = [
        (own_grades if name == "labels" else name, color, _changes(series(metrics, key)))
        for key, name, color in SOURCES
    ]
    curves = [(name, color, points) for name, color, points in curves if len(points) > 1]
    if len(curves) < 2:
        return ""
    wide = Chart(
        "nDCG@10 by source of the grades",
        "update",
        [Line(name, points, color, dots=True) for name, color, points in curves],
        [("warm start", 0.0, 1)],
        note="Change in nDCG@10 since the first evaluation, on dev queries (test labels: on test queries)",
        width=1060,
        height=320,
        y_label="change in nDCG@10",
    )
    return render(
        "goodhart.html",
        own_grades=own_grades,
        changes=[(name, f"{points[-1][1]:+.3f}") for name, _, points in curves],
        by=evaluation["agents"][evaluation["agent"]]["by"] if evaluation else "",
        wide=chart(wide),
        small=[_distance_chart(metrics, curves), _overstatement_chart(curves)],
    )


def _changes(points: list[Point]) -> list[Point]:
    return [(update, value - points[0][1]) for update, value in points]


def _distance_chart(metrics: MetricRows, curves: list[Curve]) -> Markup:
    """The same curves over the square root of the KL to the warm start, as Gao et al. draw them."""
    distances = series(metrics, "kl")
    lines = [Line(name, _at_distance(points, distances), color, dots=True) for name, color, points in curves]
    note = "Change over the distance from the warm start (KL: mean since the evaluation before)"
    return chart(Chart("Change by distance", "√KL, nats a token", lines, note=note))


def _at_distance(points: list[Point], distances: list[Point]) -> list[Point]:
    """Each point over the root of the mean KL of the updates since the point before it, sorted by that distance."""
    moved, before = [], -math.inf
    for update, value in points:
        since = [kl for at, kl in distances if before < at <= update]
        moved.append((math.sqrt(max(sum(since) / len(since), 0.0)) if since else 0.0, value))
        before = update
    return sorted(moved) if distances else []


def _overstatement_chart(curves: list[Curve]) -> Markup:
    """The training judge's change minus that of each other source."""
    judge = dict(curves[0][2]) if curves[0][0] == TRAINING_JUDGE else {}
    lines = []
    for name, color, points in curves[1:]:
        differences = [(update, judge[update] - value) for update, value in points if update in judge]
        lines.append(Line(f"above {name}", differences, color, dots=True))
    note = "Change by the training judge minus change by each other source"
    return chart(Chart("Overstatement", "update", lines, [("none", 0.0, 1)], note=note))
