"""Rows of CSV with its quotes: a fast path where each line is one valid row, a slow path with exact line numbers.

for block in QuotedRows(Lines(handle), Dialect(",", 0), Shape.of(["sku", "name"]), Tallies()).blocks():
    print(block.lines, block.fields, block.problems)

After a row with a broken quote, and after one whose quote swallows further rows, reading goes on with the next line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator

from qr_env.shop.readers.chunks import excerpt
from qr_env.shop.readers.formats.delimited.dialect import Dialect
from qr_env.shop.readers.formats.delimited.lines import Lines, Shape, are_rows, is_row
from qr_env.shop.readers.formats.row_block import RowBlock
from qr_env.shop.readers.tally import Tallies

FIELD_LIMIT = 2 * 1024 * 1024  # characters; a longer field is an unclosed quote
PIECES = (128, 16)  # lines of a block with a dirty row that are parsed at once
BROKEN = "broken quotes (a quoted field is not closed, or goes on after its closing quote)"
SWALLOWED = "broken quotes (a quote opens a field that runs over further rows)"
BACKSLASHES = 'quotes written as \\" are read as quotes (CSV has "")'


class QuotedRows:
    """The rows of one file, from the line after its header."""

    def __init__(self, lines: Lines, dialect: Dialect, shape: Shape, tallies: Tallies) -> None:
        self._lines, self._shape, self._tallies = lines, shape, tallies
        self._mark, self._spaced, self._quote = dialect.delimiter, dialect.spaced, dialect.quote

    def blocks(self) -> Iterator[RowBlock]:
        """All rows, invalid ones with their reason."""
        while lines := self._lines.block():
            block = RowBlock()
            self._parse(lines, block)
            yield block

    def _reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        return csv.reader(
            lines, delimiter=self._mark, quotechar=self._quote, skipinitialspace=self._spaced, strict=True
        )

    def _parse(self, lines: list[str], block: RowBlock) -> None:
        """Rows of the lines just taken: parsed at once if each line is one valid row, else in pieces."""
        first, last = self._lines.number - len(lines) + 1, self._lines.number
        try:
            rows = list(self._reader(lines))
        except csv.Error:
            rows = []
        if len(rows) == len(lines) and set(map(len, rows)) == {self._shape.width}:
            block.add_lines(first, rows)
            return
        self._lines.put_back(len(lines))
        size = next((size for size in PIECES if size < len(lines)), 0)
        if not size:
            self._parse_each(last, block)
        while self._lines.number < last:
            self._parse(self._lines.take(min(size, last - self._lines.number)), block)

    def _parse_each(self, last: int, block: RowBlock) -> None:
        """Rows up to line `last`, one by one."""
        reader = self._reader(self._lines)
        while self._lines.number < last:
            self._lines.start_record()
            number = self._lines.number + 1
            try:
                ends = self._add(number, next(reader), block)
            except StopIteration:
                return
            except csv.Error:
                self._add_broken(number, block)
                ends = False
            if not ends:
                self._lines.keep_first()

    def _add(self, number: int, fields: list[str], block: RowBlock) -> bool:
        """Add the record just parsed, unless it is a blank line; returns whether its further lines are part of it."""
        record, width = self._lines.record, self._shape.width
        fields = self._shape.fit(fields)
        if are_rows(record[1:], self._mark, width) and is_row(record[0], self._mark, width):
            block.add_problem(number, SWALLOWED, excerpt(record[0]))
            return False
        if len(fields) == width:
            block.add(number, [*fields])
            return True
        if fields:
            block.add_problem(number, self._shape.ragged(fields), excerpt(record[0]))
        return not any(is_row(line, self._mark, width) for line in record[1:])

    def _add_broken(self, number: int, block: RowBlock) -> None:
        """Add the first line of a record with broken quotes, whose quotes may be written with backslashes."""
        record = self._lines.record
        line = record[0]
        if len(record) == 1 and len(line) > FIELD_LIMIT:
            block.add_problem(number, f"a field is too long (the limit is {FIELD_LIMIT:,} characters)", excerpt(line))
            return
        if '\\"' in line:
            try:
                fields = next(self._reader([line.replace('\\"', '""')]))
            except csv.Error:
                fields = []
            if len(fields) == self._shape.width:
                self._tallies.add(BACKSLASHES, "", number, line.strip())
                block.add(number, [*fields])
                return
        block.add_problem(number, BROKEN, excerpt(line))
