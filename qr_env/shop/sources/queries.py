"""The queries of a shop from their file: equal texts are one query.

    queries = read_queries(Path("queries.csv"), report)
    queries.table["frequency"], queries.rows("query_id", pa.array(["q1", "q7"]))

Texts that are equal up to case, Unicode form and white space (`common/text_keys.py`) are one query: a log with one line
a search reads as the counted log. The query has the id of its first line, its most frequent spelling and the sum of the
frequencies; labels and purchases of any of its ids are its own. Of two splits the held-out one wins: test, then dev.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.common.text_keys import text_keys
from qr_env.shop.readers.columns.tables import QUERIES
from qr_env.shop.readers.load_report import LoadReport, shorten
from qr_env.shop.readers.rows import checked_table
from qr_env.shop.shop import JOINED_SCHEMA, QUERY_SCHEMA, SPLITS, conform, split_of

RANKED_SPLITS = ("", *SPLITS)  # of equal texts the last of these splits wins


@dataclass(frozen=True)
class ShopQueries:
    """The queries of a shop, and which of them an id or a text of the files means."""

    table: pa.Table
    """Columns of `QUERY_SCHEMA`, one row a query."""
    ids: pa.Array
    """Every id of the file, those of joined lines included."""
    id_rows: npt.NDArray[np.int64]
    """Row in the table of each of `ids`."""
    given: bool = True
    """Whether the ids stand in the file; if not, they are made from the row."""

    @cached_property
    def keys(self) -> pa.Array:
        """`text_key` of every query."""
        return text_keys(self.table["query"])

    @property
    def joined_ids(self) -> pa.Table:
        """Columns of `JOINED_SCHEMA`: each id of the file that is not the id of its query."""
        if not self.given:
            return JOINED_SCHEMA.empty_table()
        kept = self.table["query_id"].take(pa.array(self.id_rows)).combine_chunks()
        differ = pc.not_equal(self.ids, kept)
        return pa.table([self.ids.filter(differ), kept.filter(differ)], schema=JOINED_SCHEMA)

    def rows(self, by: str, values: pa.ChunkedArray) -> pa.Array:
        """Row of the query of each value, null where unknown. by: "query_id", or "query" for texts."""
        if by == "query":
            return pc.index_in(text_keys(values), self.keys).cast(pa.int64())
        return pa.array(self.id_rows).take(pc.index_in(values, self.ids).combine_chunks())


NO_QUERIES = ShopQueries(QUERY_SCHEMA.empty_table(), pa.array([], pa.string()), np.zeros(0, np.int64))


def read_queries(path: Path, report: LoadReport, join: bool = True, hash_splits: bool = True) -> ShopQueries:
    """Read a queries file.

    Args:
        path: the file.
        report: records invalid rows, or raises at the first.
        join: whether equal texts become one query.
        hash_splits: whether a query without a split gets one by the hash of its text.

    Raises:
        BadRowError, DataError: as `checked_table`.
    """
    table = checked_table(path, QUERIES, report)
    given = "query_id" in table.column_names
    if given:
        table = _without_repeated_ids(table, path, report, searches=join and "frequency" not in table.column_names)
    else:
        report.note(f'{path.name}: no query ids; they are generated from the row: "q1", "q2", …')
        ids = pc.binary_join_element_wise("q", pc.add(table["row"], 1).cast(pa.string()), "")
        table = table.append_column("query_id", ids)
    table = conform(table.drop_columns(["line", "row"]), QUERY_SCHEMA, path.name).combine_chunks()
    ids, id_rows_N = table["query_id"].combine_chunks(), np.arange(len(table))
    if join:
        table, id_rows_N = _joined(table, path, report)
    return ShopQueries(_with_splits(table, path, report) if hash_splits else table, ids, id_rows_N, given)


def _without_repeated_ids(table: pa.Table, path: Path, report: LoadReport, searches: bool) -> pa.Table:
    """The table without the rows of an id that stands above; they are invalid.

    searches: a row that repeats an id with the same text is one more search for it, as in a raw log, and stays.
    """
    ids = table["query_id"].combine_chunks().dictionary_encode()
    _, first_U = np.unique(np.asarray(ids.indices), return_index=True)
    if len(first_U) == len(table):
        return table
    first_N = first_U[np.asarray(ids.indices)]
    again_N = first_N != np.arange(len(table))
    if searches:
        key_N = np.asarray(text_keys(table["query"]).dictionary_encode().indices)
        again_N &= key_N[first_N] != key_N
    line_N, rows = table["line"].to_numpy(), np.flatnonzero(again_N)
    values = table["query_id"].take(rows).to_pylist()
    problems = [
        (int(line_N[row]), f"duplicate query_id (first on line {line_N[first_N[row]]})", shorten(value))
        for row, value in zip(rows, values, strict=True)
    ]
    report.add(str(path), problems)
    table = table.filter(pa.array(~again_N))
    report.kept[str(path)] = len(table)
    return table


def _joined(table: pa.Table, path: Path, report: LoadReport) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """The table with one row for each different text, and the row of each line, (N,)."""
    spelled = table["query"].combine_chunks().dictionary_encode()
    keys = text_keys(spelled.dictionary).dictionary_encode()
    spelling_N, row_U = np.asarray(spelled.indices), np.asarray(keys.indices).astype(np.int64)
    row_N, count = row_U[spelling_N], len(keys.dictionary)
    if count == len(table):
        return table, row_N
    frequency_N, lines = table["frequency"].to_numpy(), np.bincount(row_N)
    weight_U = np.bincount(spelling_N, weights=frequency_N).astype(np.float64)
    columns = {
        "query_id": table["query_id"].take(np.unique(row_N, return_index=True)[1]),
        "query": spelled.dictionary.take(_most_frequent(row_U, weight_U)),
        "frequency": pa.array(np.bincount(row_N, weights=frequency_N)),
        "split": _splits(table, row_N, count, path, report),
    }
    most = int(lines.argmax())
    report.note(
        f"{path.name}: equal texts (case and spaces aside) are one query: {len(table):,} lines are {count:,} queries, "
        f"with the sums of their frequencies ({shorten(columns['query'][most].as_py())}: {lines[most]:,} lines)"
    )
    return pa.table(columns, schema=QUERY_SCHEMA), row_N


def _most_frequent(row_U: npt.NDArray[np.int64], weight_U: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The heaviest of the U spellings of each query, by row; of equally frequent ones the first."""
    order_U = np.lexsort((np.arange(len(row_U)), -weight_U, row_U))
    _, best = np.unique(row_U[order_U], return_index=True)
    return order_U[best]


def _splits(table: pa.Table, row_N: npt.NDArray[np.int64], count: int, path: Path, report: LoadReport) -> pa.Array:
    """The split of each query: the last of `RANKED_SPLITS` that any of its lines has."""
    rank_N = np.asarray(pc.index_in(table["split"], pa.array(RANKED_SPLITS)))
    last_U, first_U = np.zeros(count, np.int64), np.full(count, len(SPLITS))
    np.maximum.at(last_U, row_N, rank_N)
    np.minimum.at(first_U, row_N[rank_N > 0], rank_N[rank_N > 0])
    both = np.flatnonzero((last_U > 0) & (first_U < last_U))
    if len(both):
        at = int(both[0])
        text = table["query"][int(np.flatnonzero(row_N == at)[0])].as_py()
        report.note(
            f"{path.name}: queries that stand in two splits: {len(both):,}; the held-out one wins, test before dev "
            f"({shorten(text)}: {RANKED_SPLITS[first_U[at]]} and {RANKED_SPLITS[last_U[at]]})"
        )
    return pa.array(RANKED_SPLITS).take(last_U)


def _with_splits(table: pa.Table, path: Path, report: LoadReport) -> pa.Table:
    """The table with a split by the hash of its text for each query without one."""
    hashed = pc.equal(table["split"], "")
    if not pc.any(hashed).as_py():
        return table
    report.note(
        f"{path.name}: {pc.sum(hashed).as_py():,} queries without a split; split 80/10/10 by a hash of the text"
    )
    pairs = zip(table["split"].to_pylist(), table["query"].to_pylist(), strict=True)
    splits = pa.array([split or split_of(text) for split, text in pairs], pa.string())
    return table.set_column(table.column_names.index("split"), "split", splits)
