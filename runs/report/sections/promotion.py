"""The report's section on promotion: the serving policy, the candidates, and the evidence of each decision."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from runs.report.charts import Chart, Line, chart
from runs.report.html import Cell, Row, render, sign_color
from runs.report.sections.curves import MetricRows, series

HEADS = ("event", "candidate", "pairs", "difference", "e-value", "better", "worse", "reason")
SHOWN_DECISIONS = 200  # the newest ones


def promotion_section(records: MetricRows, metrics: MetricRows) -> str:
    """From the lines of promotions.jsonl and metrics.jsonl; "" for a run without promotion."""
    if not records:
        return ""
    decisions = [record for record in records if record["event"] != "shadow"]
    return render(
        "promotion.html",
        counts=Counter(str(record["event"]) for record in records),
        serving=records[-1]["serving"],
        charts=_charts(records, metrics),
        heads=HEADS,
        rows=[_decision_row(record) for record in decisions[-SHOWN_DECISIONS:]],
    )


def _charts(records: MetricRows, metrics: MetricRows) -> list[Markup]:
    """The gain of the rewrites served, the evidence for each candidate, and its share of the traffic."""
    alphas = {float(record["alpha"]) for record in records if "alpha" in record}
    threshold = [("threshold", -math.log(alpha), 2) for alpha in sorted(alphas)[-1:]]
    gain = Line("gain", series(metrics, "serve/gain"), 0)
    evidence = Line("log e", series(metrics, "serve/log_e"), 1)
    canary = Line("share", series(metrics, "serve/canary"), 3)
    charts = (
        Chart("Gain served", "update", [gain], note="Gain of the rewrites served over the original queries"),
        Chart("Evidence", "update", [evidence], threshold, "That the candidate is better: logarithm of the e-value"),
        Chart("Canary", "update", [canary], note="Share of the traffic that the candidate served", percent=True),
    )
    return [chart(spec) for spec in charts]


def _decision_row(record: Mapping[str, Any]) -> Row:
    event = str(record["event"])
    cells = [Cell(event), Cell(str(record.get("candidate", "")))]
    if "pairs" in record:
        missing = f"{record['missing']:,} missing" if record["missing"] else ""
        cells += [Cell(f"{record['pairs']:,}", missing), _difference(record), Cell(_e_value(float(record["e_value"])))]
        cells += [Cell(_share(record["share_better"])), Cell(_share(record["share_worse"]))]
    else:
        cells += [Cell()] * 5
    return Row(f"update {record['update']:,}", [*cells, Cell(str(record["reason"]))], event == "promoted")


def _difference(record: Mapping[str, Any]) -> Cell:
    if record["mean_difference"] is None:
        return Cell("–")
    low, high = record["low"], record["high"]
    interval = f"{low:+.3f} … {high:+.3f}"
    return Cell(f"{record['mean_difference']:+.3f}", interval, small_color=sign_color(low, high))


def _e_value(value: float) -> str:
    if value < 10_000:
        return f"{value:,.3g}"
    return Markup("10<sup>{}</sup>").format(f"{math.log10(value):.0f}")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
