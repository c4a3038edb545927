"""Report of a loader: every invalid row with file, line and reason, counts, and notes.

report = LoadReport(ReadOptions(on_bad_row="skip"))
report.add("products.csv", [(7, "empty title", "")])
print(report.summary())
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from qr_env.common.errors import BadRowError
from qr_env.shop.readers.chunks import Problem
from qr_env.shop.readers.options import ReadOptions

log = logging.getLogger("qr_env.shop.readers.load_report")


@dataclass(frozen=True, slots=True)
class BadRow:
    """An invalid row that was left out."""

    file: str
    """Path of its file."""
    line: int
    """From 1: the physical line of a text file, the row of a Parquet file."""
    reason: str
    """Why it is invalid."""
    value: str
    """The offending value, shortened; "" if there is none."""

    def __str__(self) -> str:
        value = f": {self.value}" if self.value else ""
        place = f"{self.file}, row {self.line}" if self.file.endswith(".parquet") else f"{self.file}:{self.line}"
        return f"{place}: {self.reason}{value}"


@dataclass
class LoadReport:
    """Rows and columns that a loader read, left out and renamed. It lists every invalid row."""

    options: ReadOptions = field(default_factory=ReadOptions)
    """How files are read; on_bad_row "stop" raises BadRowError at the first invalid row, "skip" records them."""
    bad_rows: list[BadRow] = field(default_factory=list)
    """Every row that was left out."""
    rows: dict[str, int] = field(default_factory=dict)
    """File → number of data rows."""
    kept: dict[str, int] = field(default_factory=dict)
    """File → number of rows that are in the shop."""
    notes: list[str] = field(default_factory=list)
    """Messages to the user: column aliases used, columns ignored, ids generated."""
    language: str = ""
    """The shop's language and what tells it; "" where nothing asked."""

    def __post_init__(self) -> None:
        self.options.check()

    def add(self, file: str, problems: Iterable[Problem]) -> None:
        """Record the invalid rows of one chunk in line order; raises at the first if `on_bad_row` is "stop"."""
        for line, reason, value in sorted(problems, key=lambda problem: problem[0]):
            bad = BadRow(file, line, reason, value)
            if self.options.on_bad_row == "stop":
                raise BadRowError(f"{bad} (on_bad_row='skip' leaves such rows out)")
            self.bad_rows.append(bad)

    def note(self, text: str) -> None:
        """Add a message and log it, unless it is empty or there already; the verbs print what is logged."""
        if text and text not in self.notes:
            self.notes.append(text)
            log.info("%s", text)

    def warn(self, name: str) -> None:
        """Log a summary of the invalid rows, if there are any, under the name of what was read.

        Without a logging configuration, Python prints warnings to stderr: the user sees them with any caller.
        """
        if self.bad_rows:
            log.warning("%s: %s", name, self.summary())

    def by_reason(self) -> dict[str, int]:
        """Number of invalid rows per file and reason, most frequent first."""
        counts = Counter(f"{Path(bad.file).name}: {bad.reason.split(' (')[0]}" for bad in self.bad_rows)
        return dict(counts.most_common())

    def summary(self, examples: int = 3) -> str:
        """Counts by reason with the first few line numbers of each; "" if no row was invalid."""
        if not self.bad_rows:
            return ""
        left_out = Counter(bad.file for bad in self.bad_rows)
        files = [f"{Path(file).name} {count:,} of {self.rows.get(file, count):,}" for file, count in left_out.items()]
        total = f"{len(self.bad_rows):,} of {sum(self.rows.values()):,}"
        lines = [f"{total} rows were invalid and left out ({', '.join(files)}):"]
        for reason, count in self.by_reason().items():
            name, _, why = reason.partition(": ")
            same = (bad for bad in self.bad_rows if Path(bad.file).name == name and bad.reason.split(" (")[0] == why)
            where = ", ".join(str(bad.line) for bad, _ in zip(same, range(examples), strict=False))
            lines.append(f"  {count:>7,}  {reason} (line {where}{', …' if count > examples else ''})")
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """The whole report, every invalid row included, as JSON values."""
        return {"by_reason": self.by_reason(), **asdict(self)}


def shorten(value: object, limit: int = 60) -> str:
    """A value for a message: quoted and escaped; beyond `limit` characters cut, with its length."""
    text = value if isinstance(value, str) else str(value)
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}… ({len(text):,} characters)"
