"""Validate the rows of a shop's files: column names, types, keys and limits.

    report = LoadReport(ReadOptions(on_bad_row="skip"))
    table = checked_table(Path("products.csv"), PRODUCTS, report)
    print(report.summary())

Tests are array operations on chunks of about 65,000 rows: a million rows take seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.chunks import Chunk, Problem
from qr_env.shop.readers.columns import Column, Spec
from qr_env.shop.readers.formats.by_suffix import read_chunks
from qr_env.shop.readers.load_report import LoadReport, shorten
from qr_env.shop.readers.matching import Matching
from qr_env.shop.readers.parts import Parts
from qr_env.shop.readers.times import read_times
from qr_env.shop.readers.values import apply_tests, convert

RowTest = Callable[[pa.Table], list[tuple[pa.Array, str, str]]]


def checked_table(path: Path, spec: Spec, report: LoadReport, extra: RowTest | None = None) -> pa.Table:
    """Read a file and keep its valid rows: text trimmed, price, frequency and time as float64, grade as int8.

    Args:
        path: CSV, TSV, JSONL, Parquet or (for qrels) TREC file.
        spec: the known columns.
        report: records invalid rows, or raises at the first.
        extra: further row tests on the valid rows of a chunk, each (mask of invalid rows, reason, column to report).

    Returns:
        Table of the known columns of the file, plus `line` (int64) and `row` (int64, data row from 0).

    Raises:
        BadRowError: an invalid row that the report's options do not skip.
        DataError: the file cannot be read, or a required column is missing.
    """
    seen: dict[str, int] = {}
    tables = []
    matching = Matching(path, spec)
    parts = Parts(matching)
    for chunk in read_chunks(path, matching.match, report, spec.what):
        report.note(matching.summary())
        chunk.columns = matching.fill(chunk.columns)
        problems, table = _check_chunk(chunk, parts, seen)
        if extra is not None:
            table = apply_tests(table, extra(table), problems)
        report.add(str(path), problems)
        report.rows[str(path)] = report.rows.get(str(path), 0) + chunk.rows
        tables.append(table)
    table = pa.concat_tables(tables)
    for column in spec.columns:
        if column.kind == "time" and column.name in table.column_names:
            table = _with_times(path, column.name, table, report)
    report.kept[str(path)] = len(table)
    report.note(matching.filled_note())
    report.note(parts.note())
    return table


def _with_times(path: Path, name: str, table: pa.Table, report: LoadReport) -> pa.Table:
    """The table with a column of times as seconds since 1970, float64; rows without a time are invalid."""
    times = read_times(path.name, name, table[name].combine_chunks())
    for note in times.notes:
        report.note(note)
    table = table.append_column("seconds since 1970", pa.array(times.seconds_N))
    problems: list[Problem] = []
    faults = [(pa.array(wrong_N), reason, name) for wrong_N, reason in times.faults]
    table = apply_tests(table, faults, problems)
    report.add(str(path), problems)
    at = table.column_names.index(name)
    return table.set_column(at, name, table["seconds since 1970"]).drop_columns("seconds since 1970")


def _check_chunk(chunk: Chunk, parts: Parts, seen: dict[str, int]) -> tuple[list[Problem], pa.Table]:
    """The chunk's invalid rows and the table of its valid ones."""
    problems, spec = list(chunk.problems), parts.matching.spec
    columns = [column for column in spec.columns if column.name in chunk.columns]
    table = pa.table(
        {name: pc.fill_null(pc.utf8_trim_whitespace(values), "") for name, values in chunk.columns.items()}
        | {"line": pa.array(chunk.lines), "row": pa.array(chunk.ordinals)}
    )
    table = parts.leave_out(table, seen)
    for column in columns:
        table = apply_tests(table, _text_tests(table[column.name], column), problems)
    for column in columns:
        if column.kind not in ("text", "time"):
            table = convert(table, column, problems)
    if spec.key in table.column_names:
        table = _drop_duplicates(table, spec.key, seen, problems)
    return problems, table


def _text_tests(values: pa.ChunkedArray, column: Column) -> list[tuple[pa.Array, str, str]]:
    length = pc.utf8_length(values)
    tests = [(pc.match_substring(values, "\0"), f"NUL byte in {column.name}", column.name)]
    if column.filled:
        tests.append((pc.equal(length, 0), column.empty or f"missing {column.name}", column.name))
    limit = f"{column.name} is too long (the limit is {column.limit:,} characters)"
    return [*tests, (pc.greater(length, column.limit), limit, column.name)]


def _drop_duplicates(table: pa.Table, name: str, seen: dict[str, int], problems: list[Problem]) -> pa.Table:
    """Remove rows whose id occurred earlier; `seen` maps id → line of its first row, over all chunks."""
    ids, lines = table[name].to_pylist(), table["line"].to_pylist()
    if len(set(ids)) == len(ids) and seen.keys().isdisjoint(ids):
        seen.update(zip(ids, lines, strict=True))
        return table
    firsts = [seen.setdefault(value, line) for value, line in zip(ids, lines, strict=True)]
    repeated = [first != line for first, line in zip(firsts, lines, strict=True)]
    for value, line, first in zip(ids, lines, firsts, strict=True):
        if first != line:
            problems.append((line, f"duplicate {name} (first on line {first})", shorten(value)))
    return table.filter(pa.array([not bad for bad in repeated]))
