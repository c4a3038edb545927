"""Rows of totals in exports of web analytics: they count all searches together and are no query.

totals = Totals()
problems = totals.take(problems)          # GA4's row ",,12345,Grand total", which has a field more than the header
table = totals.leave_out(table, "query")  # Google Ads' row "Total: Account,12345"
totals.note("queries.csv")                # "queries.csv: rows of totals, left out: 1 (such as line 8)"
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.chunks import Problem

ROW_OF_TOTALS = "a row of totals"
LABELS = (
    *("grand total", "gesamtsumme", "total general", "total général", "totale complessivo", "eindtotaal"),
    "total geral",
)
CELL = r"(?i)^(grand total|totals?: .+|gesamt: .+)$"


def is_totals(fields: list[str], width: int) -> bool:
    """Whether a row's fields are the totals of `width` columns with their label behind them."""
    return len(fields) == width + 1 and fields[-1].strip().casefold() in LABELS


@dataclass
class Totals:
    """The rows of totals of one file."""

    count: int = 0
    """Number of rows."""
    line: int = 0
    """Line of the first one, from 1."""

    def take(self, problems: list[Problem]) -> list[Problem]:
        """The invalid rows that are no totals."""
        lines = [line for line, reason, _ in problems if reason == ROW_OF_TOTALS]
        self._add(lines)
        return [problem for problem in problems if problem[1] != ROW_OF_TOTALS] if lines else problems

    def leave_out(self, table: pa.Table, column: str) -> pa.Table:
        """The rows of which the column holds no label of totals; column: "" for none."""
        if column not in table.column_names:
            return table
        is_total_N = np.asarray(pc.match_substring_regex(table[column], CELL), dtype=bool)
        self._add(table["line"].to_numpy()[is_total_N].tolist())
        return table.filter(pa.array(~is_total_N)) if is_total_N.any() else table

    def _add(self, lines: list[int]) -> None:
        self.count += len(lines)
        self.line = self.line or min(lines, default=0)

    def note(self, file: str) -> str:
        """What was left out, for the report; "" if nothing."""
        return f"{file}: rows of totals, left out: {self.count} (such as line {self.line})" if self.count else ""
