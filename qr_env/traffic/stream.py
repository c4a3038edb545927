"""`QueryStream`: endless, seeded, resumable query traffic in which popular queries come more often.

stream = QueryStream(shop.split("train"), seed=0)
queries = stream.take(64)
state = stream.state_dict()            # JSON; a new stream that loads it goes on exactly here

QueryStream(with_zipf(queries), sessions=0.3)       # a log without counts; 30 % of the queries continue a session
QueryStream(drift.queries, drift=drift)             # traffic, words and assortment change (qr_env/traffic/drift.py)
ReplayLog.read("log.csv", shop)                     # the queries of a log in its order (qr_env/traffic/replay_log.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError, IndexMismatchError
from qr_env.common.hashing import sha256_text
from qr_env.common.protocols import Stream
from qr_env.common.types import JsonDict, Query
from qr_env.traffic.drift import Drift

OPEN_SESSIONS = 64  # sessions that can be continued; the least recently continued one is dropped


@dataclass(frozen=True, slots=True)
class Arrival:
    """One query of the stream."""

    at: int
    """Clock: number of queries before it."""
    query: Query
    """The query as typed at that clock."""
    session: str = ""
    """Session that it belongs to, "" where unknown."""
    time: float = float("nan")
    """Seconds since 1970, NaN where no log gives it."""


class QueryStream:
    """Draws queries with probability ∝ frequency ** frequency_exponent, without repeats inside one `take`.

    An exponent of 1 gives the shop's own traffic, 0 uniform traffic; values between draw tail queries more often than
    the shop's traffic does. Sampling without replacement uses exponential waiting times with the weights as rates and
    takes the first n; in logarithms this is the Gumbel top-k trick (Kool et al. 2019, arXiv 1903.06059), with the same
    draws. A query of frequency 0 is drawn only after all others.

    Sessions: with probability `sessions` the next query continues an open session: it is drawn by the same weights
    from the department of that session's last query. Session lengths are therefore geometric.

    Args:
        queries: queries to draw from, at least one.
        seed: of the stream's own generator; no global random state is used.
        frequency_exponent: exponent of the frequency, ≥ 0.
        sessions: share of the queries that continue a session, in [0, 1).
        topics: (queries,) topic within which a session continues; None: the drift's departments, or one topic for all.
        drift: scheduled changes of traffic, wording and assortment, built for the same queries.

    Raises:
        ConfigError: no queries, a negative exponent, a negative or infinite frequency, or a drift for other queries.
    """

    def __init__(
        self,
        queries: Sequence[Query],
        seed: int = 0,
        frequency_exponent: float = 1.0,
        sessions: float = 0.0,
        topics: Sequence[str] | npt.NDArray[np.str_] | None = None,
        drift: Drift | None = None,
    ) -> None:
        if not queries:
            raise ConfigError("the stream has no queries: does the split exist? `qr shop SOURCE` counts each split")
        if not 0 <= frequency_exponent < np.inf:
            raise ConfigError(
                f"frequency_exponent {frequency_exponent}: must be ≥ 0 (0 is uniform, 1 is the shop's traffic)"
            )
        if not 0 <= sessions < 1:
            raise ConfigError(f"sessions {sessions}: must be a share in [0, 1)")
        self.queries = list(queries)
        if drift is not None and drift.queries != self.queries:
            raise ConfigError("the drift was made for other queries than the stream's: use QueryStream(drift.queries)")
        if topics is not None and len(topics) != len(self.queries):
            raise ConfigError(f"{len(topics)} topics for {len(self.queries)} queries")
        self.frequency_exponent, self.sessions = float(frequency_exponent), float(sessions)
        self.drift, self._topics = drift, topics
        self._weight_N = _weights(self.queries, self.frequency_exponent)
        self._rates: dict[tuple[bool, ...], npt.NDArray[np.float64]] = {}
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Restart with another seed: clock 0, no open session."""
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self.taken = 0
        self._started = 0
        self._open: list[tuple[int, int]] = []  # (session, row of its last query), the oldest first
        self._apply_drift()

    def __iter__(self) -> QueryStream:
        return self

    def __next__(self) -> Query:
        return self.take(1)[0]

    def take(self, n: int) -> list[Query]:
        """The next `n` queries. Distinct while n ≤ number of queries; beyond it, in rounds of all queries."""
        return [arrival.query for arrival in self.arrivals(n)]

    def arrivals(self, n: int) -> list[Arrival]:
        """The next `n` queries with clock and session."""
        if n < 0:
            raise ConfigError(f"take({n}): n must be ≥ 0")
        drawn: list[tuple[int, int]] = []
        while len(drawn) < n:
            drawn += self._draw(n - len(drawn))
        arrivals = [
            Arrival(self.taken + place, self._query_at(row, self.taken + place), str(session))
            for place, (row, session) in enumerate(drawn)
        ]
        self.taken += n
        self._apply_drift()
        return arrivals

    def _query_at(self, row: int, at: int) -> Query:
        return self.queries[row] if self.drift is None else self.drift.query_at(self.queries[row], at)

    def _apply_drift(self) -> None:
        """Apply the drift's assortment changes up to the clock."""
        if self.drift is not None:
            self.drift.apply_until(self.taken)

    def _draw(self, n: int) -> list[tuple[int, int]]:
        """Up to `n` distinct (row, session) in the order of a draw without replacement; fewer if fewer are possible."""
        rate_N = self._rate_N()
        infinite_N = np.full(len(rate_N), np.inf)
        exponential_N = -np.log(1.0 - self._generator.random(len(rate_N)))
        arrival_N = np.divide(exponential_N, rate_N, out=infinite_N, where=rate_N > 0)
        n = min(n, int(np.isfinite(arrival_N).sum()))
        first = np.argpartition(arrival_N, n - 1)[:n] if n < len(arrival_N) else np.arange(n)
        rows = iter(first[np.argsort(arrival_N[first], kind="stable")].tolist())
        drawn: dict[int, int] = {}
        for _ in range(n):
            row, session = self._next_in_session(rate_N, drawn) if self._continues_session() else (-1, -1)
            if row < 0:
                row, session = next(row for row in rows if row not in drawn), self._started
                self._started += 1
            drawn[row] = session
            if self.sessions:
                self._open = [*(one for one in self._open if one[0] != session), (session, row)][-OPEN_SESSIONS:]
        return list(drawn.items())

    def _rate_N(self) -> npt.NDArray[np.float64]:
        """Each query's rate now, (N,); 0 for queries of a brand not yet launched. Cached per set of active events."""
        key = () if self.drift is None else self.drift.traffic_key(self.taken)
        if key not in self._rates:
            shares_N = self._weight_N if self.drift is None else self.drift.traffic(self._weight_N, self.taken)
            self._rates = {key: shares_N}
        return self._rates[key]

    def _continues_session(self) -> bool:
        return self.sessions > 0 and bool(self._open) and self._generator.random() < self.sessions

    def _next_in_session(self, rate_N: npt.NDArray[np.float64], drawn: dict[int, int]) -> tuple[int, int]:
        """(row, session) that continues an open session; (-1, -1) where its topic has no other query left."""
        session, last = self._open[int(self._generator.integers(len(self._open)))]
        rows = self._rows_of[self._topic_N[last]]
        weight = rate_N[rows] * np.array([row != last and row not in drawn for row in rows.tolist()])
        ends = np.cumsum(weight)
        if not ends[-1] > 0:
            return -1, -1
        place = int(np.searchsorted(ends, self._generator.random() * ends[-1], side="right"))
        return int(rows[min(place, len(rows) - 1)]), session

    @cached_property
    def _topic_N(self) -> list[str]:
        if self._topics is not None:
            return [str(topic) for topic in self._topics]
        return [""] * len(self.queries) if self.drift is None else [str(name) for name in self.drift.department_N]

    @cached_property
    def _rows_of(self) -> dict[str, npt.NDArray[np.int64]]:
        """Topic → rows of its queries."""
        names = np.array(self._topic_N)
        return {name: np.flatnonzero(names == name) for name in dict.fromkeys(self._topic_N)}

    def state_dict(self) -> JsonDict:
        """Everything that the next draws depend on, as JSON values."""
        return {
            "generator": self._generator.bit_generator.state,
            "taken": self.taken,
            "frequency_exponent": self.frequency_exponent,
            "queries": self._fingerprint,
            "sessions": [self.sessions, self._started, [list(one) for one in self._open]],
        }

    def load_state_dict(self, state: JsonDict) -> None:
        """Continue where `state` was taken.

        Raises:
            IndexMismatchError: the state was saved for other queries, exponent, sessions or drift.
        """
        if state["queries"] != self._fingerprint or state["frequency_exponent"] != self.frequency_exponent:
            raise IndexMismatchError(
                "the stream's state was saved for other queries or frequency_exponent "
                f"({state['frequency_exponent']}, here {self.frequency_exponent}): "
                "resume with the same shop, split, frequency_exponent and drift, or start a new run"
            )
        sessions, started, open_sessions = state["sessions"]
        if sessions != self.sessions:
            raise IndexMismatchError(f"the stream's state was saved with sessions {sessions}, here {self.sessions}")
        self._generator.bit_generator.state = state["generator"]
        self.taken, self._started, self._open = int(state["taken"]), started, [tuple(one) for one in open_sessions]
        self._apply_drift()

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.queries, "" if self.drift is None else self.drift.fingerprint())


@dataclass
class StreamShare:
    """One process's share of a stream. Every process draws the queries of all and keeps its own part, so the stream's
    state and clock are the same in every process, and equal to those of a single process that takes everything."""

    stream: Stream
    """This process's copy of the whole stream."""
    part: int
    """Number of this process, from 0."""
    parts: int
    """Number of processes."""

    @property
    def taken(self) -> int:
        """Number of queries taken by all processes."""
        return self.stream.taken

    def take(self, n: int) -> list[Query]:
        """This part's n consecutive queries of the next n × parts."""
        return self.stream.take(n * self.parts)[self.part * n :][:n]

    def reseed(self, seed: int) -> None:
        """Restart the whole stream with another seed."""
        self.stream.reseed(seed)

    def state_dict(self) -> JsonDict:
        """State of the whole stream."""
        return self.stream.state_dict()

    def load_state_dict(self, state: JsonDict) -> None:
        """Restore the state of the whole stream."""
        self.stream.load_state_dict(state)


def fingerprint(queries: Sequence[Query], *more: str) -> str:
    """16 digits of SHA-256 over the queries in order and further texts."""
    lines = [f"{query.id}\0{query.text}\0{query.frequency!r}\n" for query in queries]
    return sha256_text("".join((*lines, *more)), 16)


def with_zipf(queries: Sequence[Query], exponent: float = 1.0, seed: int = 0) -> list[Query]:
    """The queries with frequencies by Zipf's law, 1,000 × rank⁻ˢ with random ranks: for a log without counts.

    Raises ConfigError where the exponent s is not positive.
    """
    if not 0 < exponent < np.inf:
        raise ConfigError(f"Zipf exponent {exponent}: must be positive, about 1")
    rank_N = 1.0 + np.random.default_rng(seed).permutation(len(queries))
    return [replace(q, frequency=f) for q, f in zip(queries, (1_000.0 / rank_N**exponent).tolist(), strict=True)]


def _weights(queries: Sequence[Query], frequency_exponent: float) -> npt.NDArray[np.float64]:
    """frequency ** frequency_exponent, scaled to a maximum of 1, (N,); at least e⁻⁶⁰⁰, so that no weight is 0."""
    frequency_N = np.array([query.frequency for query in queries], dtype=np.float64)
    if not np.all(np.isfinite(frequency_N) & (frequency_N >= 0)):
        bad = next(query for query in queries if not 0 <= query.frequency < np.inf)
        raise ConfigError(f"query {bad.id!r} has frequency {bad.frequency}: must be finite and ≥ 0")
    log_weight_N = frequency_exponent * np.log(np.maximum(frequency_N, 1e-300))
    weights: npt.NDArray[np.float64] = np.exp(np.maximum(log_weight_N - log_weight_N.max(), -600.0))
    return weights
