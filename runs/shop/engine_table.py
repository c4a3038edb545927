"""The table of `qr shop --check-engine`."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from qr_env.evaluation.engine_outcome import Candidate, EngineCheck

SHOWN = 10  # BM25 engines in the table, besides the baseline and the choice
CAVEAT = (
    "The judge reads words: it knows nothing of meaning, so it undervalues hybrid engines. It tells which fields to "
    "index better than which weight, k1 or b (runs/results/engines.md)."
)


def print_engine_check(check: EngineCheck) -> None:
    """Print the best engines, the sentence, what labels say of it, and what the judge cannot see."""
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(engine_table(check))
    console.print(f"[bold]{escape(check.sentence())}[/bold]", soft_wrap=True)
    for name, agreement in check.agreement.items():
        gain = check.labelled_gain[name]
        text = f"by labels: {name} of the choice {gain}; {100 * agreement:.0f} % of the pairs of engines ordered alike"
        console.print(escape(text), soft_wrap=True)
    console.print(CAVEAT, soft_wrap=True)


def engine_table(check: EngineCheck) -> Table:
    """The best engines, the baseline, the choice and the hybrids, best first."""
    table = Table(
        title=f"Search engines by judge {escape(check.judge)}, {check.queries:,} queries",
        caption="Differences from the engine in use, with 95 % intervals (paired bootstrap over queries).",
        title_justify="left",
        caption_justify="left",
    )
    metrics = list(check.baseline.labelled)
    table.add_column("engine", overflow="fold")
    for heading in ("judged", "difference", *(f"labels {name}" for name in metrics)):
        table.add_column(heading, justify="right")
    for candidate in shown(check):
        mark = " (in use)" if candidate == check.baseline else " (choice)" if candidate == check.best else ""
        labels = (f"{candidate.labelled[name]:.3f}" for name in metrics)
        table.add_row(
            escape(candidate.spec + mark), f"{candidate.judged:.3f}", escape(str(candidate.difference)), *labels
        )
    return table


def shown(check: EngineCheck) -> list[Candidate]:
    """The candidates in the table, best first."""
    first = [candidate for candidate in check.candidates if not candidate.is_hybrid][:SHOWN]
    return [
        candidate
        for candidate in check.candidates
        if candidate.is_hybrid or candidate in first or candidate in (check.baseline, check.best)
    ]
