"""`QueryStream`: endless, seeded, resumable query traffic in which popular queries come more often.

stream = QueryStream(shop.split("train"), seed=0)
queries = stream.take(64)
state = stream.state_dict()            # JSON; a new stream that loads it goes on exactly here

QueryStream(with_zipf(queries), sessions=0.3)       # a log without counts; a third of the queries follow up another
QueryStream(drift.queries, drift=drift)             # traffic, words and assortment change (qr_env/traffic/drift.py)
ReplayLog.read("log.csv", shop)                     # what was asked, in its order (qr_env/traffic/replay_log.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError, IndexMismatchError
from qr_env.common.hashing import sha256_text
from qr_env.common.protocols import Stream
from qr_env.common.types import Query
from qr_env.traffic.drift import Drift

OPEN_SESSIONS = 64  # shoppers who may come back with a further query; who came first leaves first


@dataclass(frozen=True, slots=True)
class Arrival:
    """One query at the shop. at: how many came before it. session: whose it is. time: seconds since 1970, NaN where no
    log says."""

    at: int
    query: Query
    session: str = ""
    time: float = float("nan")


class QueryStream:
    """Draws queries with probability ∝ frequency ** frequency_exponent, without repeats inside one `take`.

    frequency_exponent 1 is the shop's own traffic, 0 is uniform, between them the tail is seen more often. Sampling without
    replacement is a race: every query arrives after an exponential time of its weight's rate, and the first n are
    taken; its logarithm is the Gumbel top-k trick (Kool et al. 2019, arXiv 1903.06059), with the same draws. A query
    of frequency 0 is drawn only after all others.

    Sessions. With chance `sessions` the next query is a further one of a shopper who is there already: drawn by the
    same weights from the department of that shopper's last query. A session's length is thus geometric.

    Args:
        queries: what can be drawn, at least one.
        seed: of the stream's own generator; no global random state is touched.
        frequency_exponent: exponent of the frequency, ≥ 0.
        sessions: share of the queries that follow up another one, in [0, 1).
        topics: (queries,) what a session stays with; None: the drift's departments, or one topic for all.
        drift: what changes while queries stream in; made for the same queries.

    Raises:
        ConfigError: no queries, a negative frequency_exponent, a frequency that is negative or not finite, another drift's queries.
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
        self.frequency_exponent, self.sessions, self.drift, self._topics = (
            float(frequency_exponent),
            float(sessions),
            drift,
            topics,
        )
        self._weight_N = _weights(self.queries, self.frequency_exponent)
        self._chances: dict[tuple[bool, ...], npt.NDArray[np.float64]] = {}
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Begin anew with another seed: clock 0, no session open."""
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self.taken = 0
        self._started = 0
        self._open: list[tuple[int, int]] = []  # (session, row of its last query), the oldest first
        self._settle()

    def __iter__(self) -> QueryStream:
        return self

    def __next__(self) -> Query:
        return self.take(1)[0]

    def take(self, n: int) -> list[Query]:
        """The next `n` queries. Distinct while n ≤ number of queries; beyond it, in rounds of all queries."""
        return [arrival.query for arrival in self.arrivals(n)]

    def arrivals(self, n: int) -> list[Arrival]:
        """The same, with clock and session."""
        if n < 0:
            raise ConfigError(f"take({n}): n must be ≥ 0")
        drawn: list[tuple[int, int]] = []
        while len(drawn) < n:
            drawn += self._draw(n - len(drawn))
        arrivals = [
            Arrival(self.taken + place, self._worded(row, self.taken + place), str(session))
            for place, (row, session) in enumerate(drawn)
        ]
        self.taken += n
        self._settle()
        return arrivals

    def _worded(self, row: int, at: int) -> Query:
        return self.queries[row] if self.drift is None else self.drift.worded(self.queries[row], at)

    def _settle(self) -> None:
        """What is due by now changes in the shop."""
        if self.drift is not None:
            self.drift.settle(self.taken)

    def _draw(self, n: int) -> list[tuple[int, int]]:
        """Up to `n` distinct (row, session), in the order of a draw without replacement; n, or all that can come."""
        chance_N = self._chance_N()
        never_N = np.full(len(chance_N), np.inf)
        waits_N = -np.log(1.0 - self._generator.random(len(chance_N)))
        arrival_N = np.divide(waits_N, chance_N, out=never_N, where=chance_N > 0)
        n = min(n, int(np.isfinite(arrival_N).sum()))
        first = np.argpartition(arrival_N, n - 1)[:n] if n < len(arrival_N) else np.arange(n)
        rows = iter(first[np.argsort(arrival_N[first], kind="stable")].tolist())
        drawn: dict[int, int] = {}
        for _ in range(n):
            row, session = self._follow_up(chance_N, drawn) if self._comes_back() else (-1, -1)
            if row < 0:
                row, session = next(row for row in rows if row not in drawn), self._started
                self._started += 1
            drawn[row] = session
            if self.sessions:
                self._open = [*(one for one in self._open if one[0] != session), (session, row)][-OPEN_SESSIONS:]
        return list(drawn.items())

    def _chance_N(self) -> npt.NDArray[np.float64]:
        """Each query's rate now, (N,); 0 for what cannot come yet. Made once for each set of events."""
        key = () if self.drift is None else self.drift.traffic_key(self.taken)
        if key not in self._chances:
            shares_N = self._weight_N if self.drift is None else self.drift.traffic(self._weight_N, self.taken)
            self._chances = {key: shares_N}
        return self._chances[key]

    def _comes_back(self) -> bool:
        return self.sessions > 0 and bool(self._open) and self._generator.random() < self.sessions

    def _follow_up(self, chance_N: npt.NDArray[np.float64], drawn: dict[int, int]) -> tuple[int, int]:
        """A further query of a shopper who is there; (-1, -1) where her department has no other one left."""
        session, last = self._open[int(self._generator.integers(len(self._open)))]
        rows = self._rows_of[self._topic_N[last]]
        weight = chance_N[rows] * np.array([row != last and row not in drawn for row in rows.tolist()])
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

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides what comes next, as JSON values."""
        return {
            "generator": self._generator.bit_generator.state,
            "taken": self.taken,
            "frequency_exponent": self.frequency_exponent,
            "queries": self._fingerprint,
            "sessions": [self.sessions, self._started, [list(one) for one in self._open]],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            IndexMismatchError: the state belongs to other queries, another frequency_exponent, sessions or drift.
        """
        if state["queries"] != self._fingerprint or state["frequency_exponent"] != self.frequency_exponent:
            raise IndexMismatchError(
                f"the stream's state was saved for other queries or frequency_exponent ({state['frequency_exponent']}, here {self.frequency_exponent}): "
                "resume with the same shop, split, frequency_exponent and drift, or start a new run"
            )
        sessions, started, left = state["sessions"]
        if sessions != self.sessions:
            raise IndexMismatchError(f"the stream's state was saved with sessions {sessions}, here {self.sessions}")
        self._generator.bit_generator.state = state["generator"]
        self.taken, self._started, self._open = int(state["taken"]), started, [tuple(one) for one in left]
        self._settle()

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.queries, "" if self.drift is None else self.drift.fingerprint())


@dataclass
class StreamShare:
    """One of `parts` equal shares of a stream that as many processes hold: each draws for all and takes its own, so the
    stream's state and clock are the same everywhere, and those of one process that takes everything."""

    stream: Stream
    part: int
    parts: int

    @property
    def taken(self) -> int:
        """By all."""
        return self.stream.taken

    def take(self, n: int) -> list[Query]:
        """This part's n of the next n × parts queries, which lie side by side."""
        return self.stream.take(n * self.parts)[self.part * n :][:n]

    def reseed(self, seed: int) -> None:
        """Of the whole stream."""
        self.stream.reseed(seed)

    def state_dict(self) -> dict[str, Any]:
        """Of the whole stream."""
        return self.stream.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Of the whole stream."""
        self.stream.load_state_dict(state)


def fingerprint(queries: Sequence[Query], *more: str) -> str:
    """Of queries, in order, and of what else decides."""
    lines = [f"{query.id}\0{query.text}\0{query.frequency!r}\n" for query in queries]
    return sha256_text("".join((*lines, *more)), 16)


def with_zipf(queries: Sequence[Query], exponent: float = 1.0, seed: int = 0) -> list[Query]:
    """The queries with frequencies by Zipf's law, rank⁻ˢ × 1,000, ranks drawn: for a log that does not count.

    Raises ConfigError where the exponent s is not positive.
    """
    if not 0 < exponent < np.inf:
        raise ConfigError(f"Zipf exponent {exponent}: must be positive, about 1")
    rank_N = 1.0 + np.random.default_rng(seed).permutation(len(queries))
    return [replace(q, frequency=f) for q, f in zip(queries, (1_000.0 / rank_N**exponent).tolist(), strict=True)]


def _weights(queries: Sequence[Query], frequency_exponent: float) -> npt.NDArray[np.float64]:
    """frequency ** frequency_exponent, the largest 1, (N,); never 0, so that what is never searched comes after all others."""
    frequency_N = np.array([query.frequency for query in queries], dtype=np.float64)
    if not np.all(np.isfinite(frequency_N) & (frequency_N >= 0)):
        bad = next(query for query in queries if not 0 <= query.frequency < np.inf)
        raise ConfigError(f"query {bad.id!r} has frequency {bad.frequency}: must be finite and ≥ 0")
    log_weight_N = frequency_exponent * np.log(np.maximum(frequency_N, 1e-300))
    weights: npt.NDArray[np.float64] = np.exp(np.maximum(log_weight_N - log_weight_N.max(), -600.0))
    return weights
