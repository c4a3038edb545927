"""The queries of `qr rewrite` and `qr table`, from a table, a text file or standard input, in batches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from qr_env.common.errors import ConfigError
from qr_env.shop.readers.columns.spec import Column, Spec
from qr_env.shop.readers.columns.tables import QUERY_NAMES
from qr_env.shop.readers.load_report import LoadReport, shorten
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.readers.rows import checked_table

MOST_CHARACTERS = 2_000  # of a query; what is longer is no query, and would hold a batch up
BLOCK = 1 << 16  # bytes that are read of standard input at once
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".gz", ".zip", ".bz2", ".xz")
SPEC = Spec(
    "queries",
    (
        Column("query", QUERY_NAMES, clean="entities", required=True, filled=True, limit=MOST_CHARACTERS),
        Column("frequency", ("count", "searches", "freq"), kind="frequency"),
    ),
)


@dataclass(frozen=True, slots=True)
class AskedQuery:
    """A query to be rewritten."""

    text: str
    """as typed"""
    frequency: float = 1.0
    """searches of it"""


def read_table(path: Path, options: ReadOptions) -> list[AskedQuery]:
    """The queries of a file: a table with a column query, or a text file with a query a line.

    Raises:
        BadRowError: an invalid row that options do not skip. DataError: the file cannot be read, or has no such column.
    """
    report = LoadReport(options)
    if not path.name.lower().endswith(TABLE_SUFFIXES):
        with path.open("rb") as file:
            return [AskedQuery(text) for text in _valid(enumerate(file, 1), str(path), report)]
    table = checked_table(path, SPEC, report)
    report.warn(path.name)
    texts = table["query"].to_pylist()
    counts = table["frequency"].to_pylist() if "frequency" in table.column_names else [None] * len(texts)
    return [AskedQuery(text, 1.0 if n is None else n) for text, n in zip(texts, counts, strict=True)]


def standard_input(batch: int, options: ReadOptions, descriptor: int = 0) -> Iterator[list[AskedQuery]]:
    """Batches of the lines of a file descriptor, each as soon as its lines are there: a pause ends a batch."""
    report, number, rest = LoadReport(options), 0, b""
    while block := os.read(descriptor, BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > 16 * MOST_CHARACTERS:
            rest = rest[: 16 * MOST_CHARACTERS]  # the start of a line that is no query, refused when it ends
        yield from batches([AskedQuery(text) for text in _valid(enumerate(lines, number + 1), "-", report)], batch)
        number += len(lines)
    yield from batches([AskedQuery(text) for text in _valid([(number + 1, rest)], "-", report)], batch)


def _valid(
    lines: Iterator[tuple[int, bytes]] | Sequence[tuple[int, bytes]], name: str, report: LoadReport
) -> Iterator[str]:
    """The texts of lines that are queries; the others are reported. Blank lines are no queries."""
    for number, line in lines:
        text = line.decode("utf-8", "replace").replace("\r", "").strip().removeprefix("\ufeff")
        fault = "NUL byte in query" if "\0" in text else ""
        if len(text) > MOST_CHARACTERS:
            fault = f"query is too long (the limit is {MOST_CHARACTERS:,} characters)"
        if fault:
            report.add(name, [(number, fault, shorten(text))])
        elif text:
            yield text


def batches(queries: Sequence[AskedQuery], size: int) -> Iterator[list[AskedQuery]]:
    """Parts of at most `size` queries."""
    if size < 1:
        raise ConfigError(f"batch={size}: must be 1 or more")
    rest = iter(queries)
    while part := list(islice(rest, size)):
        yield part
