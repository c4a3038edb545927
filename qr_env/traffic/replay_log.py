"""`ReplayLog`: a log of real searches, replayed in its order as a stream of queries.

log = ReplayLog.read("log.parquet", shop)     # CSV, TSV, JSONL or Parquet: time, query, and session where there is one
log.take(64), log.arrivals(64)[0].time

Accepted times: `qr_env/shop/readers/time/column.py`. The log is sorted by time, stably, and repeats from its start
(`laps` counts), so the stream is endless. A line whose text equals a query of the shop, up to case, Unicode form and
spaces, becomes that query with its labels and purchases; any other becomes free text with row -1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from qr_env.common.errors import ConfigError, DataError, IndexMismatchError
from qr_env.common.text_keys import text_key
from qr_env.common.types import JsonDict, Query
from qr_env.shop.readers.columns.spec import Column, Spec
from qr_env.shop.readers.columns.tables import QUERY_NAMES
from qr_env.shop.readers.load_report import LoadReport, shorten
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.readers.rows import checked_table
from qr_env.shop.readers.time.numbers import ROUNDED
from qr_env.shop.shop import Shop
from qr_env.traffic.drift import Drift
from qr_env.traffic.stream import Arrival, fingerprint

_DAYS = ("fecha", "data", "jour", "dato", "дата", "日期", "日付", "날짜")
_TIMES = (
    *("timestamp", "ts", "datetime", "date_time", "event_time", "event_timestamp", "created_at", "searched_at"),
    *("zeitpunkt", "zeitstempel", "horodatage", "date_heure", "fecha_hora", "data_ora", "data_hora", "日時"),
    # Mostly a time of day, with the day in a column of its own.
    *("time_of_day", "uhrzeit", "heure", "hora", "ora", "tijd", "tijdstip", "klockslag", "godzina", "время", "时间"),
    *("時刻", "시간", "date_hour_and_minute", "date_hour_minute", "date_hour", "event_date", "date", "datum", "day"),
    *_DAYS,
)
_SESSIONS = (
    *("session_id", "ga_session_id", "visit_id", "client_id", "user_pseudo_id", "user", "user_id", "visitor_id"),
    *("customer_id", "anonymous_id"),
)
LOG = Spec(
    "log",
    (
        Column("time", _TIMES, required=True, filled=True, kind="time", limit=128),
        Column("day", ("date", "datum", "event_date", "log_date", *_DAYS), limit=64),
        # In OpenSearch's index ubi_queries "query" is what the engine was sent, and "user_query" what was typed.
        Column("query", QUERY_NAMES, clean="entities", required=True, filled=True, unless=(("query", "user_query"),)),
        Column("session", _SESSIONS, limit=256),
    ),
)


class ReplayLog:
    """A log as a stream, with the methods of `QueryStream`.

    Args:
        queries: one per line of the log.
        time_N: seconds since 1970.
        sessions: session of each line, "" where unknown.
        drift: typos, wording and assortment changes applied on top; the traffic is the log's.

    Raises:
        ConfigError: an empty log, or columns of different lengths.

    """

    def __init__(
        self,
        queries: Sequence[Query],
        time_N: npt.NDArray[np.float64],
        sessions: Sequence[str] | None = None,
        drift: Drift | None = None,
    ) -> None:
        sessions = [""] * len(queries) if sessions is None else sessions
        if not queries or not len(queries) == len(time_N) == len(sessions):
            raise ConfigError(f"a log of {len(queries)} queries, {len(time_N)} times and {len(sessions)} sessions")
        order = np.argsort(time_N, kind="stable")
        self.queries = [queries[n] for n in order.tolist()]
        self.sessions = [sessions[n] for n in order.tolist()]
        self.time_N, self.drift = np.asarray(time_N, np.float64)[order], drift
        self.left_out = 0
        """Number of lines of the file left out because they ask for held-out queries."""
        self.report = LoadReport()
        """What the reader of the file took for what, and left out."""
        self._fingerprint = fingerprint(
            self.queries, repr(self.time_N.tolist()), repr(self.sessions), drift.fingerprint() if drift else ""
        )
        self.reseed(0)

    @classmethod
    def read(
        cls,
        path: str | Path,
        shop: Shop | None = None,
        options: ReadOptions | None = None,
        drift: Drift | None = None,
        without: Collection[str] = (),
    ) -> ReplayLog:
        """Read a log file; a line with the text of a query of the shop becomes that query.

        Args:
            without: splits of the shop; lines that ask for their queries are left out and counted in `left_out`.

        Raises:
            BadRowError: a line without a valid time and a query, which the options do not skip.
            DataError: the file cannot be read, day and month of its times cannot be told apart, or every line is left
                out.
        """
        report = LoadReport(options or ReadOptions())
        table = checked_table(Path(path), LOG, report)
        if not len(table):
            why = f"{report.summary()}\nThe first is {report.bad_rows[0]}" if report.bad_rows else "it has no rows"
            raise DataError(f"{path}: the log has no usable line: {why}")
        time_N = table["time"].to_numpy()
        _note_rounded_sessions(Path(path), table, report)
        sessions = table["session"].to_pylist() if "session" in table.column_names else None
        texts = table["query"].to_pylist()
        # By text: the shop may have the same text twice, in train and held out.
        held = (
            {text_key(query.text) for query in shop.all_queries if query.split in without} if shop is not None else ()
        )
        kept = [n for n, text in enumerate(texts) if text_key(text) not in held]
        if not kept:
            raise DataError(
                f"{path}: each of its {len(texts):,} lines asks for a {' or '.join(without)} query of the shop, which "
                "is held out: replay a log with others"
            )
        queries = as_queries([texts[n] for n in kept], shop)
        log = cls(queries, time_N[kept], [sessions[n] for n in kept] if sessions else None, drift)
        log.left_out, log.report = len(texts) - len(kept), report
        return log

    @property
    def laps(self) -> int:
        """Number of complete passes through the log."""
        return self.taken // len(self.queries)

    def reseed(self, seed: int) -> None:
        """Restart at the log's first line; the seed has no effect."""
        self.taken = 0
        self._apply_drift()

    def take(self, n: int) -> list[Query]:
        """The next `n` queries of the log; repeats are possible."""
        return [arrival.query for arrival in self.arrivals(n)]

    def arrivals(self, n: int) -> list[Arrival]:
        """The next `n` queries with clock, session and time."""
        if n < 0:
            raise ConfigError(f"take({n}): n must be ≥ 0")
        arrivals = [self._arrival(at) for at in range(self.taken, self.taken + n)]
        self.taken += n
        self._apply_drift()
        return arrivals

    def _arrival(self, at: int) -> Arrival:
        line = at % len(self.queries)
        query = self.queries[line] if self.drift is None else self.drift.query_at(self.queries[line], at)
        return Arrival(at, query, self.sessions[line], float(self.time_N[line]))

    def _apply_drift(self) -> None:
        if self.drift is not None:
            self.drift.apply_until(self.taken)

    def state_dict(self) -> JsonDict:
        """The clock and the log's fingerprint, as JSON values."""
        return {"taken": self.taken, "log": self._fingerprint}

    def load_state_dict(self, state: JsonDict) -> None:
        """Continue where `state` was taken; IndexMismatchError for another log or drift."""
        if state.get("log") != self._fingerprint:
            raise IndexMismatchError(
                "the stream's state was saved for another log or drift: resume with the same, or start a new run"
            )
        self.taken = int(state["taken"])
        self._apply_drift()


def _note_rounded_sessions(path: Path, table: pa.Table, report: LoadReport) -> None:
    """Note session ids that a spreadsheet has rounded: they may be those of several sessions."""
    if "session" not in table.column_names:
        return
    rounded = table["session"].filter(pc.match_substring_regex(table["session"], ROUNDED))
    if len(rounded):
        report.note(
            f"{path.name}: session ids that a spreadsheet has rounded: {len(rounded):,} (such as "
            f"{shorten(rounded[0].as_py())}); sessions that differ may look alike: export the column as text"
        )


def as_queries(texts: Sequence[str], shop: Shop | None) -> list[Query]:
    """Each text as the shop's query with that text, or as free text; equal texts share one `Query`."""
    known: dict[str, Query] = {}
    for query in shop.all_queries if shop is not None else ():
        known.setdefault(text_key(query.text), query)
    return [known.setdefault(text_key(text), Query(-1, f"log:{text_key(text)}", text)) for text in texts]
