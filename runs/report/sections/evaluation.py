"""The report's tables of the final evaluation, from `eval.json`: all figures by agent, the headline figure by slice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qr_env.evaluation.tables import number
from runs.report.html import Cell, Row, render, sign_color

NO_INTERVAL = ("kept", "same", "judged", "words")  # figures whose difference to identity has no meaning
NEUTRAL = ("worse", "zero", "nothing", "diversity", "better")  # figures without a color: up is not always good


def evaluation_section(evaluation: Mapping[str, Any]) -> str:
    """The section; "" before the final evaluation."""
    if not evaluation:
        return ""
    agents = evaluation["agents"]
    first = next(iter(agents.values()))
    return render(
        "evaluation.html",
        record=first,
        warning=evaluation.get("warning", ""),
        queries=first["summary"]["all"]["queries"],
        agents=list(agents),
        figures=_figure_rows(agents),
        slices=_slice_rows(agents),
    )


def _figure_rows(agents: Mapping[str, Any]) -> list[Row]:
    reports = [record["summary"]["all"] for record in agents.values()]
    main = next(iter(agents.values()))["main"]
    rows = [
        Row(name, [_figure_cell(report["metrics"][name], name) for report in reports], name == main)
        for name in reports[0]["metrics"]
        if any(report["metrics"][name]["queries"] for report in reports)
    ]
    if reports[0]["headroom"]:
        rows.insert(1, Row("headroom closed", [_headroom_cell(report["headroom"]) for report in reports], True))
    return rows


def _slice_rows(agents: Mapping[str, Any]) -> list[Row]:
    first = next(iter(agents.values()))
    main = first["main"]
    rows = []
    for name, report in first["summary"].items():
        cells = [_figure_cell(record["summary"][name]["metrics"][main], main) for record in agents.values()]
        rows.append(Row(f"{name} ({report['queries']:,})", cells, name == "all"))
    return rows


def _figure_cell(figure: Mapping[str, Any], name: str) -> Cell:
    """The mean, and the 95 % interval of its difference to identity."""
    text = number(figure["mean"], name)
    low, high = figure["low"], figure["high"]
    if low is None or high is None or not figure["difference"] or name.startswith(NO_INTERVAL):
        return Cell(text)
    color = "" if name.startswith(NEUTRAL) else sign_color(low, high)
    percent = text.endswith("%")
    bounds = [f"{100 * bound:+.1f}" if percent else f"{bound:+.3f}" for bound in (low, high)]
    return Cell(text, f"{bounds[0]} … {bounds[1]}", small_color=color)


def _headroom_cell(headroom: Mapping[str, Any]) -> Cell:
    if headroom["share"] is None:
        return Cell("–")
    share, low, high = (100 * headroom[part] for part in ("share", "low", "high"))
    return Cell(f"{share:.1f} %", f"{low:.1f} … {high:.1f}")
