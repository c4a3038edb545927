"""`qr bench serve`; settings: `runs/bench/args.py`."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from agents.serving.table.entry import TableEntry
from agents.serving.table.opening import open_table
from qr_env.common.errors import ConfigError
from qr_env.shop.load import load_shop
from runs.bench.args import ServeBenchArgs
from runs.bench.output import named_values, publish
from runs.bench.serving.load import Times, closed_loop, open_loop
from runs.bench.serving.process import ServeProcess
from runs.common.serving.rewriter import plan_rewriter

LOOK_UPS = 20_000
WARM = 20  # misses that are not timed


def main(args: ServeBenchArgs) -> None:
    """Measure, print, write."""
    for name in ("seconds", "connections", "rate", "heads"):
        if not getattr(args, name) > 0:
            raise ConfigError(f"{name}={getattr(args, name)}: must be above 0")
    plan = plan_rewriter(args.agent, args)
    shop = load_shop(plan.shop, plan.data)
    typed = shop.queries.sort_by([("frequency", "descending"), ("query_id", "ascending")])["query"].to_pylist()
    heads, fresh = typed[: args.heads], fresh_queries(typed)
    measured: dict[str, Any] = {"figures": {}, "ratios": {}}
    if args.table:
        heads = table_queries(args)
        measured["figures"]["look-up in process"] = look_ups(args, heads)
    with tempfile.TemporaryDirectory() as log, ServeProcess(flags(args, log)) as served:
        measured["figures"]["misses"] = misses(served, args, fresh)
        closed_loop(served.url, heads, 3, args.connections)  # every head query has been rewritten once
        measured["figures"]["hits"] = closed_loop(served.url, heads, args.seconds, args.connections)
        if args.requests:
            measured["figures"]["memory"] = memory(served, args, heads)
    if args.generate:
        with tempfile.TemporaryDirectory() as log, ServeProcess(flags(args, log), generate=True) as served:
            slow = measured["figures"]["misses, generate"] = misses(served, args, fresh)
        quick = measured["figures"]["misses"]
        measured["ratios"] = {f"generate / ours, {name}": slow[name] / quick[name] for name in ("p50 ms", "p99 ms")}
    measured["sizes"] = {"heads": len(heads), "connections": args.connections, "misses a second": args.rate}
    lines = [f"{name}: {named_values(values, ',.4g')}" for name, values in measured["figures"].items()]
    publish(measured, [*lines, named_values(measured["ratios"], ".2f")], args.json)


def table_queries(args: ServeBenchArgs) -> list[str]:
    """The most frequent queries of the table."""
    table = open_table(args.table)
    entries = sorted(table.entries(), key=_searches, reverse=True)[: args.heads]
    table.close()
    return [entry.rewritten.query for entry in entries]


def _searches(entry: TableEntry) -> float:
    return entry.rewritten.frequency


def look_ups(args: ServeBenchArgs, queries: list[str]) -> dict[str, float]:
    """Times of single look-ups in this process."""
    table, times = open_table(args.table), Times()
    for query in itertools.islice(itertools.cycle(queries), LOOK_UPS):
        started = time.perf_counter()
        table.look_up([query])
        times.milliseconds.append((time.perf_counter() - started) * 1e3)
    table.close()
    return times.figures()


def flags(args: ServeBenchArgs, log: str) -> list[str]:
    """Flags of the measured service."""
    given = [args.agent, "--log", log, "--deadline-ms", str(args.deadline_ms)]
    for name in ("shop", "retriever", "combine", "table", "cache", "language", "data"):
        value = getattr(args, name)
        given += [f"--{name}", str(value)] if value else []
    return given


def fresh_queries(typed: list[str]) -> Iterator[str]:
    """Queries that are all different: the shop's rarest first, then pairs of them."""
    yield from reversed(typed)
    for one, other in itertools.permutations(typed, 2):
        yield f"{one} {other.split()[0]}"


def misses(served: ServeProcess, args: ServeBenchArgs, fresh: Iterator[str]) -> dict[str, float]:
    """Times of queries that were never asked before."""
    open_loop(served.url, list(itertools.islice(fresh, WARM)), args.rate, args.seed)
    count = max(int(args.seconds * args.rate), 1)
    return open_loop(served.url, list(itertools.islice(fresh, count)), args.rate, args.seed).figures()


def memory(served: ServeProcess, args: ServeBenchArgs, heads: list[str]) -> dict[str, float]:
    """Resident memory before, after half and after all of the requests, in MB."""
    done, seen = 0.0, [(0.0, served.memory_mb())]
    with tqdm(total=args.requests, desc="memory", unit="request", mininterval=5.0) as bar:
        while done < args.requests:
            figures = closed_loop(served.url, heads, args.seconds, args.connections)
            done += figures["requests"]
            bar.update(min(figures["requests"], args.requests - bar.n))
            seen.append((done, served.memory_mb()))
    half = min(seen, key=lambda one: abs(one[0] - done / 2))
    return {"requests": done, "start MB": seen[0][1], "middle MB": half[1], "end MB": seen[-1][1]}
