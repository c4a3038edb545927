"""The report's section on planted products: how often each rewriter's first ten show one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runs.report.html import Cell, Row, render


def planted_section(planted: Mapping[str, Any]) -> str:
    """From planted.json of a run with --plant; "" for another run."""
    if not planted:
        return ""
    agents: Mapping[str, Mapping[str, float]] = planted["agents"]
    kinds = list(next(iter(agents.values())))
    rows = [Row(name, [Cell(f"{100 * shares[kind]:.1f} %") for kind in kinds]) for name, shares in agents.items()]
    return render("planted.html", products=f"{planted['products']:,}", heads=kinds, rows=rows)


def planted_text(shares: Mapping[str, float]) -> str:
    """The shares of one rewriter in a line."""
    return ", ".join(f"{kind} {100 * share:.1f} %" for kind, share in shares.items())
