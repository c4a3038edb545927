"""report.html of a recipe: its students side by side, the paper's claims with this run's results, links to the seeds.

The template is `runs/report/templates/recipe.html`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from runs.common.provenance import machine_line
from runs.recipe.compare import IDENTITY, Comparison, RunInfo, Verdict
from runs.recipe.spec import Recipe
from runs.recipe.table import interval_text, table_rows
from runs.report import html
from runs.report.run_files import REPORT_FILE

ROW_HEIGHT = 30  # pixels of an agent in the chart
RESULT_COLORS = {"agrees": "up", "disagrees": "down"}


@dataclass(frozen=True)
class Bar:
    """An agent in the chart; coordinates in pixels."""

    name: str
    """name of the agent"""
    text: str
    """its mean and difference to identity"""
    mean: float
    """x of the mean"""
    low: float
    """x of the interval's lower end"""
    high: float
    """x of the interval's upper end"""
    y: float
    """y of dot and bar"""


@dataclass(frozen=True)
class Mark:
    """A vertical line in the chart."""

    text: str
    """its label"""
    x: float
    """x in pixels"""


@dataclass(frozen=True)
class IntervalChart:
    """The headline metric: a dot and a 95 % interval for each agent, with identity and the oracle as vertical lines."""

    bars: list[Bar]
    """one for each agent, from top to bottom"""
    marks: list[Mark]
    """identity, and the oracle if the shop knows it"""
    width: int = 1060
    """pixels"""
    left: int = 190
    """pixels on the left for the names"""
    right: int = 150
    """pixels on the right for the values"""

    @property
    def height(self) -> int:
        """Pixels."""
        return ROW_HEIGHT * (len(self.bars) + 1)


def write_page(folder: Path, recipe: Recipe, comparison: Comparison) -> Path:
    """Write one self-contained file."""
    rows = table_rows(comparison)
    students = [
        html.Row(name, [html.Cell(row.texts[position]) for row in rows])
        for position, name in enumerate(comparison.values)
    ]
    body = html.render(
        "recipe.html",
        about=recipe.about,
        main=comparison.main,
        by=comparison.by,
        info=comparison.info,
        chart=interval_chart(comparison),
        claims=claim_rows(comparison.verdicts),
        metric_names=[row.metric for row in rows],
        students=students,
        stages=stage_items(recipe, comparison.info),
        report_file=REPORT_FILE,
    )
    return html.write_page(folder / REPORT_FILE, comparison.info.title, [body])


def interval_chart(comparison: Comparison) -> IntervalChart:
    """The headline metric of all agents."""
    cells = {name: comparison.cell(name, comparison.main) for name in comparison.values}
    identity = cells[IDENTITY].mean
    levels = {IDENTITY: identity}
    if comparison.oracle_N is not None:
        levels["oracle"] = float(comparison.oracle_N.mean())
    ends = [*levels.values(), *(identity + end for cell in cells.values() for end in (cell.low, cell.high))]
    least, most = min(ends), max(ends)
    scale = (IntervalChart.width - IntervalChart.left - IntervalChart.right) / max(most - least, 1e-9)

    def x(value: float) -> float:
        return round(IntervalChart.left + (value - least) * scale, 1)

    bars = [
        Bar(
            name=name,
            text=f"{cell.mean:.3f} ({cell.difference:+.3f})",
            mean=x(cell.mean),
            low=x(identity + cell.low),
            high=x(identity + cell.high),
            y=ROW_HEIGHT * position + ROW_HEIGHT / 2,
        )
        for position, (name, cell) in enumerate(cells.items())
    ]
    return IntervalChart(bars, [Mark(f"{name} {value:.3f}", x(value)) for name, value in levels.items()])


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
