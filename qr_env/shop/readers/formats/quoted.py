"""Rows of CSV with its quotes: a fast path where each line is one valid row, a slow path with exact line numbers.

for line, fields, value in QuotedRows(Lines(handle), Dialect(",", 0), Shape.of(["sku", "name"]), Tallies()).rows():
    print(line, fields or value)

After a row with a broken quote, and after one whose quote swallows further rows, reading goes on with the next line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import repeat

from qr_env.shop.readers.chunks import Row, excerpt
from qr_env.shop.readers.formats.dialect import Dialect
from qr_env.shop.readers.formats.lines import Lines, Shape, are_rows, is_row
from qr_env.shop.readers.tally import Tallies

FIELD_LIMIT = 2 * 1024 * 1024  # characters; a longer field is an unclosed quote
PIECE = 64  # lines of a block with a dirty row that are parsed at once
BROKEN = "broken quotes (a quoted field is not closed, or goes on after its closing quote)"
SWALLOWED = "broken quotes (a quote opens a field that runs over further rows)"
BACKSLASHES = 'quotes written as \\" are read as quotes (CSV has "")'


class QuotedRows:
    """The rows of one file, from the line after its header."""

    def __init__(self, lines: Lines, dialect: Dialect, shape: Shape, tallies: Tallies) -> None:
        self._lines, self._shape, self._tallies = lines, shape, tallies
        self._mark, self._spaced = dialect.delimiter, dialect.spaced

    def rows(self) -> Iterator[Row]:
        """All rows, invalid ones with their reason."""
        while block := self._lines.block():
            yield from self._block(block)

    def _reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        return csv.reader(lines, delimiter=self._mark, skipinitialspace=self._spaced, strict=True)

    def _block(self, block: list[str]) -> Iterator[Row]:
        """Rows of the block of lines just taken: parsed at once if each line is one valid row, else in pieces."""
        first, last = self._lines.number - len(block) + 1, self._lines.number
        try:
            rows = list(self._reader(block))
        except csv.Error:
            rows = []
        if len(rows) == len(block) and set(map(len, rows)) == {self._shape.width}:
            yield from zip(range(first, last + 1), rows, repeat(""))
            return
        self._lines.put_back(block)
        if len(block) <= PIECE:
            yield from self._records(last)
            return
        while self._lines.number < last:
            yield from self._block(self._lines.take(min(PIECE, last - self._lines.number)))

    def _records(self, last: int) -> Iterator[Row]:
        """Rows up to line `last`, one by one."""
        reader, record = self._reader(self._lines), self._lines.record
        while self._lines.number < last:
            record.clear()
            number = self._lines.number + 1
            try:
                row, ends = self._row(number, next(reader))
            except StopIteration:
                return
            except csv.Error:
                row, ends = self._broken(number)
            if not ends:
                self._lines.put_back(record[1:])
            if row:
                yield row

    def _row(self, number: int, fields: list[str]) -> tuple[Row | None, bool]:
        """The row of the record just parsed, None for a blank line; and whether its further lines are part of it."""
        record, width = self._lines.record, self._shape.width
        fields = self._shape.fit(fields)
        if are_rows(record[1:], self._mark, width) and is_row(record[0], self._mark, width):
            return (number, SWALLOWED, excerpt(record[0])), False
        if len(fields) == width:
            return (number, [*fields], ""), True
        if not fields:
            return None, True
        part = not any(is_row(line, self._mark, width) for line in record[1:])
        return (number, self._shape.ragged(fields), excerpt(record[0])), part

    def _broken(self, number: int) -> tuple[Row, bool]:
        """The first line of a record with broken quotes, whose quotes may be written with backslashes."""
        line = self._lines.record[0]
        if len(self._lines.record) == 1 and len(line) > FIELD_LIMIT:
            return (number, f"a field is too long (the limit is {FIELD_LIMIT:,} characters)", excerpt(line)), False
        if '\\"' in line:
            try:
                fields = next(self._reader([line.replace('\\"', '""')]))
            except csv.Error:
                fields = []
            if len(fields) == self._shape.width:
                self._tallies.add(BACKSLASHES, "", number, line.strip())
                return (number, [*fields], ""), False
        return (number, BROKEN, excerpt(line)), False
