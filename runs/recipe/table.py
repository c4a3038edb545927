"""A comparison as text: the rows of its table, its claims in one line each, and both on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from qr_env.evaluation.tables import number
from runs.recipe.compare import Comparison, Headroom, Verdict

# Metrics of the whole table, if the run has them; scalars follow.
TABLE_METRICS = (
    "nDCG@10", "judge nDCG@10", "R@100", "relevance@10", "increment@100", "hitrate@100", "coverage@100", "diversity@10",
    "click@10", "purchase@10", "zero results", "judged@10", "better", "worse", "kept", "words ratio",
)  # fmt: skip
TERMINAL_METRICS = (
    "headroom closed", "nDCG@10", "judge nDCG@10", "relevance@10", "increment@100", "hitrate@100", "diversity@10",
    "purchase@10", "worse", "words ratio", "ROUGE-L", "ms/query",
)  # fmt: skip
SHOWN_SPREAD = 5e-4  # a smaller standard deviation between seeds is not shown


@dataclass(frozen=True)
class Row:
    """One metric of all agents."""

    metric: str
    """name of the metric"""
    texts: list[str]
    """formatted value of each agent, in the order of `Comparison.values`"""


def table_rows(comparison: Comparison) -> list[Row]:
    """Headroom, `TABLE_METRICS` and the scalars, as far as the run has them."""
    names = list(comparison.values)
    first = comparison.values[names[0]]
    rows = []
    if comparison.oracle_N is not None:
        rows.append(Row("headroom closed", [headroom_text(comparison.headroom(name)) for name in names]))
    for metric in TABLE_METRICS:
        if metric in first and np.isfinite(first[metric]).any():
            rows.append(Row(metric, [cell_text(comparison, name, metric) for name in names]))
    scalars = [comparison.scalars.get(name, {}) for name in names]
    for metric in dict.fromkeys(metric for of_agent in scalars for metric in of_agent):
        rows.append(Row(metric, [mean_text(of_agent.get(metric, [])) for of_agent in scalars]))
    return rows


def cell_text(comparison: Comparison, agent: str, metric: str) -> str:
    """Mean, ± deviation between seeds, and for the headline metric the interval of the difference to identity."""
    cell = comparison.cell(agent, metric)
    spread = f" ±{cell.sd:.3f}" if cell.sd > SHOWN_SPREAD else ""
    has_interval = metric == comparison.main and cell.difference
    return number(cell.mean, metric) + spread + (f" [{cell.low:+.3f} {cell.high:+.3f}]" if has_interval else "")


def headroom_text(headroom: Headroom | None) -> str:
    """Per cent, with the interval."""
    if headroom is None:
        return "–"
    return f"{100 * headroom.share:.1f} [{100 * headroom.low:.1f} {100 * headroom.high:.1f}]"


def mean_text(values: Sequence[float]) -> str:
    """Mean over seeds."""
    return number(float(np.mean(values))) if values else "–"


def interval_text(verdict: Verdict, separator: str) -> str:
    """Both ends of the interval; a dash where they are unknown."""
    return "–" if np.isnan(verdict.low) else f"{verdict.low:+.3f}{separator}{verdict.high:+.3f}"


def verdict_text(verdict: Verdict) -> str:
    """A claim and its result in this run, in one line."""
    claim = verdict.claim
    agents = f"{claim.better} − {claim.than}, {claim.metric}"
    found = f"{verdict.difference:+.3f} [{interval_text(verdict, ' ')}], {verdict.result}"
    return f"{claim.text} ({agents}): {found}" + (f"; paper: {claim.paper}" if claim.paper else "")


def print_comparison(comparison: Comparison) -> None:
    """Print table and claims on the terminal."""
    table = Table(
        title=comparison.info.title,
        caption=f"Graded by {comparison.by}; in brackets the 95 % interval of the difference to identity.",
        title_justify="left",
        caption_justify="left",
    )
    rows = [row for row in table_rows(comparison) if row.metric in TERMINAL_METRICS]
    table.add_column("", justify="left")
    for row in rows:
        table.add_column(row.metric, justify="right")
    for position, name in enumerate(comparison.values):
        table.add_row(name, *(row.texts[position] for row in rows))
    console = Console(width=None if sys.stdout.isatty() else 180, highlight=False)
    if comparison.warning:
        console.print(comparison.warning, markup=False, soft_wrap=True)
    console.print(table)
    note = comparison.info.text_scores_note
    for line in [*([note] if note else []), *map(verdict_text, comparison.verdicts)]:
        console.print(line, markup=False, soft_wrap=True)
