"""Speed as a ratio: two ways of doing the same, timed in turns in one process, medians.

    pair = alternate(lambda: ours(batch), lambda: theirs(batch), pairs=7)
    print(pair.ratio)  # ours / theirs: 1.0 is equal, below is faster
    write_json("bench.json", stamped({**report({"bm25": pair}), "sizes": {"products": 20_000}}))

Turns, because a shared machine's speed drifts by more than what is measured; the ratio is the median over pairs.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("bm25s", "faiss-cpu", "gymnasium", "numba", "numpy", "sentence-transformers", "torch", "transformers")


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
    """A report, which holds `ratios` and `sizes`, with versions and machine: what every `qr bench` writes."""
    return {**measured, "versions": versions(), "machine": machine()}


def versions() -> dict[str, str]:
    """Python's, and of the packages whose speed is measured, where installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Processor, cores this process may use, memory, and how busy the machine was."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = round(os.getloadavg()[0], 2)
    return {
        "cpu": model,
        "cores": cores,
        "memory_gib": round(pages / 2**30, 1),
        "load": load,
        "os": platform.platform(),
    }
