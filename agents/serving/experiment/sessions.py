"""Complete sessions from a log of served queries and events, read as it grows.

    reader = LogReader(folder)
    collector = SessionCollector(share_at, gap=1800)
    collector.add(*reader.read())                      # what was appended since the last call
    outcomes = collector.complete(now)                 # sessions without activity for `gap` seconds

A session belongs to the variant of its first query. One that saw two variants, as at a change of the shares, is left
out and counted; so is the holdout, which is compared by `qr ope` and reports.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agents.serving.experiment.assignment import CANDIDATE, HOLDOUT
from agents.serving.experiment.controller import SessionOutcomes
from agents.serving.experiment.settings import METRICS
from qr_env.common.messages import print_message
from qr_env.traffic.ubi import EVENT_LINES, QUERIES, ServedQuery, ShopperEvent, parse_event, parse_query


class LogReader:
    """Reads what is appended to the files of a folder. Args: folder: of `agents.serving.service.event_log.EventLog`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._offsets: dict[Path, int] = {}
        self.damaged = 0

    def read(self) -> tuple[list[ServedQuery], list[ShopperEvent]]:
        """Queries and events since the last call; a line that is still being written is left for the next one."""
        queries = [parse_query(values) for values in self._lines(QUERIES)]
        events = [parse_event(values) for values in self._lines(EVENT_LINES)]
        return queries, events

    def _lines(self, kind: str) -> Iterable[dict[str, Any]]:
        for path in sorted(self.folder.glob(f"{kind}*.ndjson")):
            start = self._offsets.get(path, 0)
            if path.stat().st_size <= start:
                continue
            with path.open("rb") as file:
                file.seek(start)
                content = file.read()
            end = content.rfind(b"\n") + 1
            self._offsets[path] = start + end
            for line in content[:end].splitlines():
                try:
                    values = json.loads(line)
                    (parse_query if kind == QUERIES else parse_event)(values)
                except (ValueError, TypeError, AttributeError, KeyError):
                    self.damaged += 1
                    print_message(f"note: a line of {path.name} cannot be read and is left out")
                    continue
                yield values


@dataclass
class _Session:
    """What a session did so far."""

    variant: str
    """Of its first query."""
    first: float
    """Time of its first query."""
    last: float
    """Time of its last query or event."""
    queries: int = 0
    """Number of queries."""
    empty: int = 0
    """Queries without a result."""
    clicks: int = 0
    """Clicks."""
    bought: bool = False
    """Whether it bought anything."""
    revenue: float = 0.0
    """Sum of prices times quantities; unknown prices count as 0."""
    mixed: bool = False
    """Whether it saw two variants."""
    seen: set[str] = field(default_factory=set)
    """Ids of its events."""


class SessionCollector:
    """Gathers sessions.

    Args:
        share_at: time → share of the candidate then.
        gap: seconds without activity after which a session is complete.
    """

    def __init__(self, share_at: Callable[[float], float], gap: float) -> None:
        self._share_at, self._gap = share_at, gap
        self._sessions: dict[str, _Session] = {}
        self._session_of: dict[str, str] = {}
        self.mixed = self.holdout = self.unknown_events = 0

    def add(self, queries: Iterable[ServedQuery], events: Iterable[ShopperEvent]) -> None:
        """Add queries, then events, which refer to queries by their id."""
        for served in queries:
            name = served.session_id or served.client_id or served.query_id
            session = self._sessions.setdefault(name, _Session(served.variant, served.timestamp, served.timestamp))
            session.mixed |= session.variant != served.variant
            session.last = max(session.last, served.timestamp)
            session.queries += 1
            session.empty += not served.product_ids
            self._session_of[served.query_id] = name
        for event in events:
            session_ = self._sessions.get(self._session_of.get(event.query_id, ""))
            if session_ is None:
                self.unknown_events += 1
                continue
            self._count(session_, event)

    def _count(self, session: _Session, event: ShopperEvent) -> None:
        if event.event_id and event.event_id in session.seen:
            return
        session.seen.add(event.event_id)
        session.last = max(session.last, event.timestamp)
        session.clicks += event.action == "click"
        if event.action == "purchase":
            session.bought = True
            session.revenue += event.quantity * (0.0 if np.isnan(event.price) else event.price)

    def complete(self, now: float) -> SessionOutcomes:
        """The sessions that are complete at this time; they are forgotten, and late events of them do not count."""
        done = {name: one for name, one in self._sessions.items() if now - one.last >= self._gap}
        for name in done:
            del self._sessions[name]
        self._session_of = {query: name for query, name in self._session_of.items() if name in self._sessions}
        counted = []
        for session in sorted(done.values(), key=_first):
            self.mixed += session.mixed
            self.holdout += session.variant == HOLDOUT and not session.mixed
            if not session.mixed and session.variant != HOLDOUT:
                counted.append(session)
        value_N4 = np.array(
            [[one.clicks, one.bought, one.revenue, one.empty / one.queries] for one in counted], np.float64
        ).reshape(-1, len(METRICS))
        candidate_N = np.array([one.variant == CANDIDATE for one in counted], np.bool_)
        share_N = np.array([self._share_at(one.first) for one in counted], np.float64)
        return SessionOutcomes(candidate_N, share_N, value_N4, np.array([one.first for one in counted], np.float64))


def _first(session: _Session) -> float:
    return session.first
