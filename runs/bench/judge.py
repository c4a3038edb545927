"""Speed of the LLM judge: our label probabilities against the usual practice, on one live vLLM server.

    make vllm && qr bench judge --json bench_judge.json      # starts a server; runs/bench/job.py calls `bench`
    qr bench judge --url http://127.0.0.1:8000/v1            # on a server that runs

Each round takes queries that no round had before, drawn anew in every run, because a server remembers prompts; each
with the products that BM25 finds for it. Every contender grades the same pairs of query and product text (title, brand
and color), in turns that rotate, so that none always profits from a prefix that another left in the server's cache;
beyond the rubric none shares a prompt:

- label: one token a pair, read as probabilities (`grade_v2`).
- list: one request for twenty products of a query, one token a product, read as probabilities (`list_v2`).
- json, reason: the usual practice, a JSON reply a pair, without or with a reason before the grade, 32 requests in
  flight. They share our client, its connections, its order of requests by query and our prompt's layout, so they are
  as fast as that practice can be; whoever writes the rubric below the product waits longer.

Then the last pairs from a warm store. `list / json` is how many times as many verdicts a second, the median over
rounds of the ratio within a round. Where the server is our own, the CPU seconds that it spent on a verdict are
reported too: unlike the clock they hardly depend on what else the machine does, which is noted as the load. Tokens are
the server's own count: what it computed of prompts, what its prefix cache spared it, what it generated.

A list has a price: a verdict depends on the product's place and neighbours. `order_bias` says how much, from grading
the last round's lists once more in reverse.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from judges.llm.judge import LLMJudge
from judges.verdict_store.index import digests, pair_keys
from judges.verdict_store.store import VerdictStore
from qr_env.common.errors import DataError, StoreError
from qr_env.common.protocols import Retriever
from qr_env.common.types import GAINS, FloatArray
from qr_env.llm.client import Client
from qr_env.shop.shop import Shop

CONTENDERS: dict[str, tuple[int, dict[str, Any]]] = {  # products in flight, settings of the judge
    "label": (64, {"prompt": "grade_v2", "batch": 10}),
    "list": (640, {"prompt": "list_v2"}),  # 32 requests, as many as the others have
    "json": (32, {"prompt": "json_v2"}),
    "reason": (32, {"prompt": "reason_v2"}),
}
OURS, THEIRS = ("label", "list"), ("json", "reason")
TOKENS = {  # by name: vLLM's counter
    "computed": r'prompt_tokens_by_source_total\{.*source="local_compute".*\}',
    "cached": r'prompt_tokens_by_source_total\{.*source="local_cache_hit".*\}',
    "generated": r"generation_tokens_total\{.*\}",
}
LOOKUPS = 100_000  # from the warm store, the pairs over and over
Floats = npt.NDArray[np.float64]
Pairs = list[tuple[str, str]]
Lists = list[tuple[str, list[str]]]


def bench(
    shop: Shop,
    retriever: Retriever,
    url: str,
    pairs: int = 640,
    k: int = 20,
    rounds: int = 3,
    group: int | None = None,
    model: str | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Ratios, verdicts a second, tokens and CPU seconds a verdict.

    pairs: a round, in lists of k products. group: process group of the server, where it is ours. model: its name there.
    seed: of the draw of queries; None takes another every time, as it should be on a server that has seen the bench.
    """
    seed = time.time_ns() % 2**32 if seed is None else seed
    judges = {
        name: LLMJudge(Client(url, concurrency=flight, timeout=600.0), model, min_mass=0.0, **how)
        for name, (flight, how) in CONTENDERS.items()
    }
    turns, step = {name: Turns(judge, url, group) for name, judge in judges.items()}, max(pairs // k, 1)
    lists = lists_of(shop, retriever, judges["list"].product_texts(shop), rounds * step, k, seed)
    load = []
    for start in range(0, len(lists), step):
        part = lists[start : start + step]
        load.append(round(os.getloadavg()[0], 2))
        order = np.roll(list(turns), start // step).tolist()
        for name in order:
            turns[name].take(flat(part))
    store = _store_seconds(judges["list"], flat(part), turns["list"].last)
    rates = {name: 1 / median(turn.wall) for name, turn in turns.items()}
    return {
        "ratios": _ratios(turns, store),
        "verdicts_per_second": rates | {"store": 1 / store},
        "a_verdict": {name: turn.costs() for name, turn in turns.items()},
        "order_bias": order_bias(judges["list"], part, turns["list"].last),
        "sizes": {
            "shop": repr(shop),
            "pairs": len(flat(lists)),
            "rounds": len(load),
            "k": k,
            "load": load,
            "seed": seed,
        },
        "server": judges["list"].capabilities[0].as_dict(),
    }


class Turns:
    """What a contender needed, a value a round: `wall` and `cpu` seconds and `tokens` a verdict; `last`: its
    verdicts."""

    def __init__(self, judge: LLMJudge, url: str, group: int | None) -> None:
        self.judge, self.url, self.group = judge, url, group
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.tokens: list[Floats] = []
        self.last: FloatArray = np.zeros((0, 4), np.float32)
        self.judge.server  # noqa: B018 - put to the proof before the clock runs

    def take(self, pairs: Pairs) -> None:
        """Grade the pairs once."""
        tokens, cpu, start = server_tokens(self.url), cpu_seconds(self.group), time.perf_counter()
        self.last = self.judge.grade_pairs(pairs)
        self.wall.append((time.perf_counter() - start) / len(pairs))
        self.cpu.append((cpu_seconds(self.group) - cpu) / len(pairs))
        self.tokens.append((server_tokens(self.url) - tokens) / len(pairs))

    def costs(self) -> dict[str, float]:
        """A verdict's tokens and CPU seconds, and the share of missing verdicts."""
        stats, means = self.judge.stats(), np.mean(self.tokens, axis=0).tolist()
        costs = {f"{kind} tokens": mean for kind, mean in zip(TOKENS, means, strict=True)}
        return costs | {"missing": stats["missing"] / stats["asked"], "server CPU seconds": median(self.cpu)}


def _ratios(turns: dict[str, Turns], store: float) -> dict[str, float]:
    """How many times as fast; the median over rounds of the ratio within a round."""
    ratios = {}
    for ours in OURS:
        for theirs in THEIRS:
            pairs = zip(turns[theirs].wall, turns[ours].wall, strict=True)
            ratios[f"{ours} / {theirs}"] = median(slow / fast for slow, fast in pairs)
            if turns[ours].group is not None:
                pairs = zip(turns[theirs].cpu, turns[ours].cpu, strict=True)
                ratios[f"{ours} / {theirs}, by server CPU"] = median(slow / fast for slow, fast in pairs)
    return ratios | {"store / list": median(turns["list"].wall) / store}


def lists_of(shop: Shop, retriever: Retriever, texts: Sequence[str], count: int, k: int, seed: int) -> Lists:
    """`count` random queries of the shop with the texts of the k products found for each, those with fewer left out."""
    queries = list(dict.fromkeys(query.text for query in shop.split("test") or shop.all_queries))
    np.random.default_rng(seed).shuffle(queries)
    queries = queries[: 20 * count]
    found = retriever.search(queries, k).rows_NK
    full = np.flatnonzero((found >= 0).all(axis=1))[:count]
    if not len(full):
        raise DataError(f"{shop!r}: no query finds {k} products")
    return [(queries[n], [texts[row] for row in found[n]]) for n in full.tolist()]


def flat(lists: Lists) -> Pairs:
    """Pairs of (query, product text), those of a query together."""
    return [(query, text) for query, texts in lists for text in texts]


def order_bias(judge: LLMJudge, lists: Lists, forward_M4: FloatArray) -> dict[str, float]:
    """What the place in the list does: mean change of the expected gain when the list is reversed, and its sign.

    moved: mean |difference|. first_half: mean gain in the first half of the list less that of the same products in the
    second half.
    """
    backward_M4 = judge.grade_pairs(flat([(query, texts[::-1]) for query, texts in lists]))
    k = len(lists[0][1])
    forward_QK, backward_QK = ((probs @ GAINS).reshape(-1, k) for probs in (forward_M4, backward_M4))
    change_QK = forward_QK - backward_QK[:, ::-1]
    half = change_QK[:, : k // 2]
    return {"moved": float(np.nanmean(np.abs(change_QK))), "first_half": float(np.nanmean(half))}


def _store_seconds(judge: LLMJudge, pairs: Pairs, probs_M4: FloatArray) -> float:
    """Seconds a verdict from a warm store, in one batch, its keys included."""
    with tempfile.TemporaryDirectory() as folder, VerdictStore(Path(folder)) as store:
        store.put(judge.fingerprint, pairs, probs_M4)
        many = pairs * (LOOKUPS // len(pairs))
        start = time.perf_counter()
        keys = pair_keys(digests(query for query, _ in many), digests(product for _, product in many))
        known_M4 = store.get(judge.fingerprint, keys)
        seconds = time.perf_counter() - start
        if not np.array_equal(known_M4[: len(pairs)], probs_M4, equal_nan=True):
            raise StoreError(f"{folder} does not give back what it was given")
        return seconds / len(many)


def server_tokens(url: str) -> Floats:
    """(3,) what the server counted so far, by `TOKENS`; NaN where it is no vLLM."""
    import httpx

    with httpx.Client(trust_env=False, timeout=60.0) as http:
        text = http.get(url.rstrip("/").removesuffix("/v1") + "/metrics").text
    found = [re.findall(rf"^vllm:{counter} (\S+)$", text, re.MULTILINE) for counter in TOKENS.values()]
    return np.array([sum(map(float, values)) if values else np.nan for values in found], np.float64)


def cpu_seconds(group: int | None) -> float:
    """Of all processes of a process group so far; NaN without one."""
    if group is None:
        return float("nan")
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
