"""Convert the text of a column to what it means: numbers, times, splits and sources of purchases.

table, notes = convert("products.csv", table, Column("price", kind="price"), problems)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.chunks import Problem
from qr_env.shop.readers.columns import Column
from qr_env.shop.readers.load_report import shorten
from qr_env.shop.readers.number_notes import number_note
from qr_env.shop.readers.numbers import read_numbers
from qr_env.shop.readers.times import read_times

SPLIT_NAMES = {"validation": "dev", "valid": "dev", "val": "dev", "train": "train", "dev": "dev", "test": "test"}
SOURCES = {"search": "search", "outside": "outside", "": "search"}
WORDS: dict[str, tuple[dict[str, Any], str]] = {
    "split": ({**SPLIT_NAMES, "": ""}, "split is none of train, dev, test"),
    "source": (SOURCES, "source is neither search nor outside"),
}


def convert(where: str, table: pa.Table, column: Column, problems: list[Problem]) -> tuple[pa.Table, list[str]]:
    """Convert a text column of the whole file to numbers or times, or to the meanings of its word list.

    Args:
        where: the file, for notes.
        table: text columns, and `line`.
        column: what the column is.
        problems: rows without a meaning in this column are added.

    Returns:
        The table without those rows, and notes on what was decided for the column.
    """
    if column.kind in WORDS:
        return _convert_words(table, column, problems), []
    if column.kind == "time":
        return _convert_times(where, table, column.name, problems)
    cells = read_numbers(table[column.name], counts=column.kind == "frequency")
    note = number_note(column, cells, table[column.name], table["line"])
    values = cells.values
    if column.kind == "frequency":
        values = pc.if_else(pc.equal(values, 0), None, values)
    table = table.set_column(table.column_names.index(column.name), column.name, values)
    return table, [f"{where}: {note}"] if note else []


def _convert_times(where: str, table: pa.Table, name: str, problems: list[Problem]) -> tuple[pa.Table, list[str]]:
    """Times as seconds since 1970, float64; rows without a time are invalid."""
    times = read_times(where, name, table[name].combine_chunks())
    table = table.append_column("seconds since 1970", pa.array(times.seconds_N))
    faults = [(pa.array(wrong_N), reason, name) for wrong_N, reason in times.faults]
    table = apply_tests(table, faults, problems)
    at = table.column_names.index(name)
    return table.set_column(at, name, table["seconds since 1970"]).drop_columns("seconds since 1970"), times.notes


def _convert_words(table: pa.Table, column: Column, problems: list[Problem]) -> pa.Table:
    words, reason = WORDS[column.kind]
    # pandas writes an integer column with missing values as "2.0".
    plain = pc.replace_substring_regex(pc.utf8_lower(table[column.name]), r"^(\d+)\.0+$", r"\1")
    at = pc.index_in(plain, pa.array(list(words)))
    table = table.append_column("at", at)
    table = apply_tests(table, [(pc.is_null(at), reason, column.name)], problems)
    meaning = list(words.values())
    values = pa.array(meaning, pa.int8() if isinstance(meaning[0], int) else pa.string()).take(
        table["at"].combine_chunks()
    )
    table = table.drop_columns("at")
    return table.set_column(table.column_names.index(column.name), column.name, values)


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
