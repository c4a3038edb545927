"""The report's section on what simulated shoppers buy: shoppers.json of `qr shoppers --out RUN`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runs.report.html import Cell, Row, render

SHARES = ("UCVR", "repeat visits", "conversion a session", "satisfied searches", "zero results", "unpriced")


def shoppers_section(report: Mapping[str, Any]) -> str:
    """The A/B table: a row a metric, a column a rewriter; "" for a run without one."""
    if not report:
        return ""
    figures: Mapping[str, Mapping[str, Mapping[str, float | None]]] = report["figures"]
    first = next(iter(figures))
    rows = [
        Row(metric, [Cell(figure_text(metric, columns[metric], name == first)) for name, columns in figures.items()])
        for metric in figures[first]
    ]
    facts = {"users": f"{report['users']:,}", "days": report["args"]["days"], "judge": report["judge"], "first": first}
    return render("shoppers.html", heads=list(figures), rows=rows, **facts)


def figure_text(metric: str, figure: Mapping[str, float | None], is_baseline: bool) -> str:
    """A figure, and its change to the baseline in per cent with the interval over users; "–" where undefined."""
    value = figure["value"]
    if value is None:
        return "–"
    text = f"{value:.2%}" if metric in SHARES else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    change, low, high = figure["change"], figure["change_low"], figure["change_high"]
    if is_baseline or change is None or low is None or high is None:
        return text
    return f"{text}  {change:+.1%} [{low:+.1%} {high:+.1%}]"
