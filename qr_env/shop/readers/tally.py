"""Count the cells of a file to which the same happened, with the first of them as an example.

tally = Tally("{count:,} cells of description hold HTML tags, which are left out, e.g. {value} (line {line})")
tally.add(2, 7, "<b>oak</b>")
tally.note_in(report, "products.csv")
"""

from __future__ import annotations

from dataclasses import dataclass

from qr_env.shop.readers.load_report import LoadReport, shorten


@dataclass
class Tally:
    """Cells of one kind in one file."""

    text: str
    """The note: a template with the fields count, line and value, the last two of the first cell."""
    count: int = 0
    """Number of cells."""
    line: int = 0
    """Line of the first cell."""
    value: str = ""
    """The first cell."""

    def add(self, count: int, line: int, value: str) -> None:
        """Count more cells, of which the first stands on `line`."""
        if count and not self.count:
            self.line, self.value = line, value
        self.count += count

    def note_in(self, report: LoadReport, name: str) -> None:
        """Write the note of the file called `name`, if there were such cells."""
        if self.count:
            text = self.text.format(count=self.count, line=self.line, value=shorten(self.value))
            report.note(f"{name}: {text}")
