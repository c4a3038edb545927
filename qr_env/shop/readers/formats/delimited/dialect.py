"""Where the header of a delimited file stands, and which separator the file has.

dialect = find_dialect(["sep=;\\n", "sku;name\\n", "1;sofa\\n"])      # Dialect(delimiter=";", header=1)
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass

DELIMITERS = (",", "\t", ";", "|")
SAMPLE = 50  # lines that are looked at
ALONE = "\x1f"  # separator of a file with one column: it occurs in no text
HEADER_RECORD = 10  # lines of a header at most, whose quoted cells may have line ends
_OPENS = re.compile(r'(^|[,;|\t]) ?"')


@dataclass(frozen=True)
class Dialect:
    """How a delimited file is written."""

    delimiter: str
    """The separator; `ALONE` for a file of one column."""
    header: int
    """Lines before the header: comments, blank lines, Excel's `sep=;`."""
    commented: bool = False
    """Whether comment lines stand before the header, as in exports of Google Analytics."""
    spaced: bool = False
    """Whether a space behind each separator is no part of the cell."""
    quote: str = '"'
    """What surrounds cells: a double quote, or a single one where it surrounds each name of the header."""
    lines: int = 1
    """Lines of the header: quoted names of columns may have line ends."""


def find_dialect(lines: list[str], start: int = 0) -> Dialect:
    """The dialect of a file by its first lines (with their line ends), where the header is not before line `start`."""
    asked, commented = "", False
    for at, line in enumerate(lines):
        if at < start or not line.strip():
            continue
        if line.lower().startswith("sep=") and len(line.strip("\r\n")) == 5:
            asked = line[4]
        elif _is_comment(line):
            commented = True
        else:
            taken = _header_lines(lines[at:])
            header = "".join(lines[at : at + taken])
            mark = asked or separator([header, *lines[at + taken :]])
            spaced = header.count(f"{mark} ") == header.count(mark)
            return Dialect(mark, at, commented, spaced, _quote(header, mark), taken)
    return Dialect(",", 0)


def _header_lines(lines: list[str]) -> int:
    """Lines of the header, the first: more than 1 where a cell in quotes has line ends."""
    quotes = 0
    for taken, line in enumerate(lines[:HEADER_RECORD], start=1):
        quotes += line.count('"')
        if taken == 1 and not _OPENS.search(line):
            break
        if quotes % 2 == 0:
            return taken
    return 1


def separator(lines: list[str]) -> str:
    """The separator by which the lines have as many cells as the header, the first line; `ALONE` for one column."""
    scores = {}
    for mark in DELIMITERS:
        cells = [count for line in lines if line.strip() and (count := _cells(line, mark))]
        scores[mark] = (cells.count(cells[0]) / len(cells), cells[0]) if cells and cells[0] > 1 else (0.0, 0)
    best = max(DELIMITERS, key=scores.__getitem__)
    return best if scores[best][1] else _without_header(lines[1:])


def _without_header(rows: list[str]) -> str:
    """The header has one column: so have the rows, unless most of them have equally many cells by a separator."""
    for mark in DELIMITERS:
        counts = Counter(_cells(line, mark) for line in rows if line.strip())
        width, lines = counts.most_common(1)[0] if counts else (1, 0)
        if width > 1 and lines > 0.5 * counts.total() and lines > 1:
            return mark
    return ALONE


def _cells(line: str, mark: str) -> int:
    if mark == "\t":
        return line.count("\t") + 1
    try:
        return len(next(csv.reader(line.splitlines(keepends=True), delimiter=mark)))
    except (csv.Error, StopIteration):
        return line.count(mark) + 1


def _quote(header: str, mark: str) -> str:
    """The single quote where it surrounds each name, else the double one."""
    names = header.strip().split(mark)
    single = mark in ",;|" and all(len(name) > 2 and name[0] == name[-1] == "'" for name in names)
    return "'" if single else '"'


def _is_comment(line: str) -> bool:
    """A line "# …", "#---": not "#,query", whose first column is the number of the row."""
    return line.startswith("#") and (line[1:2] in ("", " ", "-", "#", "\r", "\n") or ":" in line)
