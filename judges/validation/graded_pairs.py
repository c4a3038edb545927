"""Graded pairs of a file of your own, for the gate of `qr online` and for `qr judge calibrate`.

    sample = read_graded_pairs(Path("mine.csv"), shop, LoadReport())

The file is a table as `qrels` of a shop: query (its text, which the shop need not have) or query_id, product_id and
grade, in the same formats, under the same names of columns and with the same scales of grades.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from judges.validation.samples import Sample
from qr_env.common.errors import DataError
from qr_env.common.text_keys import text_key
from qr_env.common.types import Query
from qr_env.shop.likely_reason import why_unknown
from qr_env.shop.query_lookup import query_rows
from qr_env.shop.readers.chunks import Problem
from qr_env.shop.readers.columns.tables import QRELS
from qr_env.shop.readers.grades import read_grades
from qr_env.shop.readers.load_report import LoadReport, shorten
from qr_env.shop.readers.rows import checked_table
from qr_env.shop.readers.values import apply_tests
from qr_env.shop.shop import Shop


def read_graded_pairs(path: Path, shop: Shop, report: LoadReport, without: Collection[str] = ()) -> Sample:
    """The graded pairs of a file; of a pair that is graded again the last grade holds.

    Args:
        path: the file.
        shop: its products; pairs of others are left out and counted in a note.
        report: how the file is read; takes notes and invalid rows.
        without: splits of the shop whose queries are left out.

    Raises:
        BadRowError: an invalid row that the report's options do not skip.
        DataError: the file cannot be read, a column is missing, its grades are of a scale that must be named, or none
            of its products is in the shop.
    """
    path = Path(path)
    table = checked_table(path, QRELS, report)
    grades = read_grades(table["grade"], table["line"].to_numpy(), path, report.options.grades)
    for note in grades.notes:
        report.note(note)
    levels = pa.chunked_array([grades.levels])
    table = table.set_column(table.column_names.index("grade"), "grade", levels).filter(pc.is_valid(levels))
    table = _of_known_products(path, _with_texts(path, table, shop, report), shop, report)
    known = {text_key(query.text): query for query in shop.all_queries}
    held = {text_key(query.text) for query in shop.all_queries if query.split in without}
    graded: dict[str, dict[int, int]] = {}
    again = 0
    columns = (table[name].to_pylist() for name in ("query", "product_id", "grade"))
    for text, product, level in zip(*columns, strict=True):
        known.setdefault(text_key(text), Query(-1, "", text))
        if text_key(text) not in held:
            levels_of = graded.setdefault(text_key(text), {})
            again += levels_of.get(shop.product_row[product], level) != level
            levels_of[shop.product_row[product]] = level
    if again:
        report.note(f"{path.name}: pairs graded again, and differently: {again:,}; the last grade holds")
    return _sample([known[text] for text in graded], list(graded.values()))


def _with_texts(path: Path, table: pa.Table, shop: Shop, report: LoadReport) -> pa.Table:
    """The table with the text of each query: the file's own, else that of the shop's query with the id."""
    if "query" not in table.column_names and "query_id" not in table.column_names:
        raise DataError(f"{path}: no column names the query; accepted are query, its text, or query_id")
    texts = pa.nulls(len(table), pa.string())
    if "query_id" in table.column_names:
        texts = shop.queries["query"].take(query_rows(shop, "query_id", table["query_id"]))
    if "query" in table.column_names:
        texts = pc.if_else(pc.equal(table["query"], ""), texts, table["query"])
        table = table.drop_columns("query")
    table = table.append_column("query", texts)
    by = "query_id" if "query_id" in table.column_names else "query"
    problems: list[Problem] = []
    table = apply_tests(table, [(pc.is_null(texts), "no text of a query, and no id of one of the shop", by)], problems)
    report.add(str(path), problems)
    return table


def _of_known_products(path: Path, table: pa.Table, shop: Shop, report: LoadReport) -> pa.Table:
    ids = shop.products["product_id"].combine_chunks()
    known = pc.is_in(table["product_id"], ids)
    unknown = pc.unique(table["product_id"].filter(pc.invert(known)))
    if not len(unknown):
        return table
    ours, theirs, reason = why_unknown(unknown, ids)
    left = len(table) - pc.sum(known).as_py()
    text = f"the file says {shorten(ours)}, the shop has {shorten(theirs)}" + (f"; {reason}" if reason else "")
    if left == len(table):
        raise DataError(f"{path}: none of its products is in {shop!r}: {text}")
    report.note(f"{path.name}: pairs of products that the shop does not have, left out: {left:,} ({text})")
    return table.filter(known)


def _sample(queries: list[Query], graded: list[dict[int, int]]) -> Sample:
    """P lists of graded products, padded."""
    width = max(map(len, graded), default=0)
    rows = [[*levels, *[-1] * (width - len(levels))] for levels in graded]
    levels = [[*levels.values(), *[-1] * (width - len(levels))] for levels in graded]
    shape = (len(graded), width)
    return Sample(queries, np.array(rows, np.int32).reshape(shape), np.array(levels, np.int8).reshape(shape))
