"""Physical lines of a file with their numbers, push-back of lines that were read ahead, and the number of cells.

lines = Lines(handle)
shape = Shape.of(["product_id", "title"])
block = lines.block()
lines.put_back(len(block) - 1)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from qr_env.shop.readers.left_out.totals import ROW_OF_TOTALS, is_totals

BLOCK = 8 * 1024 * 1024  # characters that are parsed at once


class Lines:
    """Physical lines of a file. Those of the current block stay, so that lines can be put back."""

    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle
        self._lines: list[str] = []  # of the current block
        self._at = 0  # of them taken
        self._before = 0  # lines of earlier blocks
        self._start = 0  # of the current record

    @property
    def number(self) -> int:
        """Lines taken, put-back ones not counted: the number of the last line."""
        return self._before + self._at

    @property
    def record(self) -> list[str]:
        """Lines taken since `start_record`."""
        return self._lines[self._start : self._at]

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        if self._at == len(self._lines) and not self._read():
            raise StopIteration
        self._at += 1
        return self._lines[self._at - 1]

    def start_record(self) -> None:
        """The next line is the first of a record."""
        self._start = self._at

    def keep_first(self) -> None:
        """Put back the lines of the record after its first."""
        self._at = self._start + 1

    def put_back(self, count: int) -> None:
        """Put back the last `count` lines, at most those of the block."""
        self._at -= count

    def take(self, count: int) -> list[str]:
        """The next `count` lines of the block, fewer at its end."""
        first = self._at
        self._at = min(first + count, len(self._lines))
        return self._lines[first : self._at]

    def block(self) -> list[str]:
        """The rest of the lines read ahead, or the next ones, about `BLOCK` characters; [] at the end of the file."""
        self._before += self._at
        self._lines = self._lines[self._at :]
        self._at = self._start = 0
        if not self._lines:
            self._read()
        return self.take(len(self._lines))

    def _read(self) -> bool:
        """Read further lines; returns whether there are any."""
        more = self._handle.readlines(BLOCK)
        self._lines += more
        return bool(more)


@dataclass(frozen=True)
class Shape:
    """How many cells the rows of a delimited file have."""

    width: int
    """Cells of the header."""
    least: int
    """`width` less the columns without a name at its end: spreadsheets leave them out in some rows."""

    @classmethod
    def of(cls, header: list[str]) -> Shape:
        """The shape of the rows under this header."""
        named = [at for at, name in enumerate(header, start=1) if name.strip()]
        return cls(len(header), named[-1] if named else len(header))

    def fit(self, cells: list[str]) -> list[str]:
        """The cells without empty ones beyond the header, and with those left out at its end."""
        if len(cells) > self.width and not any(cells[self.width :]):
            return cells[: self.width]
        if self.least <= len(cells) < self.width:
            return cells + [""] * (self.width - len(cells))
        return cells

    def ragged(self, cells: list[str]) -> str:
        """The reason for a row that does not fit."""
        if is_totals(cells, self.width):
            return ROW_OF_TOTALS
        return f"ragged row ({len(cells)} fields, the header has {self.width})"


def is_row(line: str, mark: str, width: int) -> bool:
    """Whether a line has `width` cells, a comma with a space behind it not counted, for that is prose."""
    prose = line.count(f"{mark} ") if mark == "," else 0
    return line.count(mark) + 1 - prose == width


def are_rows(lines: list[str], mark: str, width: int) -> bool:
    """Whether lines of one quoted cell are rows of their own, which a quote has swallowed; False for no lines.

    The last one is a row, and nine of ten are.
    """
    found = [is_row(line, mark, width) for line in lines if line.strip()]
    return bool(found) and found[-1] and sum(found) >= 0.9 * len(found)
