"""The results of `qr judge distill`: means by size, the curves as one SVG file, and tables for the terminal."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
from markupsafe import Markup
from rich.console import Console
from rich.table import Table

from runs.report.charts import Chart, Line, svg
from runs.report.html import render

DRAWN = {"ndcg": "nDCG of re-ordered lists", "spearman": "Spearman", "auc": "AUC", "kappa quadratic": "quadratic κ"}
WIDTH, HEIGHT, TITLE_HEIGHT = 420, 230, 44  # pixels of a chart, and of the two lines of text above it


def by_size(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation of each figure over seeds, by size."""
    rows = []
    for size in sorted({point["size"] for point in points}):
        found = [point["figures"] for point in points if point["size"] == size]
        table = {name: np.array([figures[name] for figures in found]) for name in found[0]}
        mean = {name: float(values.mean()) for name, values in table.items()}
        deviation = {name: float(values.std(ddof=1)) if len(values) > 1 else 0.0 for name, values in table.items()}
        rows.append({"size": size, "seeds": len(found), "mean": mean, "std": deviation})
    return rows


def curves_svg(report: dict[str, Any]) -> str:
    """One SVG file with two by two charts: students over the number of lists, the teacher and others as levels."""
    charts = []
    for n, (key, title) in enumerate(DRAWN.items()):
        levels = [
            (name, line[key], color) for color, (name, line) in zip((1, 3), report["lines"].items(), strict=False)
        ]
        charts.append(
            {
                "x": (n % 2) * WIDTH,
                "y": (n // 2) * (HEIGHT + TITLE_HEIGHT),
                "title": title,
                "legend": " · ".join(f"{name} {level:.3f} (dashed)" for name, level, _ in levels),
                "svg": _chart(report, key, title, levels),
            }
        )
    return render("distill_curves.html", width=2 * WIDTH, height=2 * (HEIGHT + TITLE_HEIGHT), charts=charts)


def _chart(report: dict[str, Any], key: str, title: str, levels: list[tuple[str, float, int]]) -> Markup:
    """The mean over students by size, and a dot for each student where there are several of a size."""
    means = [(float(row["size"]), row["mean"][key]) for row in report["curve"]]
    lines = [Line("mean of students", means, 0, dots=True)]
    if len(report["points"]) > len(means):
        for seed in sorted({point["seed"] for point in report["points"]}):
            values = [
                (float(point["size"]), point["figures"][key]) for point in report["points"] if point["seed"] == seed
            ]
            lines.append(Line(f"seed {seed}", values, 2, dots=True))
    drawing = svg(Chart(title, "lists graded by the teacher", lines, levels, width=WIDTH, height=HEIGHT))
    return Markup(re.sub("^<svg ", f'<svg width="{WIDTH}" height="{HEIGHT}" y="{TITLE_HEIGHT}" ', drawing))


def print_tables(report: dict[str, Any]) -> None:
    """The figures as tables for the terminal."""
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    rows = dict(report["lines"]) | {f"student, {row['size']:,} lists": row["mean"] for row in report["curve"]}
    tables = {"test queries' result lists": rows}
    if "transfer" in report:
        tables[f"human labels of {report['transfer']['shop']}"] = report["transfer"]["figures"]
    for title, rows in tables.items():
        names = list(next(iter(rows.values())))
        table = Table("judge", *names, title=title, title_justify="left")
        for name, figures in rows.items():
            table.add_row(name, *(f"{figures[key]:.3f}" for key in names))
        console.print(table)
