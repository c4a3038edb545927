"""Labels and purchases of a shop: files whose rows name a query and a product.

    qrels = read_qrels(Path("qrels.csv"), queries, products, report)          # (queries, products), level + 1
    purchases = read_purchases(Path("purchases.csv"), queries, products, report)

A row is of a query by its id or, without ids, by its text. Rows of unknown queries and products are invalid; a file of
which no query or no product is known is refused with an example of both sides and the likely reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from qr_env.common.errors import DataError
from qr_env.common.types import JsonDict
from qr_env.shop.likely_reason import why_unknown
from qr_env.shop.readers.chunks import Problem
from qr_env.shop.readers.columns.tables import PURCHASES, QRELS
from qr_env.shop.readers.grades import read_grades
from qr_env.shop.readers.load_report import LoadReport, shorten
from qr_env.shop.readers.rows import checked_table
from qr_env.shop.readers.values import apply_tests
from qr_env.shop.shop import PURCHASE_SCHEMA, conform
from qr_env.shop.sources.events import PURCHASE, events_of
from qr_env.shop.sources.queries import ShopQueries

MOST_WORDS = 8  # words of events that a note lists
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class KnownIds:
    """What the rows of a file refer to."""

    queries: ShopQueries
    """The shop's queries."""
    product_ids: pa.Array
    """Ids of the products, by row."""
    files: dict[str, str]
    """"query" and "product" → name of the file that they were read from."""


@dataclass(frozen=True)
class Pairs:
    """N rows with a known query and product."""

    table: pa.Table
    """The columns of the file, (N,) rows."""
    by: str
    """Column that names the query, "query_id" or "query"."""
    query_N: Rows
    """Row of the query."""
    product_N: Rows
    """Row of the product."""


def read_qrels(path: Path, known: KnownIds, report: LoadReport) -> sp.csr_matrix:
    """(queries, products) int8, level + 1; of a pair that occurs again the first grade is kept.

    Raises:
        BadRowError: a row is invalid and the report's on_bad_row is "stop".
        DataError: the grades are of a scale that must be named, no query or no product of the file is known, or the
            file cannot be read.
    """
    table = checked_table(path, QRELS, report)
    report.note("" if len(table) else f"{path.name}: no row with a label")
    (table,) = with_levels(path, [table], report)
    return qrels_of(path, table, known, report)


def with_levels(path: Path, tables: Sequence[pa.Table], report: LoadReport) -> list[pa.Table]:
    """Tables of labels, all of one scale, with levels as `grade` and without unknown ones. path: for messages."""
    values = pa.chunked_array([chunk for table in tables for chunk in table["grade"].chunks], pa.string())
    line_N = np.concatenate([table["line"].to_numpy() for table in tables])
    found = read_grades(values, line_N, path, report.options.grades)
    for note in found.notes:
        report.note(note)
    levelled, start = [], 0
    for table in tables:
        levels = found.levels.slice(start, len(table))
        start += len(table)
        place = table.column_names.index("grade")
        levelled.append(table.set_column(place, "grade", levels).filter(pc.is_valid(levels)))
    return levelled


def qrels_of(path: Path, table: pa.Table, known: KnownIds, report: LoadReport) -> sp.csr_matrix:
    """The matrix of `read_qrels` from the file's table `with_levels`."""
    pairs = _known_pairs(path, table, known, report)
    keys = pairs.query_N * len(known.product_ids) + pairs.product_N
    _, firsts = np.unique(keys, return_index=True)
    if len(firsts) < len(keys):
        _report_repeated(path, pairs, keys, report)
    report.kept[str(path)] = len(firsts)
    stored = np.asarray(pairs.table["grade"].combine_chunks())[firsts] + 1
    shape = (len(known.queries.table), len(known.product_ids))
    return sp.csr_matrix((stored.astype(np.int8), (pairs.query_N[firsts], pairs.product_N[firsts])), shape=shape)


def read_purchases(path: Path, known: KnownIds, report: LoadReport) -> pa.Table:
    """The purchases, columns of `PURCHASE_SCHEMA`: all rows, or those of a log of events that are purchases.

    Raises as `read_qrels`.
    """
    table = checked_table(path, PURCHASES, report)
    report.note("" if len(table) else f"{path.name}: no row with a purchase")
    if "action" in table.column_names:
        table = _bought(path, table, report)
    problems: list[Problem] = []
    table = apply_tests(table, [(pc.equal(table["product_id"], ""), "missing product_id", "product_id")], problems)
    report.add(str(path), problems)
    pairs = _known_pairs(path, table, known, report)
    ids = known.queries.table["query_id"].take(pa.array(pairs.query_N))
    columns = {"query_id": ids, "product_id": pairs.table["product_id"]}
    if "source" in pairs.table.column_names:
        columns["source"] = pairs.table["source"]
    return conform(pa.table(columns), PURCHASE_SCHEMA, path.name)


def _bought(path: Path, table: pa.Table, report: LoadReport) -> pa.Table:
    """The rows of a log of events that are purchases; the others are counted in a note."""
    bought = pc.fill_null(pc.equal(events_of(table["action"]), PURCHASE), False)
    others = Counter(table["action"].filter(pc.invert(bought)).to_pylist())
    if others:
        listed = ", ".join(f"{word or 'empty'} ({count:,} ×)" for word, count in others.most_common(MOST_WORDS))
        more = f" and {len(others) - MOST_WORDS:,} other words" if len(others) > MOST_WORDS else ""
        report.note(f"{path.name}: events that are no purchases, left out: {others.total():,}: {listed}{more}")
    return table.filter(bought)


def _report_repeated(path: Path, pairs: Pairs, keys: Rows, report: LoadReport) -> None:
    """A pair that the file grades twice is an invalid row; grades of joined queries are counted in a note."""
    _, first_U, place_N = np.unique(keys, return_index=True, return_inverse=True)
    first_N = first_U[place_N]  # row of the first grade of the same pair
    again_N = np.flatnonzero(first_N != np.arange(len(keys)))
    names = pairs.table[pairs.by].combine_chunks().dictionary_encode()
    name_N = np.asarray(names.indices)
    written_N = name_N * (keys.max() + 1) + keys  # the pair as it is written, by the id that was joined
    _, written_U, where_N = np.unique(written_N, return_index=True, return_inverse=True)
    twice_N = np.flatnonzero(written_U[where_N] != np.arange(len(keys)))
    rows = pairs.table.take(pa.array(twice_N)).to_pylist()
    report.add(str(path), [(row["line"], "pair graded twice", shorten(_pair_text(row))) for row in rows])
    joined_N = np.setdiff1d(again_N, twice_N)
    if len(joined_N):
        grade_N = np.asarray(pairs.table["grade"].combine_chunks())
        differ_N = joined_N[grade_N[joined_N] != grade_N[first_N[joined_N]]]
        example = f", such as line {pairs.table['line'][int(differ_N[0])].as_py()}" if len(differ_N) else ""
        report.note(
            f"{path.name}: pairs graded again under another spelling or id of the query: {len(joined_N):,}, "
            f"{len(differ_N):,} of them differently{example}; the first grade holds"
        )


def _pair_text(row: JsonDict) -> str:
    return f"{row.get('query_id') or row.get('query')} {row['product_id']}"


def _known_pairs(path: Path, table: pa.Table, known: KnownIds, report: LoadReport) -> Pairs:
    """The rows with a known query and product; the others are invalid.

    Raises:
        DataError: no query or no product of the file is known, or no column names the query.
    """
    by, query_N = _query_rows(path, table, known, report)
    product_N = pc.index_in(table["product_id"], known.product_ids)
    ids, what = known.queries.ids, "query ids"
    if by == "query":
        ids, what = known.queries.table["query"].combine_chunks(), "query texts"
    hints = {
        "query": _hint(path, table[by], query_N, ids, what, known.files["query"]),
        "product": _hint(
            path, table["product_id"], product_N, known.product_ids, "product ids", known.files["product"]
        ),
    }
    table = table.append_column("query row", query_N).append_column("product row", product_N)
    problems: list[Problem] = []
    tests = [(pc.is_null(query_N), "unknown query", by), (pc.is_null(product_N), "unknown product", "product_id")]
    table = apply_tests(table, tests, problems)
    report.add(str(path), _with_hint(problems, hints))
    for hint in hints.values():
        if hint:
            report.note(hint)
    report.kept[str(path)] = len(table)
    rows = (np.asarray(table[f"{what} row"].combine_chunks()).astype(np.int64) for what in ("query", "product"))
    return Pairs(table.drop_columns(["query row", "product row"]), by, *rows)


def _with_hint(problems: list[Problem], hints: dict[str, str]) -> list[Problem]:
    """The problems in line order; the first, at which reading stops unless told otherwise, with the hint on all."""
    problems = sorted(problems)
    for at, (line, reason, value) in enumerate(problems[:1]):
        hint = hints[reason.removeprefix("unknown ")]
        problems[at] = (line, f"{reason} ({hint})" if hint else reason, value)
    return problems


def _hint(path: Path, values: pa.ChunkedArray, rows_N: pa.Array, known: pa.Array, what: str, other: str) -> str:
    """A sentence where most of the different ids of a column are unknown, with an example of both sides; else "".

    Raises:
        DataError: all of them are.
    """
    different = len(pc.unique(values))
    unknown = pc.unique(values.filter(pc.is_null(rows_N)))
    if not different or 2 * len(unknown) <= different or not len(known):
        return ""
    ours, theirs, reason = why_unknown(unknown, known)
    share = f"none of its {different:,}" if len(unknown) == different else f"{len(unknown):,} of its {different:,}"
    text = (
        f"{path.name}: {share} different {what} {'is' if len(unknown) == different else 'are not'} in {other}: "
        f"{path.name} says {shorten(ours)}, {other} has {shorten(theirs)}" + (f"; {reason}" if reason else "")
    )
    if len(unknown) == different:
        raise DataError(f"{path.parent / text}. Write the {what} alike in both files")
    return text


def _query_rows(path: Path, table: pa.Table, known: KnownIds, report: LoadReport) -> tuple[str, pa.Array]:
    """(the column that names the query, row of each query): its id, or its text where there is no known id."""
    columns = [name for name in ("query_id", "query") if name in table.column_names]
    if not columns:
        raise DataError(f"{path}: no column names the query; accepted are query_id, or query for its text")
    by = columns[0]
    query_N = known.queries.rows(by, table[by])
    if len(columns) > 1 and len(table) and query_N.null_count == len(table):
        by_text_N = known.queries.rows("query", table["query"])
        if by_text_N.null_count < len(table):
            report.note(
                f"{path.name}: no query id is in {known.files['query']}; its rows are taken by the query's text"
            )
            return "query", by_text_N
    return by, query_N
