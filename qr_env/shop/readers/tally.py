"""Count the cells of a file to which the same happened, with the first of each column as an example.

tallies = Tallies()
tallies.add("HTML tags are left out", "title", 7, "<b>oak</b>")
tallies.notes("products.csv")      # ["products.csv: HTML tags are left out: 1 of title ('<b>oak</b>' on line 7)"]
"""

from __future__ import annotations

from dataclasses import dataclass

from qr_env.shop.readers.load_report import shorten


@dataclass
class _Cells:
    """Cells of one column to which the same happened."""

    count: int
    """Number of cells."""
    line: int
    """Line of the first."""
    value: str
    """The first."""


class Tallies:
    """Counts by what happened and by column."""

    def __init__(self, place: str = "line") -> None:
        self._place = place
        self._cells: dict[str, dict[str, _Cells]] = {}

    def add(self, kind: str, column: str, line: int, value: str, count: int = 1) -> None:
        """Count cells of a column, the first of which stands on `line`."""
        of_kind = self._cells.setdefault(kind, {})
        if column in of_kind:
            of_kind[column].count += count
        else:
            of_kind[column] = _Cells(count, line, value)

    def notes(self, file: str) -> list[str]:
        """One note for each kind."""
        return [f"{file}: {kind}: {', '.join(map(self._text, of.items()))}" for kind, of in self._cells.items()]

    def _text(self, item: tuple[str, _Cells]) -> str:
        column, cells = item
        of = f" of {column}" if column else ""
        return f"{cells.count:,}{of} ({shorten(cells.value)} on {self._place} {cells.line:,})"
