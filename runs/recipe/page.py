"""report.html of a recipe: its students side by side, the paper's claims with this run's results, links to the seeds.

The template is `runs/report/templates/recipe.html`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from runs.common.provenance import machine_line
from runs.recipe.compare import IDENTITY, Comparison, RunInfo, Verdict
from runs.recipe.curve.measure import JudgeCurve
from runs.recipe.curve.page import curve_section
from runs.recipe.spec import Recipe
from runs.recipe.table import interval_text, table_rows
from runs.report import html
from runs.report.intervals import Interval, IntervalChart, interval_chart
from runs.report.run_files import REPORT_FILE

RESULT_COLORS = {"agrees": "up", "disagrees": "down"}


def write_page(folder: Path, recipe: Recipe, comparison: Comparison, curve: JudgeCurve | None = None) -> Path:
    """Write one self-contained file."""
    rows = table_rows(comparison)
    students = [
        html.Row(name, [html.Cell(row.texts[position]) for row in rows])
        for position, name in enumerate(comparison.values)
    ]
    body = html.render(
        "recipe.html",
        warning=comparison.warning,
        about=recipe.about,
        main=comparison.main,
        by=comparison.by,
        info=comparison.info,
        curve=curve_section(curve) if curve else "",
        chart=headline_chart(comparison),
        claims=claim_rows(comparison.verdicts),
        metric_names=[row.metric for row in rows],
        students=students,
        stages=stage_items(recipe, comparison.info),
        report_file=REPORT_FILE,
    )
    return html.write_page(folder / REPORT_FILE, comparison.info.title, [body])


def headline_chart(comparison: Comparison) -> IntervalChart:
    """The headline metric of all agents: a dot and a 95 % interval each, with identity and the oracle as lines."""
    cells = {name: comparison.cell(name, comparison.main) for name in comparison.values}
    identity = cells[IDENTITY].mean
    levels = {f"{IDENTITY} {identity:.3f}": identity}
    if comparison.oracle_N is not None:
        oracle = float(comparison.oracle_N.mean())
        levels[f"oracle {oracle:.3f}"] = oracle
    intervals = [
        Interval(
            name, f"{cell.mean:.3f} ({cell.difference:+.3f})", cell.mean, identity + cell.low, identity + cell.high
        )
        for name, cell in cells.items()
    ]
    return interval_chart(intervals, levels)


def claim_rows(verdicts: Sequence[Verdict]) -> list[html.Row]:
    """Table rows of the claims: the difference in this run, the result, and the paper's numbers."""
    return [
        html.Row(
            verdict.claim.text,
            [
                html.Cell(f"{verdict.difference:+.3f}", interval_text(verdict, " … ")),
                html.Cell(verdict.result, color=RESULT_COLORS.get(verdict.result, "")),
                html.Cell(verdict.claim.paper),
            ],
            name_small=f"{verdict.claim.better} − {verdict.claim.than}, {verdict.claim.metric}",
        )
        for verdict in verdicts
    ]


def stage_items(recipe: Recipe, info: RunInfo) -> list[tuple[str, str]]:
    """(stage, its settings and its wall time with each seed), then commit and machine."""
    items = []
    for name, stage in recipe.stages.items():
        settings = ", ".join(f"{key} {value}" for key, value in asdict(stage).items() if value not in ("", (), {}))
        minutes = ", ".join(f"{value:.1f}" for value in info.minutes[name])
        items.append((name, f"{type(stage).__name__}: {settings} ({minutes} min)"))
    machine, python = machine_line(info.environment["machine"]), info.environment["versions"]["python"]
    items.append(("commit, machine", f"{info.environment['commit']}, {machine}, Python {python}"))
    return items
