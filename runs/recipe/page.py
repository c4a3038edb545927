"""report.html of a recipe: its students side by side, the paper's claims beside ours, links to each seed's report."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qr_env.common.atomic_io import atomic_write, saving
from runs.common.provenance import machine_line
from runs.recipe.compare import ONE_SEED, interval_text
from runs.report.run_files import REPORT_FILE

if TYPE_CHECKING:
    from runs.recipe.compare import Comparison
    from runs.recipe.job import Recipe

WIDTH, ROW, LEFT, RIGHT = 1060, 30, 190, 150
MARKS = {"agrees": "up", "disagrees": "down", "within noise": "", ONE_SEED: "", "unknown": ""}


def write_page(folder: Path, recipe: Recipe, comparison: Comparison) -> Path:
    """One self-contained file; nothing is loaded from anywhere."""
    title = comparison.about["title"]
    parts = [
        f"<h1>{escape(title)}</h1><p class=soft>{escape(recipe.about)}</p>",
        f"<h2>{escape(comparison.main)}</h2>{intervals(comparison)}",
        f"<h2>What the paper says, and what was found here</h2>{claims(comparison.verdicts)}",
        f"<h2>All figures</h2>{figures(comparison)}",
        f"<h2>Stages</h2>{stages(recipe, comparison.about)}",
        f"<p>Rewrites to read: {seeds(comparison.about['seeds'])}</p>",
    ]
    template = string.Template(
        (Path(__file__).parents[1] / "report" / "report_template.html").read_text(encoding="utf-8")
    )
    page = template.substitute(title=escape(title), body="\n".join(parts))
    with saving(folder / REPORT_FILE):
        atomic_write(folder / REPORT_FILE, page)
    return folder / REPORT_FILE


def intervals(comparison: Comparison) -> str:
    """A dot and a 95 % bar an agent: the headline figure, with identity and the oracle as levels."""
    main = comparison.main
    cells = {name: comparison.cell(name, main) for name in comparison.values}
    raw = cells["identity"]["mean"]
    ceiling = [float(comparison.oracle_N.mean())] if comparison.oracle_N is not None else []
    ends = [raw, *ceiling, *(raw + cell[end] for cell in cells.values() for end in ("low", "high"))]
    low, high = min(ends), max(ends)
    scale = (WIDTH - LEFT - RIGHT) / max(high - low, 1e-9)

    def x(value: float) -> float:
        return LEFT + (value - low) * scale

    height = ROW * (len(cells) + 1)
    levels = [("identity", raw), *(("oracle", value) for value in ceiling)]
    lines = [
        f'<line class="mark" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="6" y2="{height - ROW}" stroke="var(--c1)"/>'
        f'<text class="tick" x="{x(at):.1f}" y="{height - 12}" text-anchor="middle">{name} {at:.3f}</text>'
        for name, at in levels
    ]
    rows = [_dot(name, cell, raw, x, ROW * at + ROW / 2) for at, (name, cell) in enumerate(cells.items())]
    return f'<figure><svg viewBox="0 0 {WIDTH} {height}" role="img">{"".join([*lines, *rows])}</svg></figure>'


def _dot(name: str, cell: dict[str, float], raw: float, x: Any, y: float) -> str:
    low, high = x(raw + cell["low"]), x(raw + cell["high"])
    return (
        f'<text class="label" x="{LEFT - 12}" y="{y + 4:.0f}" text-anchor="end">{escape(name)}</text>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="var(--c0)" stroke-width="3" opacity=".45"/>'
        f'<circle cx="{x(cell["mean"]):.1f}" cy="{y}" r="5" fill="var(--c0)"/>'
        f'<text class="tick" x="{WIDTH - RIGHT + 16}" y="{y + 4:.0f}">'
        f"{cell['mean']:.3f} ({cell['difference']:+.3f})</text>"
    )


def claims(verdicts: Sequence[dict[str, Any]]) -> str:
    """A row a claim."""
    if not verdicts:
        return "<p>This recipe makes no claim.</p>"
    rows = [
        f"<tr><td>{escape(v['what'])}"
        f"<small>{escape(v['better'])} − {escape(v['than'])}, {escape(v['figure'])}</small></td>"
        f"<td>{v['difference']:+.3f}<small>{interval_text(v, ' … ')}</small></td>"
        f'<td class="{MARKS[v["ours"]]}">{v["ours"]}</td><td>{escape(v["paper"])}</td></tr>'
        for v in verdicts
    ]
    head = "".join(f"<th>{text}</th>" for text in ("claim", "difference here", "", "the paper"))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def figures(comparison: Comparison) -> str:
    """Students as rows, all figures as columns."""
    rows = list(comparison.rows())
    head = "".join(f"<th>{escape(key)}</th>" for key in ("", *(key for key, _ in rows)))
    body = [
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(texts[at])}</td>' for _, texts in rows)}</tr>"
        for at, name in enumerate(comparison.values)
    ]
    by = f"Graded by {escape(comparison.by)}. ± deviation between seeds; in brackets the 95 % interval."
    by = f"{by} {escape(comparison.about.get('text scores', ''))}".rstrip()
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f'<div class="scroll">{table}</div><p><small>{by}</small></p>'


def stages(recipe: Recipe, about: dict[str, Any]) -> str:
    """What each stage was told, and how long it took, a seed each."""
    rows = []
    for name, stage in recipe.stages.items():
        told = ", ".join(f"{key} {value}" for key, value in asdict(stage).items() if value not in ("", (), {}))
        times = ", ".join(f"{minutes:.1f}" for minutes in about["minutes"][name])
        rows.append(
            f"<dt>{escape(name)}</dt><dd>{type(stage).__name__}: {escape(told)} <small>({times} min)</small></dd>"
        )
    environment = about["environment"]
    machine = f"{environment['commit']}, {machine_line(environment['machine'])}"
    machine += f", Python {environment['versions']['python']}"
    return f"<dl>{''.join(rows)}<dt>commit, machine</dt><dd>{escape(machine)}</dd></dl>"


def seeds(numbers: Sequence[int]) -> str:
    """Links to the report of each seed."""
    return ", ".join(f'<a href="seed-{n}/{REPORT_FILE}">seed {n}</a>' for n in numbers)
