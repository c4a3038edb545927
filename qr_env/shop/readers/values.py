"""Convert the text of a column to what it means: numbers, times, splits and sources of purchases.

table, notes = convert("products.csv", table, Column("price", kind="price"), problems)
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.cells import Cells
from qr_env.shop.readers.chunks import Problem
from qr_env.shop.readers.columns.spec import Column
from qr_env.shop.readers.flatten import without_lists
from qr_env.shop.readers.load_report import shorten
from qr_env.shop.readers.number.column import read_numbers
from qr_env.shop.readers.number.note import number_note
from qr_env.shop.readers.time.column import read_times, with_days

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "valid", "val", "validation", "development"), "dev"),
    **dict.fromkeys(("test", "testing", "holdout", "held-out", "held out"), "test"),
}
DAY = "day"  # column of a table with times that may hold the day of each
SOURCES = {"search": "search", "outside": "outside"}
# kind of a column → what its words mean, and what is said of another word and of what stands for it
WORDS: dict[str, tuple[dict[str, str], str]] = {
    "split": (SPLIT_NAMES, "none of train, dev and test, and the query is split by a hash of its text"),
    "source": (SOURCES, "neither search nor outside, and taken as search"),
}


def convert(where: str, table: pa.Table, column: Column, problems: list[Problem]) -> tuple[pa.Table, list[str]]:
    """Convert a column of the whole file to what it means. An optional value without a meaning is null and noted.

    Args:
        where: the file, for notes.
        table: text columns, and `line`.
        column: what the column is.
        problems: rows without a meaning in a required column are added.

    Returns:
        The table without those rows, and notes on what was decided for the column.
    """
    if column.kind == "time":
        return _convert_times(where, table, column.name, problems)
    cells = Cells(table[column.name], table["line"], "row" if where.endswith(".parquet") else "line")
    if column.kind in WORDS:
        values, note = _meanings(column, cells)
    elif column.kind == "text":
        values, note = _text(column, cells)
    else:
        values, note = _numbers(column, cells)
    if values is not cells.values:
        table = table.set_column(table.column_names.index(column.name), column.name, values)
    return table, [f"{where}: {note}"] if note else []


def _numbers(column: Column, cells: Cells) -> tuple[pa.Array, str]:
    """Numbers, and the note on their format; a frequency of 0 is unknown."""
    numbers = read_numbers(cells.values, counts=column.kind == "frequency")
    note = number_note(column, numbers, cells)
    if column.kind == "frequency":
        return pc.if_else(pc.equal(numbers.values, 0), None, numbers.values), note
    return numbers.values, note


def _meanings(column: Column, cells: Cells) -> tuple[pa.Array, str]:
    """What the words mean, and the note on words without a meaning."""
    words, sentence = WORDS[column.kind]
    plain = pc.utf8_lower(cells.values).combine_chunks()
    at = pc.index_in(plain, pa.array(list(words)))
    unknown_N = np.asarray(pc.and_(pc.is_null(at), pc.not_equal(plain, "")), bool)
    fact = cells.fact(unknown_N, f"{{}} {sentence}")
    return pa.array(list(words.values())).take(at), f"{column.name}: {fact}" if fact else ""


def _text(column: Column, cells: Cells) -> tuple[pa.ChunkedArray, str]:
    """Text without written lists; if optional, without NUL bytes and cut at its limit. And the note on it."""
    values, facts = cells.values, []
    if column.clean == "markup":
        values, list_N = without_lists(values)
        facts.append(cells.fact(list_N, "{} written as lists, and joined"))
    if not column.filled:
        nul_N = np.asarray(pc.match_substring(values, "\0"), bool) if has_nul(values) else np.zeros(len(values), bool)
        if nul_N.any():
            values = pc.replace_substring(values, "\0", "")
        long_N = np.asarray(pc.greater(pc.utf8_length(values), column.limit), bool)
        if long_N.any():
            values = pc.utf8_slice_codeunits(values, 0, column.limit)
        facts.append(cells.fact(nul_N, "{} written with NUL bytes, which are left out"))
        facts.append(cells.fact(long_N, f"{{}} longer than {column.limit:,} characters, and cut"))
    text = "; ".join(filter(None, facts))
    return values, f"{column.name}: {text}" if text else ""


def _convert_times(where: str, table: pa.Table, name: str, problems: list[Problem]) -> tuple[pa.Table, list[str]]:
    """Times as seconds since 1970, float64; rows without a time are invalid."""
    values = table[name].combine_chunks()
    if DAY in table.column_names:
        values = with_days(values, table[DAY].combine_chunks())
        table = table.set_column(table.column_names.index(name), name, values)
    times = read_times(where, name, values)
    table = table.append_column("seconds since 1970", pa.array(times.seconds_N))
    faults = [(pa.array(wrong_N), reason, name) for wrong_N, reason in times.faults]
    table = apply_tests(table, faults, problems)
    at = table.column_names.index(name)
    return table.set_column(at, name, table["seconds since 1970"]).drop_columns("seconds since 1970"), times.notes


def has_nul(values: pa.ChunkedArray) -> bool:
    """Whether the bytes of a column hold a zero: a glance at all of them at once, for that is rare."""
    contents = (chunk.buffers()[2] for chunk in values.chunks)
    return any(content is not None and b"\0" in content.to_pybytes() for content in contents)


def apply_tests(table: pa.Table, tests: list[tuple[pa.Array, str, str]], problems: list[Problem]) -> pa.Table:
    """Move rows that fail a test from the table to `problems`; a row is reported with the first reason."""
    good = np.ones(len(table), bool)
    for mask, reason, name in tests:
        bad = np.asarray(mask, dtype=bool) & good
        if not bad.any():
            continue
        rows = np.flatnonzero(bad)
        values = table[name].take(pa.array(rows)).to_pylist()
        lines = table["line"].take(pa.array(rows)).to_pylist()
        problems.extend((line, reason, shorten(value)) for line, value in zip(lines, values, strict=True))
        good &= ~bad
    return table if good.all() else table.filter(pa.array(good))
