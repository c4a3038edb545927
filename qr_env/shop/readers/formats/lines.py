"""Physical lines of a file with their numbers, push-back of lines that were read ahead, and the number of cells.

lines = Lines(handle)
shape = Shape.of(["product_id", "title"])
block = lines.block()
lines.put_back(block[1:])
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import IO

from qr_env.shop.readers.totals import ROW_OF_TOTALS, is_totals

BLOCK = 8 * 1024 * 1024  # characters that are parsed at once


class Lines:
    """Physical lines of a file."""

    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle
        self._back: deque[str] = deque()
        self.record: list[str] = []
        """Lines taken one by one since it was last cleared."""
        self.number = 0
        """Lines taken, put-back ones not counted: the number of the last line."""

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        line = self._back.popleft() if self._back else next(self._handle)
        self.number += 1
        self.record.append(line)
        return line

    def put_back(self, lines: list[str]) -> None:
        """Push back the last lines that were taken."""
        self.number -= len(lines)
        self._back.extendleft(reversed(lines))

    def take(self, count: int) -> list[str]:
        """The next `count` lines, fewer at the end of the file."""
        return list(islice(self, count))

    def block(self) -> list[str]:
        """The next lines, about `BLOCK` characters of them; [] at the end of the file."""
        block = list(self._back) or self._handle.readlines(BLOCK)
        self._back.clear()
        self.number += len(block)
        return block


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
