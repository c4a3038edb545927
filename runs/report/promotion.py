"""The report's section on promotion: what served, which candidates were tried, and on what each was decided."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from runs.report.charts import Chart, Line, chart
from runs.report.sections import Rows, series, table

HEADS = ("what", "candidate", "pairs", "difference", "e-value", "better", "worse", "why")
SHOWN = 200  # decisions; of a run that never ends, the newest


def promotions(records: Rows, metrics: Rows) -> str:
    """From the lines of promotions.jsonl and metrics.jsonl; "" where nothing was guarded."""
    if not records:
        return ""
    counts = Counter(str(record["event"]) for record in records)
    told = f"{counts['shadow']:,} candidates, {counts['promoted']:,} promoted, {counts['rolled back']:,} rolled back; "
    told += f"serving now: {records[-1]['serving']}."
    rows = [_row(record) for record in records if record["event"] != "shadow"][-SHOWN:]
    return (
        f"<h2>What served, and why</h2><p class=soft>{escape(told)} The difference is what shoppers get from the "
        "candidate minus from the serving policy, on the same queries, with a confidence sequence; an e-value of "
        f"1 / alpha promotes.</p>{_charts(records, metrics)}<h3>Decisions</h3>{table(HEADS, rows)}"
    )


def _charts(records: Rows, metrics: Rows) -> str:
    """What users got, and the evidence for each candidate, with the share of the traffic it had."""
    bars = {float(record["alpha"]) for record in records if "alpha" in record}
    marks = [("enough", -math.log(alpha), 2) for alpha in sorted(bars)[-1:]]
    gain = Line("gain", series(metrics, "serve/gain"), 0)
    evidence = Line("log e", series(metrics, "serve/log_e"), 1)
    canary = Line("share", series(metrics, "serve/canary"), 3)
    charts = (
        Chart("What shoppers got", "update", [gain], note="Gain of the rewrites served over the queries as typed"),
        Chart("Evidence", "update", [evidence], marks, "That the candidate is better, logarithm of the e-value"),
        Chart("Canary", "update", [canary], note="Share of the traffic that the candidate served", percent=True),
    )
    return f'<div class="charts">{"".join(map(chart, charts))}</div>'


def _row(record: Mapping[str, Any]) -> tuple[str, Sequence[str], bool]:
    """One decision."""
    what = str(record["event"])
    cells = [escape(what), escape(str(record.get("candidate", "")))]
    if "pairs" in record:
        missing = f"<small>{record['missing']:,} missing</small>" if record["missing"] else ""
        cells += [f"{record['pairs']:,}{missing}", _difference(record), _e_value(float(record["e_value"]))]
        cells += [_share(record["share_better"]), _share(record["share_worse"])]
    else:
        cells += [""] * 5
    return f"update {record['update']:,}", [*cells, escape(str(record["reason"]))], what == "promoted"


def _difference(record: Mapping[str, Any]) -> str:
    if record["mean_difference"] is None:
        return "–"
    colour = "up" if record["low"] > 0 else "down" if record["high"] < 0 else ""
    bounds = f"{record['low']:+.3f} … {record['high']:+.3f}"
    return f'{record["mean_difference"]:+.3f}<small class="{colour}">{bounds}</small>'


def _e_value(value: float) -> str:
    return f"{value:,.3g}" if value < 10_000 else f"10<sup>{math.log10(value):.0f}</sup>"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
