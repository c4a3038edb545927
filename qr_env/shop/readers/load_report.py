"""What a loader left out and why: each dirty row with its file, line and reason, counted and told.

report = LoadReport(on_bad_row="skip")
report.add("products.csv", [(7, "empty title", "")])
print(report.summary())
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qr_env.common.errors import BadRowError, ConfigError
from qr_env.shop.readers.chunks import Problem


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out. `line` counts from 1: the physical line of a text file, the row of a Parquet file."""

    file: str
    line: int
    reason: str
    value: str

    def __str__(self) -> str:
        value = f": {self.value}" if self.value else ""
        place = f"{self.file}, row {self.line}" if self.file.endswith(".parquet") else f"{self.file}:{self.line}"
        return f"{place}: {self.reason}{value}"


@dataclass
class LoadReport:
    """What a loader read, renamed and left out: every dirty row is here, so nothing is dropped silently.

    on_bad_row: "stop" raises BadRowError at the first dirty row, "skip" leaves it out and collects it.
    rows, kept: data rows of each file, and how many of them are in the shop.
    notes: sentences for the reader: column aliases that were used, columns that were ignored, ids that were made.
    """

    on_bad_row: str = "stop"
    bad_rows: list[BadRow] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.on_bad_row not in ("stop", "skip"):
            raise ConfigError(f"on_bad_row={self.on_bad_row!r}: must be 'stop' or 'skip'")

    def add(self, file: str, problems: Iterable[Problem]) -> None:
        """Take dirty rows of one chunk, in the order of their lines; stop at the first if so asked."""
        for line, reason, value in sorted(problems, key=lambda problem: problem[0]):
            bad = BadRow(file, line, reason, value)
            if self.on_bad_row == "stop":
                raise BadRowError(f"{bad} (pass --on-bad-row=skip to leave such rows out)")
            self.bad_rows.append(bad)

    def note(self, text: str) -> None:
        """Remember a sentence, once."""
        if text not in self.notes:
            self.notes.append(text)

    def by_reason(self) -> dict[str, int]:
        """Number of dirty rows of each file and reason, most frequent first."""
        counts = Counter(f"{Path(bad.file).name}: {bad.reason.split(' (')[0]}" for bad in self.bad_rows)
        return dict(counts.most_common())

    def summary(self, examples: int = 3) -> str:
        """Counts by reason with the first few lines of each; "" when no row was dirty."""
        if not self.bad_rows:
            return ""
        lines = [f"{len(self.bad_rows):,} of {sum(self.rows.values()):,} rows were dirty and left out:"]
        for reason, count in self.by_reason().items():
            name, _, why = reason.partition(": ")
            same = (bad for bad in self.bad_rows if Path(bad.file).name == name and bad.reason.split(" (")[0] == why)
            where = ", ".join(str(bad.line) for bad, _ in zip(same, range(examples), strict=False))
            lines.append(f"  {count:>7,}  {reason} (line {where}{', …' if count > examples else ''})")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """All of it, every dirty row included, as JSON values."""
        return {"by_reason": self.by_reason(), **asdict(self)}


def shorten(value: object, limit: int = 60) -> str:
    """A value for a message: quoted, escaped, at most `limit` characters and its length."""
    text = value if isinstance(value, str) else str(value)
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}… ({len(text):,} characters)"
