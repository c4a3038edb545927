"""A shop's click log: result lists that were shown, and what shoppers did with each product.

    log = read_click_log("clicks.csv", shop)            # any format that products may have
    log.queries, log.rows_NK, log.clicked_NK, log.report

One row a product shown: `session` (one result list shown once), `query_id` (or `query`, its text), `product_id`,
`position` (1 is the top), `event`: the last of none, click, cart and purchase, or another word for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.common.errors import DataError
from qr_env.common.types import Query, RowArray
from qr_env.shop.query_lookup import query_rows
from qr_env.shop.readers.columns.spec import Column, Spec
from qr_env.shop.readers.columns.tables import ACTION_NAMES, PAIR_PRODUCT_ID, QUERY_NAMES
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.readers.rows import checked_table
from qr_env.shop.shop import Shop
from qr_env.shop.sources.events import EVENTS, events_of

MAX_POSITIONS = 1_000  # a log with a lower rank is misread, and would need the memory
_SESSIONS = ("session_id", "list_id", "impression_id", "serp_id", "search_id", "request_id", "query_response_id")
SPEC = Spec(
    "click log",
    (
        Column("session", _SESSIONS, required=True, filled=True, limit=256),
        Column("query_id", ("qid",), filled=True, limit=256),
        Column("query", QUERY_NAMES, clean="entities", filled=True, unless=(("query", "user_query"),)),
        PAIR_PRODUCT_ID,
        Column(
            "position",
            ("rank", "pos", "ordinal", "event_attributes_position_ordinal"),
            required=True,
            filled=True,
            limit=8,
        ),
        Column("event", ("action", *ACTION_NAMES, "clicked", "click", "is_click", "is_clicked"), required=True),
    ),
)


@dataclass(frozen=True)
class ClickLog:
    """N result lists that were shown."""

    queries: list[Query]
    """N queries"""
    rows_NK: RowArray
    """(N, K) int32 product rows, -1 is padding"""
    event_NK: npt.NDArray[np.int8]
    """(N, K) index in `EVENTS`, 0 on padding"""
    report: LoadReport
    """what the reader left out or repaired"""

    def reached(self, event: str) -> npt.NDArray[np.bool_]:
        """(N, K) True where `event`, or one that includes it, happened."""
        return self.event_NK >= EVENTS.index(event)


def read_click_log(path: str | Path, shop: Shop, options: ReadOptions | None = None) -> ClickLog:
    """Read a log. A bad row stops it, or is skipped with its whole list (on_bad_row "skip"): with a gap, the products
    below it would seem to have been shown higher up.

    Raises BadRowError, or DataError: no file, a column is missing, no complete list is left.
    """
    path, report = Path(path), LoadReport(options or ReadOptions())

    def tests(table: pa.Table) -> list[tuple[pa.Array, str, str]]:
        by = _query_column(path, table)
        product = pc.is_null(pc.index_in(table["product_id"], shop.products["product_id"].combine_chunks()))
        unknown = [
            (pc.is_null(query_rows(shop, by, table[by])), f"unknown {by}", by),
            (product, "unknown product_id", "product_id"),
        ]
        place = pc.invert(pc.match_substring_regex(table["position"], r"^[1-9]\d{0,6}(\.0+)?$"))
        event = pc.is_null(events_of(table["event"]))
        known_words = f"event is none of {', '.join(EVENTS)}, nor a word for one"
        return [*unknown, (place, "position is no whole number from 1", "position"), (event, known_words, "event")]

    table = checked_table(path, SPEC, report, tests)
    by = _query_column(path, table)
    query_N = query_rows(shop, by, table[by]).to_numpy(zero_copy_only=False)
    return _lists(path, shop, table, query_N.astype(np.int64), report)


def _query_column(path: Path, table: pa.Table) -> str:
    for name in ("query_id", "query"):
        if name in table.column_names:
            return name
    raise DataError(f"{path}: no column names the query; it may be called query_id, or query for its text")


def _lists(path: Path, shop: Shop, table: pa.Table, query_N: npt.NDArray[np.int64], report: LoadReport) -> ClickLog:
    """Rows of the log as lists; sessions with a gap, a rank used twice or two queries are left out and noted."""
    session_N = table["session"].combine_chunks().dictionary_encode().indices.to_numpy()
    place_N = table["position"].cast(pa.float64()).to_numpy().astype(np.int64) - 1
    complete_P = _complete_sessions(session_N, place_N, query_N)
    if not complete_P.any():
        raise DataError(f"{path}: no complete list: positions must be 1, 2, 3 … in each session, of one query each")
    if left_out := int((~complete_P).sum()):
        report.note(f"{left_out} of {len(complete_P)} sessions have gaps, ranks used twice or two queries: left out")
    kept_N = complete_P[session_N]
    line_N = (np.cumsum(complete_P) - 1)[session_N[kept_N]]
    at = line_N, place_N[kept_N]
    shape = int(complete_P.sum()), int(place_N[kept_N].max()) + 1
    rows_NK, event_NK = np.full(shape, -1, np.int32), np.zeros(shape, np.int8)
    product_N = pc.index_in(table["product_id"], shop.products["product_id"].combine_chunks()).to_numpy()
    event_N = events_of(table["event"]).to_numpy()
    rows_NK[at], event_NK[at] = product_N[kept_N], event_N[kept_N]
    query_of = np.zeros(shape[0], np.int64)
    query_of[line_N] = query_N[kept_N]
    return ClickLog([shop.all_queries[row] for row in query_of.tolist()], rows_NK, event_NK, report)


def _complete_sessions(
    session_N: npt.NDArray[np.integer], place_N: npt.NDArray[np.int64], query_N: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """(P,) True for sessions that hold each rank from the first to their last once, for one query."""
    count_P = np.bincount(session_N)
    last_P, first_query_P, last_query_P = np.zeros_like(count_P), np.full_like(count_P, 1 << 40), np.zeros_like(count_P)
    np.maximum.at(last_P, session_N, place_N)
    np.minimum.at(first_query_P, session_N, query_N)
    np.maximum.at(last_query_P, session_N, query_N)
    pairs, times = np.unique(np.stack([session_N, place_N], axis=1), axis=0, return_counts=True)
    twice_P = np.zeros(len(count_P), np.bool_)
    twice_P[pairs[times > 1, 0]] = True
    return (count_P == last_P + 1) & (last_P < MAX_POSITIONS) & (first_query_P == last_query_P) & ~twice_P
