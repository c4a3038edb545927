"""Speed as a ratio: two ways of doing the same, timed in turns in one process, medians.

    pair = alternate(lambda: ours(batch), lambda: theirs(batch), pairs=7)
    print(pair.ratio)  # ours / theirs: 1.0 is equal, below is faster
    write_json("bench.json", stamped({**report({"bm25": pair}), "sizes": {"products": 20_000}}))

Turns, because a shared machine's speed drifts by more than what is measured; the ratio is the median over pairs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runs.common.provenance import environment


@dataclass(frozen=True, slots=True)
class Pair:
    """Seconds of each turn, same length: `ours[i]` and `theirs[i]` were timed one after the other."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Median of ours / theirs."""
        return statistics.median(a / b for a, b in zip(self.ours, self.theirs, strict=True))


def alternate(ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int = 5) -> Pair:
    """Time both `pairs` times after one turn that does not count; who goes first changes from pair to pair."""
    ours(), theirs()
    mine, other = [], []
    for turn in range(pairs):
        if turn % 2:
            other.append(seconds(theirs))
            mine.append(seconds(ours))
        else:
            mine.append(seconds(ours))
            other.append(seconds(theirs))
    return Pair(tuple(mine), tuple(other))


def seconds(action: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def report(pairs: Mapping[str, Pair]) -> dict[str, Any]:
    """Ratios, and the median seconds behind them."""
    return {
        "ratios": {name: round(pair.ratio, 4) for name, pair in pairs.items()},
        "seconds": {
            name: {"ours": statistics.median(pair.ours), "theirs": statistics.median(pair.theirs)}
            for name, pair in pairs.items()
        },
    }


def stamped(measured: Mapping[str, Any]) -> dict[str, Any]:
    """A report, which holds `ratios` and `sizes`, with commit, machine and versions: what every `qr bench` writes."""
    return {**measured, **environment()}
