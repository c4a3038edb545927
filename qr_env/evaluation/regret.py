"""Metrics of online learning in a changing shop: regret against the oracle, forgetting, time to recover.

`OutcomeLog` writes their input; the metrics are pure functions.

    outcomes = read_outcomes(Path("out/drift/outcomes.jsonl"))
    report(outcomes, window=1_000)["policies"]["learning"]["recoveries"]

Input: one JSON line a query, in any order, with the gains of several policies on the same query at the same time:

    {"at": 6400, "query": "Q00017", "segment": "Furniture", "gain": {"learning": 0.21, "frozen": 0.0, "oracle": 0.4}}
    {"at": 6400, "event": "words", "length": 0, "share": 1.0, "what": ""}

`gain` is the gain in DCG over the original query (qr_env/reward/feedback.py), so keeping the original earns 0. null is
a missing verdict; a query with a missing verdict for any policy is left out for all. The oracle may keep the original
too: its gain is max(oracle, 0).

- regret: running sum of oracle − policy, in gains. (It decreases where a policy beats the oracle.)
- headroom share of some consecutive queries: sum of gains / sum of the oracle's. Sums, not a mean of ratios: most
  queries have no headroom at all.
- recovery: the share in the `window` queries before an event; after it, the number of queries until the share of the
  last `window` of them, all after the event, is back at `level` (0.8) of it. None: not before the next event
  or the end.
- forgetting of a segment: best share of its earlier windows − that of its last one (Chaudhry et al. 2018,
  arXiv 1801.10112, equation 3, in time instead of tasks). The best of noisy windows overstates it, for a frozen policy
  as well: compare the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qr_env.common.atomic_io import atomic_write
from qr_env.common.errors import ConfigError, DataError

Floats = npt.NDArray[np.float64]
ORACLE = "oracle"
LEVEL = 0.8
WINDOW = 1_000


@dataclass(frozen=True)
class Outcomes:
    """Gains of N queries, ordered by time."""

    at_N: npt.NDArray[np.int64]
    """(N,) time: number of queries before this one"""
    segment_N: npt.NDArray[np.str_]
    """(N,) segment names"""
    gains: dict[str, Floats]
    """policy → (N,) gains, no NaN"""
    events: list[dict[str, Any]] = field(default_factory=list)
    """drift events, ordered by time"""
    missing: int = 0
    """queries left out because of a missing verdict"""

    @property
    def oracle_N(self) -> Floats:
        """Best possible gain, (N,): the oracle's, or 0 for keeping the original."""
        return np.maximum(self.gains[ORACLE], 0.0)

    @property
    def policies(self) -> list[str]:
        """Names of the compared policies."""
        return [name for name in self.gains if name != ORACLE]


def read_outcomes(source: Path | Iterable[str]) -> Outcomes:
    """Read the lines. Raises DataError if a line is invalid, names other policies than the first, or there is none."""
    lines = source.read_text(encoding="utf-8").splitlines() if isinstance(source, Path) else source
    rows: list[tuple[int, int, dict[str, Any]]] = []
    events: list[tuple[int, int, dict[str, Any]]] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            (events if "event" in row else rows).append((row["at"], number, row))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(f"outcomes, line {number}: {line[:80]!r} is no outcome ({error!r})") from error
    outcomes = [row for _, _, row in sorted(rows, key=lambda row: row[:2])]
    if not outcomes:
        raise DataError("outcomes: there is no line of a query; only a run with `drift` writes them")
    names = list(outcomes[0]["gain"])
    if ORACLE not in names or any(list(row["gain"]) != names for row in outcomes):
        raise DataError(f"outcomes: every line must have the gains of {names}, and {ORACLE!r} among them")
    gains_NF = np.array([[row["gain"][name] for name in names] for row in outcomes], np.float64)
    known_N = ~np.isnan(gains_NF).any(axis=1)
    if not known_N.any():
        raise DataError("outcomes: every line has a missing verdict")
    return Outcomes(
        np.array([row["at"] for row in outcomes], np.int64)[known_N],
        np.array([row.get("segment", "") for row in outcomes], np.str_)[known_N],
        dict(zip(names, gains_NF[known_N].T, strict=True)),
        [row for _, _, row in sorted(events, key=lambda row: row[:2])],
        int((~known_N).sum()),
    )


def regret(outcomes: Outcomes, policy: str) -> Floats:
    """Cumulative regret up to each query, (N,)."""
    return np.cumsum(outcomes.oracle_N - outcomes.gains[policy])


def share(gains_N: Floats, oracle_N: Floats) -> float:
    """Headroom share of some queries; NaN if the oracle has no gain either."""
    total = float(oracle_N.sum())
    return float(gains_N.sum()) / total if total > 0 else float("nan")


def shares(gains_N: Floats, oracle_N: Floats, window: int) -> Floats:
    """Headroom share of consecutive windows, (N // window,): a remainder at the end joins the last one."""
    starts = np.arange(max(len(gains_N) // window, 1)) * window
    total = np.add.reduceat(oracle_N, starts)
    return np.divide(np.add.reduceat(gains_N, starts), total, out=np.full(len(total), np.nan), where=total > 0)


def trailing(gains_N: Floats, oracle_N: Floats, window: int) -> Floats:
    """Headroom share of each query and the window − 1 before it, (N − window + 1,); empty for fewer queries."""
    if len(gains_N) < window:
        return np.zeros(0)
    running = np.cumsum([np.append(0.0, gains_N), np.append(0.0, oracle_N)], axis=1)
    gain_N, total_N = running[:, window:] - running[:, :-window]
    return np.divide(gain_N, total_N, out=np.full(len(gain_N), np.nan), where=total_N > 1e-9)


@dataclass(frozen=True, slots=True)
class Recovery:
    """Recovery of one policy from one event, as headroom shares of windows."""

    event: str
    """name of the event"""
    at: int
    """time of the event, in queries"""
    before: float
    """share in the window before the event"""
    first: float
    """share in the first window after it"""
    lowest: float
    """lowest share of a window between it and the next event"""
    last: float
    """share in the last window before the next event"""
    queries: int | None
    """queries until a window reached `level` × `before`; None if none did"""


def recovery(
    outcomes: Outcomes, policy: str, at: int, until: int | None = None, window: int = WINDOW, level: float = LEVEL
) -> Recovery | None:
    """Recovery of a policy from an event at time `at`; None if less than one window lies before it, or between it and
    `until`.

    Raises ConfigError for a window below 1 or a level outside (0, 1].
    """
    if window < 1 or not 0 < level <= 1:
        raise ConfigError(f"window={window}, level={level}: window must be ≥ 1, level in (0, 1]")
    start, end = np.searchsorted(outcomes.at_N, [at, np.iinfo(np.int64).max if until is None else until]).tolist()
    gains_N, oracle_N = outcomes.gains[policy], outcomes.oracle_N
    if start < window or end - start < window:
        return None
    before = share(gains_N[start - window : start], oracle_N[start - window : start])
    after = trailing(gains_N[start:end], oracle_N[start:end], window)
    reached = np.flatnonzero(after >= level * before) + window
    took = int(outcomes.at_N[start + reached[0] - 1]) + 1 - at if len(reached) else None
    return Recovery("", at, before, float(after[0]), float(np.nanmin(after)), float(after[-1]), took)


def recoveries(outcomes: Outcomes, policy: str, window: int = WINDOW, level: float = LEVEL) -> list[Recovery]:
    """Recovery from each event of the log, up to the next event; those that cannot be measured are left out."""
    found = []
    starts = [int(event["at"]) for event in outcomes.events]
    for event, at in zip(outcomes.events, starts, strict=True):
        until = min((other for other in starts if other > at), default=None)
        one = recovery(outcomes, policy, at, until, window, level)
        if one is not None:
            found.append(replace(one, event=event["event"]))
    return found


def forgetting(outcomes: Outcomes, policy: str, window: int = WINDOW) -> dict[str, float]:
    """Segment → best earlier share − last share, over windows of that segment's own queries; those with less than two
    windows are left out."""
    lost: dict[str, float] = {}
    for name in np.unique(outcomes.segment_N).tolist():
        of_N = outcomes.segment_N == name
        by_window = shares(outcomes.gains[policy][of_N], outcomes.oracle_N[of_N], window)
        if len(by_window) > 1 and not np.isnan(by_window).all():
            lost[name] = float(np.nanmax(by_window[:-1]) - by_window[-1])
    return lost


def report(outcomes: Outcomes, window: int = WINDOW, level: float = LEVEL) -> dict[str, Any]:
    """All metrics as JSON values, by policy; a curve has one point a window."""
    ends = (np.arange(max(len(outcomes.at_N) // window, 1)) + 1) * window
    ends[-1] = len(outcomes.at_N)
    return {
        "queries": len(outcomes.at_N),
        "missing": outcomes.missing,
        "window": window,
        "level": level,
        "events": outcomes.events,
        "at": (outcomes.at_N[ends - 1] + 1).tolist(),
        "policies": {name: _policy(outcomes, name, ends, window, level) for name in outcomes.policies},
    }


def _policy(outcomes: Outcomes, name: str, ends: npt.NDArray[np.int64], window: int, level: float) -> dict[str, Any]:
    regret_N = regret(outcomes, name)
    return {
        "share": share(outcomes.gains[name], outcomes.oracle_N),
        "shares": shares(outcomes.gains[name], outcomes.oracle_N, window).tolist(),
        "regret": float(regret_N[-1]),
        "regrets": regret_N[ends - 1].tolist(),
        "recoveries": [asdict(one) for one in recoveries(outcomes, name, window, level)],
        "forgetting": forgetting(outcomes, name, max(window // 5, 1)),
    }


class OutcomeLog:
    """Appends outcome lines during a run; a resumed run first removes the lines that it will write again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append lines, NaN as null; they are on disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as handle:
            handle.writelines(json.dumps(_plain(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows)

    def rewind(self, at: int) -> None:
        """Drop every line of time `at` or later, and an incomplete one left by a kill."""
        if not self.path.is_file():
            return
        lines = self.path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if line.endswith(b"\n") and json.loads(line)["at"] < at]
        if kept != lines:
            atomic_write(self.path, b"".join(kept))


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with null for missing gains."""
    if "gain" not in row:
        return dict(row)
    return {**row, "gain": {name: None if value != value else float(value) for name, value in row["gain"].items()}}
