"""Read CSV and TSV files.

rows = csv_rows(open_table(Path("products.csv")), lambda header: {"sku": "product_id", "name": "title"}, report)
names = next(rows)  # our name of each column, "" for those not read; then blocks of rows

The separator is found in the first lines (`dialect.py`), the columns in the header (`header.py`). Cells of CSV are
quoted by its rules (`quoted.py`); in TSV, and in files of one column, a quote is a quote (`tabbed.py`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from qr_env.shop.readers.chunks import Naming, excerpt
from qr_env.shop.readers.formats.delimited.dialect import ALONE, SAMPLE
from qr_env.shop.readers.formats.delimited.header import Header, find_header
from qr_env.shop.readers.formats.delimited.lines import Lines, Shape
from qr_env.shop.readers.formats.delimited.quoted import FIELD_LIMIT, QuotedRows
from qr_env.shop.readers.formats.delimited.tabbed import tab_blocks
from qr_env.shop.readers.formats.opening.table_file import TableFile
from qr_env.shop.readers.formats.row_block import RowBlock
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.tally import Tallies


@contextmanager
def _field_limit(limit: int) -> Iterator[None]:
    """Set the csv module's global field size limit while a file is read, then restore it."""
    before = csv.field_size_limit(limit)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def csv_rows(file: TableFile, naming: Naming, report: LoadReport) -> Iterator[Any]:
    """First our column names, then blocks of rows, invalid ones with their reason; DataError without a header."""
    with _field_limit(FIELD_LIMIT), file.text() as handle:
        header = find_header(file, list(islice(handle, SAMPLE)), naming, report)
        yield [header.names.get(name, "") for name in header.cells]
        handle.seek(0)
        lines = Lines(_first_table(file.path, handle, header, report) if header.dialect.commented else handle)
        for _ in range(header.lines):
            next(lines)
        dialect, shape, tallies = header.dialect, Shape.of(header.cells), Tallies()
        if dialect.delimiter in ("\t", ALONE):
            yield from tab_blocks(lines, dialect.delimiter, shape, tallies)
        else:
            yield from QuotedRows(lines, dialect, shape, tallies).blocks()
        yield RowBlock()  # a file without rows has one block too
        for note in tallies.notes(file.path.name):
            report.note(note)


def _first_table(path: Path, handle: IO[str], header: Header, report: LoadReport) -> IO[str]:
    """The lines of a commented file up to the comments of its second table, which is not read."""
    lines = handle.readlines()
    for number, line in enumerate(lines[header.lines :], start=header.lines + 1):
        if line.startswith("# "):
            report.note(f"{path.name}: reading stops at the comment on line {number}, {excerpt(line)}")
            return io.StringIO("".join(lines[: number - 1]), newline="")
    return io.StringIO("".join(lines), newline="")
