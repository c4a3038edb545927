"""Rows of a text file on their way to Arrow: readable ones with their lines, unreadable ones with the reason.

block = RowBlock()
block.add_lines(2, [["1", "sofa"], ["2", "lamp"]])      # lines 2 and 3
block.add_problem(4, "ragged row (1 fields, the header has 2)", "'3'")
chunk = block.to_chunk(["product_id", "title"], 0, Undecoded(file))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import pyarrow as pa

from qr_env.shop.readers.chunks import CHUNK_ROWS, Chunk, Fields, Problem, Row
from qr_env.shop.readers.formats.opening.undecoded import Undecoded

PIECE = 64  # rows that are encoded at once to find those that cannot be


class RowBlock:
    """Consecutive rows of a file."""

    def __init__(self) -> None:
        self.fields: list[Fields] = []
        """The cells of each readable row."""
        self.lines: list[int] = []
        """The line on which each of them begins, from 1."""
        self.ordinals: list[int] = []
        """The number of each of them in the block, from 0, unreadable rows included in the count."""
        self.problems: list[Problem] = []
        """Rows that could not be read."""
        self.count = 0
        """Number of rows, readable or not."""

    def add(self, line: int, fields: Fields) -> None:
        """Add a readable row."""
        self.fields.append(fields)
        self.lines.append(line)
        self.ordinals.append(self.count)
        self.count += 1

    def add_lines(self, first: int, rows: Sequence[Fields]) -> None:
        """Add readable rows on consecutive lines."""
        self.fields += rows
        self.lines += range(first, first + len(rows))
        self.ordinals += range(self.count, self.count + len(rows))
        self.count += len(rows)

    def add_problem(self, line: int, reason: str, value: str) -> None:
        """Add a row that could not be read."""
        self.problems.append((line, reason, value))
        self.count += 1

    def to_chunk(self, names: list[str], first: int, undecoded: Undecoded) -> Chunk:
        """The rows as columns; `names` are ours, "" for one that is not read; `first` is the number of rows before."""
        try:
            columns = _to_arrow(names, self.fields)
        except UnicodeEncodeError:
            self._move_undecoded(undecoded)
            columns = _to_arrow(names, self.fields)
        ordinals = np.array(self.ordinals, np.int64) + first
        return Chunk(columns, np.array(self.lines, np.int64), ordinals, self.problems, self.count)

    def _move_undecoded(self, undecoded: Undecoded) -> None:
        """Make problems of the rows with bytes that are not in the file's encoding."""
        broken = _undecodable(self.fields)
        self.problems += [(self.lines[at], undecoded.reason(text), ascii(text)) for at, text in broken.items()]
        good = [at for at in range(len(self.fields)) if at not in broken]
        self.fields = [self.fields[at] for at in good]
        self.lines = [self.lines[at] for at in good]
        self.ordinals = [self.ordinals[at] for at in good]


def in_blocks(rows: Iterator[Row]) -> Iterator[RowBlock]:
    """Rows one by one → blocks of `CHUNK_ROWS`."""
    block = RowBlock()
    for line, fields, value in rows:
        if isinstance(fields, str):
            block.add_problem(line, fields, value)
        else:
            block.add(line, fields)
        if block.count == CHUNK_ROWS:
            yield block
            block = RowBlock()
    yield block


def _to_arrow(names: list[str], rows: list[Fields]) -> dict[str, pa.Array]:
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return {name: pa.array(values, pa.string()) for name, values in zip(names, columns, strict=True) if name}


def _undecodable(rows: list[Fields]) -> dict[int, str]:
    """Place of each row that is not valid Unicode, and an excerpt of its first such field."""
    found: dict[int, str] = {}
    for start in range(0, len(rows), PIECE):
        piece = rows[start : start + PIECE]
        try:
            "".join(filter(None, chain.from_iterable(piece))).encode()
        except UnicodeEncodeError:
            excerpts = enumerate(map(_excerpt, piece), start)
            found |= {at: text for at, text in excerpts if text}
    return found


def _excerpt(fields: Fields) -> str:
    """A part of the first field that is not valid Unicode; "" if all are valid."""
    for field in fields:
        try:
            (field or "").encode()
        except UnicodeEncodeError as error:
            start = max(0, error.start - 30)
            return (field or "")[start : error.start + 10]
    return ""
