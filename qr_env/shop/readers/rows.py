"""Validate the rows of a shop's files: column names, types, keys and limits.

    report = LoadReport(on_bad_row="skip")
    table = checked_table(Path("products.csv"), PRODUCTS, report)
    print(report.summary())

Tests are array operations on chunks of about 65,000 rows: a million rows take seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.common.errors import DataError
from qr_env.shop.readers.chunks import Chunk, Problem
from qr_env.shop.readers.formats.by_suffix import read_chunks
from qr_env.shop.readers.load_report import LoadReport, shorten

TITLE_LIMIT = 2_000  # characters; the longest real title in ESCI, WANDS and Icecat is under 1,000
TEXT_LIMIT = 100_000  # characters, for descriptions and attributes

LABELS = {
    **dict.fromkeys(("3", "e", "exact"), 3),
    **dict.fromkeys(("2", "s", "substitute", "partial"), 2),
    **dict.fromkeys(("1", "c", "complement"), 1),
    **dict.fromkeys(("0", "i", "irrelevant"), 0),
}
SPLIT_NAMES = {"validation": "dev", "valid": "dev", "val": "dev", "train": "train", "dev": "dev", "test": "test"}
SOURCES = {"search": "search", "outside": "outside", "": "search"}


@dataclass(frozen=True)
class Column:
    """One column of a table and the rules for its values."""

    name: str
    """Our name."""
    aliases: tuple[str, ...] = ()
    """Other names that it may have in a file."""
    required: bool = False
    """Whether the file must have it."""
    filled: bool = False
    """Whether every row must have a value."""
    kind: str = "text"
    """"text", "price", "frequency", or a key of `WORDS` ("grade", "split", "source")."""
    limit: int = TITLE_LIMIT
    """Maximum length in characters."""
    empty: str = ""
    """Reason reported for an empty value; "" gives "missing NAME"."""


WORDS: dict[str, tuple[dict[str, Any], str]] = {
    "grade": (LABELS, "grade is none of 0–3, E/S/C/I, Exact/Substitute/Partial/Complement/Irrelevant"),
    "split": ({**SPLIT_NAMES, "": ""}, "split is none of train, dev, test"),
    "source": (SOURCES, "source is neither search nor outside"),
}


@dataclass(frozen=True)
class Spec:
    """The columns of a table."""

    what: str
    """Name of the table."""
    columns: tuple[Column, ...]
    """Known columns."""
    key: str = ""
    """Column whose values must be unique; "" for none."""


_PRODUCT_ID = Column(
    "product_id", ("id", "sku", "asin", "item_id", "docid", "doc_id"), required=True, filled=True, limit=256
)
_QUERY_ID = Column("query_id", ("qid", "topic", "topic_id"), filled=True, limit=256)
_QUERY_TEXT = Column("query", ("text", "query_text", "q", "search_term", "keyword", "keywords"), empty="empty query")

PRODUCTS = Spec(
    "products",
    (
        _PRODUCT_ID,
        Column("title", ("name", "product_title", "product_name"), required=True, filled=True, empty="empty title"),
        Column("description", ("product_description", "desc"), limit=TEXT_LIMIT),
        Column("brand", ("product_brand", "manufacturer", "vendor")),
        Column("category", ("category_hierarchy", "product_class", "product_type", "department", "type")),
        Column("color", ("colour", "product_color", "product_colour")),
        Column("price", ("list_price", "sale_price"), kind="price"),
        Column(
            "attributes", ("features", "product_features", "bullets", "product_bullet_point", "specs"), limit=TEXT_LIMIT
        ),
    ),
    key="product_id",
)
QUERIES = Spec(
    "queries",
    (
        Column("query_id", ("qid", "id"), filled=True, limit=256),
        Column(_QUERY_TEXT.name, _QUERY_TEXT.aliases, required=True, filled=True, empty="empty query"),
        Column("frequency", ("freq", "count", "searches", "volume"), kind="frequency"),
        Column("split", ("fold", "set"), kind="split"),
    ),
    key="query_id",
)
# Labels and purchases refer to their query by id or, without ids, by its text.
QRELS = Spec(
    "qrels",
    (
        _QUERY_ID,
        Column("query", _QUERY_TEXT.aliases, filled=True, empty="empty query"),
        _PRODUCT_ID,
        Column(
            "grade",
            ("label", "relevance", "rel", "esci_label", "level", "rating", "judgment", "judgement"),
            required=True,
            filled=True,
            kind="grade",
        ),
    ),
)
PURCHASES = Spec(
    "purchases",
    (
        _QUERY_ID,
        Column("query", _QUERY_TEXT.aliases, filled=True, empty="empty query"),
        _PRODUCT_ID,
        Column("source", ("where", "channel"), kind="source"),
    ),
)

RowTest = Callable[[pa.Table], list[tuple[pa.Array, str, str]]]


def checked_table(path: Path, spec: Spec, report: LoadReport, extra: RowTest | None = None) -> pa.Table:
    """Read a file and keep its valid rows: text trimmed, price and frequency as float64, grade as int8.

    Args:
        path: CSV, TSV, JSONL, Parquet or (for qrels) TREC file.
        spec: the known columns.
        report: records invalid rows, or raises at the first.
        extra: further row tests on the valid rows of a chunk, each (mask of invalid rows, reason, column to report).

    Returns:
        Table of the known columns of the file, plus `line` (int64) and `row` (int64, data row from 0).

    Raises:
        BadRowError: a row is invalid and the report's on_bad_row is "stop".
        DataError: the file cannot be read, or a required column is missing.
    """
    seen: dict[str, int] = {}
    tables = []
    for chunk in read_chunks(path, lambda header: match_columns(path, header, spec, report)):
        problems, table = _check_chunk(chunk, spec, seen)
        if extra is not None:
            table = _apply(table, extra(table), problems)
        report.add(str(path), problems)
        report.rows[str(path)] = report.rows.get(str(path), 0) + chunk.rows
        tables.append(table)
    table = pa.concat_tables(tables)
    report.kept[str(path)] = len(table)
    return table


def match_columns(path: Path, header: list[str], spec: Spec, report: LoadReport) -> dict[str, str]:
    """Column of the file → our name. Exact names take precedence over aliases, earlier aliases over later ones.

    Raises:
        DataError: a required column is missing, or a column that is used occurs twice.
    """
    plain = [re.sub(r"[\s\-]+", "_", name.strip().lower()) for name in header]
    found: dict[str, str] = {}
    for column in spec.columns:
        place = next((name for name in (column.name, *column.aliases) if name in plain), None)
        if place is None and column.required:
            known = ", ".join((column.name, *column.aliases))
            raise DataError(f"{path}: no column for {column.name!r} among {header}; accepted names are {known}")
        if place is None or header[plain.index(place)] in found:
            continue
        if plain.count(place) > 1:
            raise DataError(f"{path}: the column {place!r} occurs {plain.count(place)} times: {header}")
        found[header[plain.index(place)]] = column.name
        if place != column.name:
            report.note(f"{path.name}: column {header[plain.index(place)]!r} is read as {column.name!r}")
    if ignored := [name for name in header if name not in found]:
        report.note(f"{path.name}: columns not used: {', '.join(map(repr, ignored))}")
    return found


def _check_chunk(chunk: Chunk, spec: Spec, seen: dict[str, int]) -> tuple[list[Problem], pa.Table]:
    """The chunk's invalid rows and the table of its valid ones."""
    problems = list(chunk.problems)
    columns = [column for column in spec.columns if column.name in chunk.columns]
    table = pa.table(
        {column.name: pc.fill_null(pc.utf8_trim_whitespace(chunk.columns[column.name]), "") for column in columns}
        | {"line": pa.array(chunk.lines), "row": pa.array(chunk.ordinals)}
    )
    for column in columns:
        table = _apply(table, _text_tests(table[column.name], column), problems)
    for column in columns:
        if column.kind != "text":
            table = _convert(table, column, problems)
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


def _apply(table: pa.Table, tests: list[tuple[pa.Array, str, str]], problems: list[Problem]) -> pa.Table:
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


def _convert(table: pa.Table, column: Column, problems: list[Problem]) -> pa.Table:
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
    table = _apply(table, tests, problems)
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
    table = _apply(table, [(pc.is_null(at), reason, column.name)], problems)
    meaning = list(words.values())
    values = pa.array(meaning, pa.int8() if isinstance(meaning[0], int) else pa.string()).take(
        table["at"].combine_chunks()
    )
    table = table.drop_columns("at")
    return table.set_column(table.column_names.index(column.name), column.name, values)
