"""Speed as a ratio of two implementations of the same work, timed alternately in one process; medians.

    pair = alternate(lambda: ours(batch), lambda: theirs(batch), pairs=7)
    print(pair.ratio)  # ours / theirs: 1.0 is equal, below is faster
    write_json("bench.json", stamped({**report({"bm25": pair}), "sizes": {"products": 20_000}}))

They alternate because a shared machine's speed drifts by more than the difference that is measured; the ratio is the
median over pairs.
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
    """Wall times of two implementations, measured alternately: `ours[i]` and `theirs[i]` directly after each other."""

    ours: tuple[float, ...]
    """Seconds of each turn of ours."""
    theirs: tuple[float, ...]
    """Seconds of each turn of the other implementation; as many."""

    @property
    def ratio(self) -> float:
        """Median of ours / theirs."""
        return statistics.median(a / b for a, b in zip(self.ours, self.theirs, strict=True))


def alternate(ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int = 5) -> Pair:
    """Time both `pairs` times after one warm-up each; which one is first alternates from pair to pair."""
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
    """Ratios, and the median seconds of both sides, as JSON values."""
    return {
        "ratios": {name: round(pair.ratio, 4) for name, pair in pairs.items()},
        "seconds": {
            name: {"ours": statistics.median(pair.ours), "theirs": statistics.median(pair.theirs)}
            for name, pair in pairs.items()
        },
    }


def stamped(measured: Mapping[str, Any]) -> dict[str, Any]:
    """A report with `ratios` and `sizes`, plus commit, machine and versions: what every `qr bench` writes."""
    return {**measured, **environment()}
