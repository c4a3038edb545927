"""The header of a delimited file: the line that names the columns, and where the rows begin.

header = find_header(open_table(Path("products.csv")), ["sep=;\\n", "sku;name\\n", "1;sofa\\n"], naming, report)
header.names      # {"sku": "product_id", "name": "title"}
header.lines      # 2
"""

from __future__ import annotations

import csv
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qr_env.common.errors import DataError
from qr_env.shop.readers.chunks import Naming, excerpt
from qr_env.shop.readers.formats.delimited.dialect import ALONE, Dialect, find_dialect
from qr_env.shop.readers.formats.delimited.tabbed import split_line
from qr_env.shop.readers.formats.opening.table_file import TableFile, table_name
from qr_env.shop.readers.formats.opening.undecoded import check_decoded
from qr_env.shop.readers.load_report import LoadReport

HEADER_LINES = 10  # lines among which the header is looked for
# A rule below the names of the columns, as psql, MySQL and Markdown print it.
_PRINTED = re.compile(r"[+|]?[ :]?-{2,}[ :]*([+|][ :]*-{2,}[ :]*)+[+|]?|\|[ :]*-{2,}[ :]*\||\+-{2,}\+")
NO_HEADER = ["id", "text"]  # columns of a file with numbers and texts that names none


@dataclass(frozen=True)
class Header:
    """The columns of a file and where its rows begin."""

    dialect: Dialect
    """How the file is written."""
    cells: list[str]
    """Names of the columns in the file."""
    lines: int
    """Lines before the first row."""
    names: dict[str, str]
    """Name in the file → our name."""


def find_header(file: TableFile, sample: list[str], naming: Naming, report: LoadReport) -> Header:
    """The first line that is no comment; where it lacks a column that is needed, a later one that has it.

    A file with numbers and texts, separated by tabs, needs no header.

    Raises:
        DataError: no line names the columns that are needed, the file is JSON or a printed table.
    """
    if not any(line.strip() for line in sample):
        raise DataError(f"{file.path}: the file is empty; the first line must name the columns")
    first = find_dialect(sample)
    line = sample[first.header]
    if line[:1] in ("{", "[") and line[1:2] in ('"', "{", "}", "\n", "\r"):
        raise DataError(
            f"{file.path}: this is JSON, it begins with {excerpt(line)}; name it {table_name(file.path)[0]}.jsonl"
        )
    if any(_PRINTED.fullmatch(line.strip()) for line in sample[:HEADER_LINES]):
        raise DataError(
            f"{file.path}: this is a table as a terminal or Markdown shows it; export it as CSV (psql: \\copy … to "
            "'FILE' csv header; MySQL in batch mode writes tabs)"
        )
    try:
        return _named(file, sample, first, naming)
    except DataError:
        for start in range(first.header + 1, min(HEADER_LINES, len(sample))):
            with suppress(DataError):
                found = _named(file, sample, find_dialect(sample, start), naming)
                if len(found.cells) > 1:
                    report.note(_left_out(file.path, found.dialect.header, line))
                    return found
        if _has_ids_and_texts(sample[first.header :], first):
            with suppress(DataError):
                header = Header(first, NO_HEADER, first.header, naming(NO_HEADER))
                report.note(f"{file.path.name}: no header; its two columns are taken as id and text, {excerpt(line)}")
                return header
        raise


def _has_ids_and_texts(lines: list[str], dialect: Dialect) -> bool:
    """Whether the lines are those of MS MARCO's files: a number of its own, a tab, a text."""
    rows = [split_line(line, "\t") for line in lines if line.strip()]
    if dialect.delimiter != "\t" or any(len(row) != len(NO_HEADER) for row in rows):
        return False
    return all(row[0].isdecimal() for row in rows) and len({row[0] for row in rows}) == len(rows)


def _left_out(path: Path, lines: int, first: str) -> str:
    which = "line 1" if lines == 1 else f"lines 1–{lines}"
    return f"{path.name}: {which} before the header left out, {excerpt(first)}"


def _named(file: TableFile, sample: list[str], dialect: Dialect, naming: Naming) -> Header:
    cells, lines = _cells(file.path, sample[dialect.header :], dialect)
    cells = [" ".join(cell.strip("\ufeff ").split()) for cell in cells]
    check_decoded(file, cells)
    return Header(dialect, cells, dialect.header + lines, naming(cells))


def _cells(path: Path, lines: list[str], dialect: Dialect) -> tuple[list[str], int]:
    """The names of the columns, and the number of lines that they take."""
    if dialect.delimiter in ("\t", ALONE) and dialect.lines == 1:
        return split_line(lines[0], dialect.delimiter), 1
    reader = csv.reader(
        lines, delimiter=dialect.delimiter, quotechar=dialect.quote, skipinitialspace=dialect.spaced, strict=True
    )
    try:
        return next(reader), reader.line_num
    except csv.Error:
        raise DataError(f"{path}:{dialect.header + 1}: a quote in the header is not closed") from None
