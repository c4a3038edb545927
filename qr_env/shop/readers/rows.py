"""Validate the rows of a shop's files: column names, types, keys and limits.

    report = LoadReport(ReadOptions(on_bad_row="skip"))
    table = checked_table(Path("products.csv"), PRODUCTS, report)
    print(report.summary())

Text is tested in chunks of about 65,000 rows, numbers and words are converted for the whole file: a million rows take
seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.chunks import Chunk, Problem
from qr_env.shop.readers.columns.matching import Matching
from qr_env.shop.readers.columns.spec import Column, Spec
from qr_env.shop.readers.formats.by_suffix import read_chunks
from qr_env.shop.readers.formats.opening.table_file import table_name
from qr_env.shop.readers.left_out.filler_rows import without_fillers
from qr_env.shop.readers.left_out.parts import Parts
from qr_env.shop.readers.left_out.totals import Totals
from qr_env.shop.readers.load_report import LoadReport, shorten
from qr_env.shop.readers.text.clean_text import TextCleaner
from qr_env.shop.readers.values import apply_tests, convert, has_nul

RowTest = Callable[[pa.Table], list[tuple[pa.Array, str, str]]]


def checked_table(path: Path, spec: Spec, report: LoadReport, extra: RowTest | None = None) -> pa.Table:
    """Read a file and keep its valid rows: text trimmed, price, frequency and time as float64.

    A row is invalid if a column that must be filled is empty or damaged; an optional value that cannot be read is null
    and noted.

    Args:
        path: CSV, TSV, JSONL, Parquet or (for qrels) TREC file.
        spec: the known columns.
        report: records invalid rows, or raises at the first.
        extra: further row tests on the valid rows of the file, each (mask of invalid rows, reason, column to report).

    Returns:
        Table of the known columns of the file, plus `line` (int64) and `row` (int64, data row from 0).

    Raises:
        BadRowError: an invalid row that the report's options do not skip.
        DataError: the file cannot be read, or a required column is missing.
    """
    matching = Matching(path, spec)
    parts, totals = Parts(matching), Totals()
    cleaner = TextCleaner(spec, "row" if table_name(path)[1] == ".parquet" else "line")
    problems: list[Problem] = []
    tables, rows = [], 0
    for chunk in read_chunks(path, matching.match, report, spec.what):
        report.note(matching.summary())
        problems += totals.take(chunk.problems)
        rows += chunk.rows
        tables.append(_trimmed(matching.fill(cleaner.clean(chunk.columns, chunk.lines)), chunk))
    table, fillers = without_fillers(path.name, pa.concat_tables(tables), matching.names)
    table = totals.leave_out(parts.leave_out(table), spec.totals)
    columns = [column for column in spec.columns if column.name in table.column_names]
    tests = [test for column in columns if column.filled for test in _text_tests(table[column.name], column)]
    table = apply_tests(table, tests, problems)
    notes: list[str] = []
    for column in columns:
        table, found = convert(path.name, table, column, problems)
        notes += found
    if spec.key in table.column_names:
        table = _drop_duplicates(table, spec.key, problems)
    if extra is not None:
        table = apply_tests(table, extra(table), problems)
    report.rows[str(path)], report.kept[str(path)] = rows, len(table)
    first = (*fillers, matching.filled_note(), *parts.notes(), totals.note(path.name))
    for note in (*first, *cleaner.notes(path.name), *notes):
        report.note(note)
    report.add(str(path), problems)
    return table


def _trimmed(columns: dict[str, pa.Array], chunk: Chunk) -> pa.Table:
    """The columns of a chunk without white space at both ends of a value, null as "", and its lines and rows."""
    texts = {name: pc.fill_null(pc.utf8_trim_whitespace(values), "") for name, values in columns.items()}
    return pa.table(texts | {"line": pa.array(chunk.lines), "row": pa.array(chunk.ordinals)})


def _text_tests(values: pa.ChunkedArray, column: Column) -> list[tuple[pa.Array, str, str]]:
    """Tests of a column whose every row must have a value."""
    length, name = pc.utf8_length(values), column.name
    limit = f"{name} is too long (the limit is {column.limit:,} characters)"
    tests = [
        (pc.equal(length, 0), column.empty or f"missing {name}", name),
        (pc.greater(length, column.limit), limit, name),
    ]
    return [(pc.match_substring(values, "\0"), f"NUL byte in {name}", name), *tests] if has_nul(values) else tests


def _drop_duplicates(table: pa.Table, name: str, problems: list[Problem]) -> pa.Table:
    """Remove rows whose id occurred earlier in the file."""
    ids = table[name]
    # The place of each id among the distinct ones, which are in order of appearance: a new id is above all before.
    code_N = pc.index_in(ids, pc.unique(ids)).to_numpy()
    first_N = np.diff(np.maximum.accumulate(code_N), prepend=-1) > 0
    if first_N.all():
        return table
    line_N = table["line"].to_numpy()
    again = np.flatnonzero(~first_N)
    firsts = line_N[first_N][code_N[again]].tolist()
    rows = zip(line_N[again].tolist(), firsts, ids.take(pa.array(again)).to_pylist(), strict=True)
    problems.extend((line, f"duplicate {name} (first on line {first})", shorten(value)) for line, first, value in rows)
    return table.filter(pa.array(first_N))
