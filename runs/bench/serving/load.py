"""Load for an HTTP service: a closed loop of hits by wrk, an open loop of queries that were never asked before."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from qr_env.common.messages import print_message

SCRIPT = """
local bodies = {}
for line in io.lines("BODIES") do bodies[#bodies + 1] = line end
math.randomseed(7)
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function() return wrk.format(nil, "/rewrite", nil, bodies[math.random(#bodies)]) end
"""
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass
class Times:
    """Answers of a load."""

    milliseconds: list[float] = field(default_factory=list)
    """Of every answer, where they are known."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why answers were the original; "" where they were not."""
    sources: Counter[str] = field(default_factory=Counter)
    """Who decided."""
    failed: int = 0
    """Requests without status 200."""

    def figures(self) -> dict[str, float]:
        """Percentiles in ms, and shares."""
        total = len(self.milliseconds)
        p50, p95, p99 = np.percentile(self.milliseconds, (50, 95, 99)).tolist() if total else [float("nan")] * 3
        over = float(np.mean(np.asarray(self.milliseconds) > 50)) if total else float("nan")
        fallbacks = sum(count for reason, count in self.reasons.items() if reason)
        return {
            "requests": total, "p50 ms": p50, "p95 ms": p95, "p99 ms": p99, "above 50 ms": over,
            "originals": fallbacks / max(total, 1), "failed": self.failed,
        }  # fmt: skip


def closed_loop(url: str, queries: Sequence[str], seconds: float, connections: int) -> dict[str, float]:
    """Requests a second and percentiles of queries drawn at random, by wrk, else by a client in this process.

    In a closed loop a slow answer delays the next request of its connection: percentiles are those of the answers that
    were asked for, not of a traffic that goes on.
    """
    if shutil.which("wrk") is None:
        print_message("note: wrk is not installed (apt-get install wrk); a client in Python asks, which is slower")
        return asyncio.run(_python_loop(url, queries, seconds, connections))
    with tempfile.TemporaryDirectory() as folder:
        bodies, script = Path(folder) / "bodies", Path(folder) / "hits.lua"
        bodies.write_text("".join(json.dumps({"query": query}) + "\n" for query in queries), encoding="utf-8")
        script.write_text(SCRIPT.replace("BODIES", str(bodies)), encoding="utf-8")
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", str(script), url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return parse_wrk(done.stdout)


def parse_wrk(text: str) -> dict[str, float]:
    """The figures of wrk's report."""
    percentiles = re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)$", text, re.MULTILINE)
    values = {f"p{share} ms": float(number) * UNITS[unit] for share, number, unit in percentiles}
    rate, total = re.search(r"Requests/sec:\s+([\d.]+)", text), re.search(r"(\d+) requests in", text)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return values | {
        "requests/s": float(rate[1]) if rate else float("nan"),
        "requests": float(total[1]) if total else 0.0,
        "failed": float(failed[1]) if failed else 0.0,
    }


async def _python_loop(url: str, queries: Sequence[str], seconds: float, connections: int) -> dict[str, float]:
    times, rng, end = Times(), np.random.default_rng(7), time.perf_counter() + seconds

    async def ask(client: httpx.AsyncClient) -> None:
        while (now := time.perf_counter()) < end:
            await _ask(client, url, queries[int(rng.integers(len(queries)))], now, times)

    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        await asyncio.gather(*(ask(client) for _ in range(connections)))
    return times.figures() | {"requests/s": len(times.milliseconds) / seconds}


def open_loop(url: str, queries: Sequence[str], rate: float, seed: int) -> Times:
    """Each query once, at random times with a mean rate; times count from when a query should have been sent."""
    return asyncio.run(_arrivals(url, queries, rate, seed))


async def _arrivals(url: str, queries: Sequence[str], rate: float, seed: int) -> Times:
    times, at = Times(), np.cumsum(np.random.default_rng(seed).exponential(1 / rate, len(queries)))
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        await client.get(f"{url}/health")
        started, tasks = time.perf_counter(), []
        for query, moment in zip(queries, at.tolist(), strict=True):
            await asyncio.sleep(max(started + moment - time.perf_counter(), 0.0))
            tasks.append(asyncio.create_task(_ask(client, url, query, started + moment, times)))
        await asyncio.gather(*tasks)
    return times


async def _ask(client: httpx.AsyncClient, url: str, query: str, since: float, times: Times) -> None:
    try:
        response = await client.post(f"{url}/rewrite", json={"query": query})
    except httpx.HTTPError:
        times.failed += 1
        return
    times.milliseconds.append((time.perf_counter() - since) * 1e3)
    if response.status_code != 200:
        times.failed += 1
        return
    answer = response.json()
    times.reasons[answer["reason"]] += 1
    times.sources[answer["source"]] += 1
