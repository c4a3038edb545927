"""Read CSV and TSV files: a fast path where each line is one valid row, a slow path with exact line numbers.

rows = csv_rows(Path("products.csv"), lambda header: {"sku": "product_id", "name": "title"})
names = next(rows)  # our name of each column, "" for those not read; then (line, fields or the reason, value) a row
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import IO, Any

from qr_env.common.errors import DataError
from qr_env.shop.readers.chunks import Fields, Naming, Row, excerpt, open_text

BLOCK = 8 * 1024 * 1024  # characters of CSV parsed at once
FIELD_LIMIT = 2 * 1024 * 1024  # characters; a longer field is an unclosed quote


@contextmanager
def _field_limit(limit: int) -> Iterator[None]:
    """Set the csv module's global field size limit while a file is read, then restore it."""
    before = csv.field_size_limit(limit)
    try:
        yield
    finally:
        csv.field_size_limit(before)


class _Lines:
    """Physical lines of a file, with push-back of the lines of the current record."""

    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle
        self._back: deque[str] = deque()
        self.record: list[str] = []
        self.number = 0

    def __iter__(self) -> _Lines:
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

    def take_block(self) -> list[str]:
        """The next lines, about `BLOCK` characters of them; [] at the end of the file."""
        block = list(self._back) or self._handle.readlines(BLOCK)
        self._back.clear()
        self.number += len(block)
        return block


def csv_rows(path: Path, naming: Naming) -> Iterator[Any]:
    """First our column names, then the rows, invalid ones with their reason; DataError without a header."""
    with _field_limit(FIELD_LIMIT), open_text(path, newline="") as handle:
        delimiter = _delimiter(path, handle)
        lines = _Lines(handle)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = _csv_header(path, reader)
        names = naming(header)
        yield [names.get(name, "") for name in header]
        while block := lines.take_block():
            yield from _csv_block(lines, block, delimiter, len(header))


def _csv_block(lines: _Lines, block: list[str], delimiter: str, width: int) -> Iterator[Row]:
    """Rows of the block of lines just taken: parsed at once if each line is one valid row, else one by one."""
    first, last = lines.number - len(block) + 1, lines.number
    try:
        rows = list(csv.reader(block, delimiter=delimiter, strict=True))
    except csv.Error:
        rows = []
    if len(rows) == len(block) and set(map(len, rows)) == {width}:
        yield from zip(range(first, last + 1), rows, repeat(""))
        return
    lines.put_back(block)
    yield from _csv_records(lines, csv.reader(lines, delimiter=delimiter, strict=True), width, last)


def _delimiter(path: Path, handle: IO[str]) -> str:
    """Tab for .tsv; for .csv the first of comma, tab and semicolon that occurs in the first line."""
    first = handle.readline()
    handle.seek(0)
    if path.suffix.lower() == ".tsv":
        return "\t"
    return next((mark for mark in (",", "\t", ";") if mark in first), ",")


def _csv_header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise DataError(f"{path}:1: the header cannot be read ({error})") from None
    if not any(header):
        raise DataError(f"{path}: the file is empty; the first line must name the columns")
    return header


def _csv_records(lines: _Lines, reader: Iterator[list[str]], width: int, last: int) -> Iterator[Row]:
    """Rows up to line `last`; after a row with a broken quote, parsing continues on the next physical line."""
    while lines.number < last:
        lines.record.clear()
        line = lines.number + 1
        try:
            fields: Fields = [*next(reader)]
        except StopIteration:
            return
        except csv.Error:
            yield line, _quote_problem(lines), excerpt(lines.record[0])
            lines.put_back(lines.record[1:])
            continue
        if len(fields) == width:
            yield line, fields, ""
        elif fields:
            yield line, f"ragged row ({len(fields)} fields, the header has {width})", excerpt(lines.record[0])


def _quote_problem(lines: _Lines) -> str:
    if len(lines.record) == 1 and len(lines.record[0]) > FIELD_LIMIT:
        return f"a field is too long (the limit is {FIELD_LIMIT:,} characters)"
    return "broken quotes (a quoted field is not closed, or goes on after its closing quote)"
