"""Rows of tab-separated lines, where a quote is a quote unless it surrounds a whole cell, as spreadsheets write it.

for line, fields, value in tab_rows(Lines(handle), "\\t", Shape.of(["query_id", "query"])):
    print(line, fields)

A cell in quotes may hold tabs and line ends. A quote that opens a cell and does not close it was typed by
someone: where each of the lines up to the next quote is a row of its own, they are rows.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from qr_env.shop.readers.chunks import Fields, excerpt
from qr_env.shop.readers.formats.delimited.lines import Lines, Shape, are_rows
from qr_env.shop.readers.formats.row_block import RowBlock
from qr_env.shop.readers.tally import Tallies

MAX_LINES = 500  # of one cell
OPEN_QUOTES = "quotes that open a cell and do not close it are kept"


def tab_blocks(lines: Lines, mark: str, shape: Shape, tallies: Tallies) -> Iterator[RowBlock]:
    """The rows after the header, separated by `mark`; invalid ones with their reason.

    `tallies` counts the cells that begin with a quote that they do not close.
    """
    while taken := lines.block():
        block = RowBlock()
        first, last = lines.number - len(taken) + 1, lines.number
        rows = [split_line(line, mark) for line in taken]
        quoted = (row for line, row in zip(taken, rows, strict=True) if '"' in line)
        plain = set(map(len, rows)) == {shape.width} and not any(opens_quote(cell) for row in quoted for cell in row)
        if plain and (shape.width > 1 or [""] not in rows):
            block.add_lines(first, rows)
        else:
            lines.put_back(len(taken))
            while lines.number < last:
                _add_row(lines, mark, shape, block, tallies)
        yield block


def split_line(line: str, mark: str) -> list[str]:
    """The cells of a line; cells that are in quotes as a whole without them."""
    cells = line.rstrip("\r\n").split(mark)
    return [_unquote(cell) for cell in cells] if '"' in line else cells


def opens_quote(cell: str) -> bool:
    """Whether a cell begins with a quote that it does not close."""
    return cell.startswith('"') and cell.count('"') % 2 == 1


def _unquote(cell: str) -> str:
    if len(cell) < 2 or not (cell.startswith('"') and cell.endswith('"')):
        return cell
    inner = cell[1:-1]
    return cell if '"' in inner.replace('""', "") else inner.replace('""', '"')


def _add_row(lines: Lines, mark: str, shape: Shape, block: RowBlock, tallies: Tallies) -> None:
    """Add the next row, unless it is a blank line."""
    lines.start_record()
    line = next(lines)
    number = lines.number
    cells = shape.fit(split_line(line, mark))
    opened = next((cell for cell in cells if opens_quote(cell)), "") if '"' in line else ""
    quoted = _quoted(lines, mark, shape.width) if opened or ('"' in line and len(cells) != shape.width) else None
    if opened and not quoted and len(cells) == shape.width:
        tallies.add(OPEN_QUOTES, "", number, opened)
    if not any(cells) and (shape.width == 1 or len(cells) != shape.width):
        return
    if quoted or len(cells) == shape.width:
        block.add(number, quoted or [*cells])
    else:
        block.add_problem(number, shape.ragged(cells), excerpt(line))


def _quoted(lines: Lines, mark: str, width: int) -> Fields | None:
    """The row that begins on this line if its quotes are those of a spreadsheet; else None, and no line is taken."""
    while width > 1:
        try:
            rows = list(csv.reader(lines.record, delimiter=mark, strict=True))
        except csv.Error:
            if _take_until_quote(lines, mark, width):
                continue
            break
        if len(rows) == 1 and len(rows[0]) == width and not are_rows(lines.record[1:], mark, width):
            return [*rows[0]]
        break
    lines.keep_first()
    return None


def _take_until_quote(lines: Lines, mark: str, width: int) -> bool:
    """Take the lines up to one with a quote; False if there is none before a line that is a row."""
    while len(lines.record) < MAX_LINES and (following := next(lines, "")):
        if '"' in following:
            return True
        if following.count(mark) == width - 1:
            return False
    return False
