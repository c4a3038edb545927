"""Several evaluations as one table for the terminal.

rich.print(comparison_table({"spell": spell, "student": student}))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from qr_env.evaluation.result import Evaluation

# Figures that are shares of queries or of products, printed in per cent.
SHARES = ("kept", "better", "worse", "same", "judged@10", "zero results", "nothing relevant")


def number(value: float, name: str = "") -> str:
    """A figure as text: shares in per cent, others with two or three decimals, "–" where undefined."""
    if value is None or not math.isfinite(value):
        return "–"
    if name.startswith(SHARES):
        return f"{100 * value:.1f} %"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def interval_text(figure: Mapping[str, Any], name: str, queries: int | None = None) -> str:
    """Mean, and the 95 % interval of the difference to identity where it is not 0.

    queries: number in the slice; if fewer define the figure, their number is appended.
    """
    text = number(figure["mean"], name)
    few = "" if queries in (None, figure["queries"]) else f" of {figure['queries']:,}"
    if name.startswith(("kept", "same", "judged", "words")) or not figure["difference"] or text == "–":
        return text + few
    scale, places = (100, 1) if name.startswith(SHARES) else (1, 3)
    return f"{text} [{scale * figure['low']:+.{places}f} {scale * figure['high']:+.{places}f}]{few}"


def has_content(name: str, reports: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a figure is shown: some query defines it; a traffic mean only where it is not the plain mean."""
    figures = [report["metrics"][name] for report in reports]
    if name.startswith("traffic "):
        plain = [report["metrics"][name.removeprefix("traffic ")] for report in reports]
        return any(
            a["mean"] != b["mean"] or a["identity"] != b["identity"] for a, b in zip(figures, plain, strict=True)
        )
    return any(figure["queries"] for figure in figures)


def headroom_text(room: Mapping[str, float] | None) -> str:
    """Share of the headroom closed, with its interval, in per cent."""
    if room is None or room["share"] is None or not math.isfinite(room["share"]):
        return "–"
    return f"{100 * room['share']:.1f} % [{100 * room['low']:+.1f} {100 * room['high']:+.1f}]"


def comparison_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """Figures as rows, agents as columns; then the headline figure by slice, and the headroom closed."""
    # Identity has its own column.
    evaluations = {name: e for name, e in evaluations.items() if name != "identity"} or evaluations
    first = next(iter(evaluations.values()))
    left_out = f", {first.unlabelled} without labels left out" if first.unlabelled else ""
    made_up = (
        f", {'all' if first.made_up == len(first.queries) else f'{first.made_up:,}'} made up" if first.made_up else ""
    )
    counts = f"{len(first.queries):,} queries{made_up}{left_out}"
    title = f"{first.shop}, {first.split}: {counts}; {first.retriever}, {first.combine}"
    caption = f"Graded by {first.by}. In brackets: 95 % interval of the difference to identity."
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for heading in ("", "identity", *evaluations):
        table.add_column(heading, justify="right" if heading else "left")
    summaries = [evaluation.summary for evaluation in evaluations.values()]
    _figure_rows(table, [summary["all"] for summary in summaries])
    _timing_rows(table, [evaluation.timing for evaluation in evaluations.values()])
    _slice_rows(table, first.main, summaries)
    return table


def _figure_rows(table: Table, reports: list[dict[str, Any]]) -> None:
    for name, figure in reports[0]["metrics"].items():
        if not has_content(name, reports):
            continue
        agents = [interval_text(report["metrics"][name], name, report["queries"]) for report in reports]
        table.add_row(name, number(figure["identity"], name), *agents)
    room = reports[0]["headroom"]
    if room is not None:
        agents = [headroom_text(report["headroom"]) for report in reports]
        table.add_row(f"headroom closed (oracle {number(room['oracle'])})", "0", *agents, style="bold")
    table.add_section()


def _timing_rows(table: Table, timings: Sequence[Mapping[str, float]]) -> None:
    """Cost of the rewrites: time, and the agents' own counts."""
    for name in dict.fromkeys(name for timing in timings for name in timing):
        table.add_row(name, "–", *(number(timing.get(name, math.nan)) for timing in timings))
    table.add_section()


def _slice_rows(table: Table, main: str, summaries: list[dict[str, dict[str, Any]]]) -> None:
    for name, report in summaries[0].items():
        if name == "all":
            continue
        agents = [interval_text(summary[name]["metrics"][main], main) for summary in summaries]
        raw = number(report["metrics"][main]["identity"])
        table.add_row(f"{main}, {name} ({report['queries']:,})", raw, *agents)
