"""Read CSV and TSV files: a fast path where each line is one valid row, a slow path with exact line numbers.

rows = csv_rows(open_table(Path("products.csv")), lambda header: {"sku": "product_id", "name": "title"}, report)
names = next(rows)  # our name of each column, "" for those not read; then (line, fields or the reason, value) a row

The separator is found in the first lines. Cells of CSV are quoted by its rules, those of TSV as in `tabbed.py`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import IO, Any

from qr_env.common.errors import DataError
from qr_env.shop.readers.chunks import Naming, Row, excerpt
from qr_env.shop.readers.formats.dialect import ALONE, SAMPLE, Dialect, find_dialect
from qr_env.shop.readers.formats.lines import Lines, Shape, are_rows
from qr_env.shop.readers.formats.tabbed import split_line, tab_rows
from qr_env.shop.readers.formats.table_file import TableFile
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.tally import Tallies

FIELD_LIMIT = 2 * 1024 * 1024  # characters; a longer field is an unclosed quote
PIECE = 64  # lines of a block with a dirty row that are parsed at once
HEADER_LINES = 10  # lines among which the header is looked for
_SWALLOWED = "broken quotes (a quote opens a field that runs over further rows)"


@contextmanager
def _field_limit(limit: int) -> Iterator[None]:
    """Set the csv module's global field size limit while a file is read, then restore it."""
    before = csv.field_size_limit(limit)
    try:
        yield
    finally:
        csv.field_size_limit(before)


@dataclass(frozen=True)
class _Header:
    """The columns of a file and where its rows begin."""

    dialect: Dialect
    """How the file is written."""
    cells: list[str]
    """Names of the columns in the file."""
    lines: int
    """Lines before the first row."""
    names: dict[str, str]
    """Name in the file → our name."""


def csv_rows(file: TableFile, naming: Naming, report: LoadReport) -> Iterator[Any]:
    """First our column names, then the rows, invalid ones with their reason; DataError without a header."""
    with _field_limit(FIELD_LIMIT), file.text() as handle:
        header = _find_header(file.path, list(islice(handle, SAMPLE)), naming, report)
        yield [header.names.get(name, "") for name in header.cells]
        handle.seek(0)
        lines = Lines(_first_table(file.path, handle, header, report) if header.dialect.commented else handle)
        lines.take(header.lines)
        shape = Shape.of(header.cells)
        if header.dialect.delimiter in ("\t", ALONE):
            tallies = Tallies()
            yield from tab_rows(lines, header.dialect.delimiter, shape, tallies)
            for note in tallies.notes(file.path.name):
                report.note(note)
            return
        while block := lines.block():
            yield from _csv_block(lines, block, header.dialect.delimiter, shape)


def _find_header(path: Path, sample: list[str], naming: Naming, report: LoadReport) -> _Header:
    """The first line that is no comment; where it names no column that is needed, a later one that does."""
    first = find_dialect(sample)
    if sample[first.header][:1] in ("{", "[") and sample[first.header][1:2] in ('"', "{", "}", "\n", "\r"):
        raise DataError(f"{path}: this is JSON, it begins with {excerpt(sample[0])}; name it {path.stem}.jsonl")
    try:
        return _named(path, sample, first, naming)
    except DataError:
        for start in range(first.header + 1, min(HEADER_LINES, len(sample))):
            with suppress(DataError):
                found = _named(path, sample, find_dialect(sample, start), naming)
                if len(found.cells) > 1:
                    before = f"1–{found.dialect.header}" if found.dialect.header > 1 else "1"
                    report.note(
                        f"{path.name}: line {before} before the header left out, {excerpt(sample[first.header])}"
                    )
                    return found
        raise


def _named(path: Path, sample: list[str], dialect: Dialect, naming: Naming) -> _Header:
    cells, lines = _header_cells(path, sample[dialect.header :], dialect)
    return _Header(dialect, cells, dialect.header + lines, naming(cells))


def _header_cells(path: Path, lines: list[str], dialect: Dialect) -> tuple[list[str], int]:
    """The names of the columns, and the number of lines that they take."""
    if dialect.delimiter in ("\t", ALONE):
        cells, taken = split_line(lines[0] if lines else "", dialect.delimiter), 1
    else:
        reader = csv.reader(lines, delimiter=dialect.delimiter, strict=True)
        try:
            cells, taken = next(reader, []), reader.line_num
        except csv.Error as error:
            raise DataError(f"{path}:{dialect.header + 1}: the header cannot be read ({error})") from None
    if not any(cell.strip() for cell in cells):
        raise DataError(f"{path}: the file is empty; the first line must name the columns")
    return cells, taken


def _first_table(path: Path, handle: IO[str], header: _Header, report: LoadReport) -> IO[str]:
    """The lines of a commented file up to the comments of its second table, which is not read."""
    lines = handle.readlines()
    for number, line in enumerate(lines[header.lines :], start=header.lines + 1):
        if line.startswith("# "):
            report.note(f"{path.name}: reading stops at the comment on line {number}, {excerpt(line)}")
            return io.StringIO("".join(lines[: number - 1]), newline="")
    return io.StringIO("".join(lines), newline="")


def _csv_block(lines: Lines, block: list[str], delimiter: str, shape: Shape) -> Iterator[Row]:
    """Rows of the block of lines just taken: parsed at once if each line is one valid row, else in pieces."""
    first, last = lines.number - len(block) + 1, lines.number
    try:
        rows = list(csv.reader(block, delimiter=delimiter, strict=True))
    except csv.Error:
        rows = []
    if len(rows) == len(block) and set(map(len, rows)) == {shape.width}:
        yield from zip(range(first, last + 1), rows, repeat(""))
        return
    lines.put_back(block)
    if len(block) <= PIECE:
        yield from _csv_records(lines, csv.reader(lines, delimiter=delimiter, strict=True), delimiter, shape, last)
        return
    while lines.number < last:
        yield from _csv_block(lines, lines.take(min(PIECE, last - lines.number)), delimiter, shape)


def _csv_records(lines: Lines, reader: Iterator[list[str]], mark: str, shape: Shape, last: int) -> Iterator[Row]:
    """Rows up to line `last`; after a row with a broken quote, parsing continues on the next physical line."""
    while lines.number < last:
        lines.record.clear()
        line = lines.number + 1
        try:
            fields = shape.fit(next(reader))
        except StopIteration:
            return
        except csv.Error:
            yield line, _quote_problem(lines), excerpt(lines.record[0])
            lines.put_back(lines.record[1:])
            continue
        if are_rows(lines.record[1:], mark, shape.width) and are_rows(lines.record[:1], mark, shape.width):
            yield line, _SWALLOWED, excerpt(lines.record[0])
            lines.put_back(lines.record[1:])
        elif len(fields) == shape.width:
            yield line, [*fields], ""
        elif fields:
            yield line, shape.ragged(fields), excerpt(lines.record[0])


def _quote_problem(lines: Lines) -> str:
    if len(lines.record) == 1 and len(lines.record[0]) > FIELD_LIMIT:
        return f"a field is too long (the limit is {FIELD_LIMIT:,} characters)"
    return "broken quotes (a quoted field is not closed, or goes on after its closing quote)"
