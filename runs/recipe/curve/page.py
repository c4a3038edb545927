"""The curve's part of a recipe's page: gain by κ and by AUC, one line an arm, and a table.

The template is `runs/report/templates/judge_curve.html`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from runs.recipe.curve.measure import JudgeCurve, Point, pays_from
from runs.report import html
from runs.report.charts import Chart, Line, Span, chart

COLORS = (0, 3, 4, 2)  # of the arms
X_LABELS = {"kappa": "κ of the judge against the truth, products retrieved", "auc": "AUC of the judge's expected gain"}
TITLES = {"kappa": "Gain of online learning by the judge's κ", "auc": "The same by AUC: how well the judge orders"}


def curve_section(curve: JudgeCurve) -> Markup:
    """Charts, one sentence an arm, and the table of all points."""
    heads = ["κ", "quadratic κ", "AUC", *curve.arms]
    return html.render(
        "judge_curve.html",
        unit=curve.unit,
        charts=[curve_chart(curve, figure) for figure in X_LABELS],
        sentences=[pays_text(arm, points) for arm, points in curve.arms.items()],
        heads=heads,
        rows=judge_rows(curve),
    )


def curve_chart(curve: JudgeCurve, figure: str) -> Markup:
    """Gain over one figure of the judge's quality: degraded judges are joined by a line, others are named dots."""
    lines = []
    for color, (arm, points) in zip(COLORS, curve.arms.items(), strict=False):
        on_line = sorted((x_of(point, figure), point.gain.mean) for point in points if point.degraded)
        spans = [Span(x_of(point, figure), min(point.gain.of_seeds), max(point.gain.of_seeds)) for point in points]
        lines.append(Line(f"{arm}, degraded truth", on_line, color, dots=True, spans=spans))
        for point in points:
            if not point.degraded:
                place = (x_of(point, figure), point.gain.mean)
                lines.append(Line(f"{arm}, {point.judge}", [place], color, dots=True, label=point.judge))
    note = "Bars: smallest and largest gain of the seeds. Dashed: the warm start."
    return chart(
        Chart(
            TITLES[figure], X_LABELS[figure], lines, [("no gain", 0.0, 1)], note, width=520, height=360,
            y_label=f"{curve.unit}, online − warm start", percent=curve.unit == "headroom",
        )
    )  # fmt: skip


def x_of(point: Point, figure: str) -> float:
    """A figure of the judge's quality."""
    return float(getattr(point.quality, figure))


def pays_text(arm: str, points: Sequence[Point]) -> str:
    """From which κ on the arm gains, in a sentence."""
    if not any(point.degraded for point in points):
        return f"{arm}: no degraded judge was run."
    kappa = pays_from(points)
    if math.isnan(kappa):
        return f"{arm}: with no degraded judge, the truth included, is the gain beyond the queries' noise."
    return f"{arm}: from κ {kappa:.2f} on, the gain of every degraded judge that was run is beyond the queries' noise."


def judge_rows(curve: JudgeCurve) -> list[html.Row]:
    """A row for each judge by rising κ, a column for each arm."""
    by_judge = {point.judge: point for points in curve.arms.values() for point in points}
    rows = []
    for judge, first in sorted(by_judge.items(), key=kappa_of_item):
        quality = first.quality
        cells = [html.Cell(f"{value:.2f}") for value in (quality.kappa, quality.quadratic_kappa, quality.auc)]
        for points in curve.arms.values():
            found = next((point for point in points if point.judge == judge), None)
            cells.append(html.Cell("–") if found is None else gain_cell(found, curve.unit == "headroom"))
        rows.append(html.Row(judge, cells, highlighted=not first.degraded))
    return rows


def kappa_of_item(item: tuple[str, Point]) -> float:
    """κ of a (judge, point)."""
    return item[1].quality.kappa


def gain_cell(point: Point, percent: bool) -> html.Cell:
    """Gain ± deviation between seeds, with its interval."""
    gain, scale, digits = point.gain, 100 if percent else 1, 1 if percent else 3
    spread = f" ±{scale * np.std(gain.of_seeds, ddof=1):.{digits}f}" if len(gain.of_seeds) > 1 else ""
    text = f"{scale * gain.mean:+.{digits}f}{spread}" + (" %" if percent else "")
    small = f"{scale * gain.low:+.{digits}f} … {scale * gain.high:+.{digits}f}"
    return html.Cell(text, small, color=html.sign_color(gain.low, gain.high))
