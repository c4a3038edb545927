"""Convert the text of a column to what it means: numbers, splits and sources of purchases.

table = convert(table, Column("price", kind="price"), problems)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.shop.readers.chunks import Problem
from qr_env.shop.readers.columns import Column
from qr_env.shop.readers.load_report import shorten

SPLIT_NAMES = {"validation": "dev", "valid": "dev", "val": "dev", "train": "train", "dev": "dev", "test": "test"}
SOURCES = {"search": "search", "outside": "outside", "": "search"}
WORDS: dict[str, tuple[dict[str, Any], str]] = {
    "split": ({**SPLIT_NAMES, "": ""}, "split is none of train, dev, test"),
    "source": (SOURCES, "source is neither search nor outside"),
}


def convert(table: pa.Table, column: Column, problems: list[Problem]) -> pa.Table:
    """Convert a text column to numbers, or to the meanings of its word list."""
    if column.kind in WORDS:
        return _convert_words(table, column, problems)
    name, values = column.name, table[column.name]
    is_number = pc.match_substring_regex(values, r"^-?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,2})?$")
    unknown = pc.is_in(pc.utf8_lower(values), pa.array(["", "nan"]))
    not_number = pc.invert(pc.or_(is_number, unknown))
    lowest = pc.match_substring_regex(values, "^-")
    tests = [(not_number, f"{name} is not a number", name), (pc.and_(is_number, lowest), f"{name} is negative", name)]
    if column.kind == "frequency":
        zero = pc.match_substring_regex(values, r"^[0.]+([eE].*)?$")
        tests.append((zero, "frequency is zero", name))
    table = apply_tests(table, tests, problems)
    values = table[name]
    blank = pc.is_in(pc.utf8_lower(values), pa.array(["", "nan"]))
    numbers = pc.if_else(blank, pa.scalar(None, pa.string()), values).cast(pa.float64())
    return table.set_column(table.column_names.index(name), name, numbers)


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
