"""`qr bench judge`: the LLM judge's label probabilities against the usual practice, on one live vLLM server.

Each round takes queries that no round had before, drawn anew in every run, because a server caches prompts; each with
the products that BM25 finds for it. Every contender grades the same pairs of query and product text (title, brand and
color), in rotating order, so that none always profits from a prefix that another left in the server's cache; no two
share more of a prompt than the rubric:

- label: one token a pair, read as probabilities (`grade_v2`).
- list: one request for twenty products of a query, one token a product, read as probabilities (`list_v2`).
- json, reason: the usual practice, a JSON reply a pair, without or with a reason before the grade, 32 requests in
  flight. They share our client, its connections, its order of requests by query and our prompt's layout, so
  this practice is measured at its fastest; a rubric below the product would be slower.

Then the last round's pairs are read from a filled verdict store. `list / json` is the ratio of verdicts a second, the
median over rounds of the ratio within a round. Where the server is our own, its CPU seconds per verdict are reported:
unlike the clock they hardly depend on the machine's other load, which is reported as well. Tokens are the server's
own count: prompt tokens computed, prompt tokens from its prefix cache, tokens generated.

A verdict of `list` depends on the product's position and neighbors. `order_bias` measures it: the last round's lists
are graded again in reverse.
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

import httpx
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from judges.llm.judge import LLMJudge
from judges.verdict_store.index import digests, pair_keys
from judges.verdict_store.store import VerdictStore
from qr_env.common.download import cache_root
from qr_env.common.errors import DataError, StoreError
from qr_env.common.protocols import Retriever
from qr_env.common.types import GAINS, FloatArray
from qr_env.llm.address import Address
from qr_env.llm.client import Client
from qr_env.llm.server import VLLMServer
from qr_env.models.hub import resolve
from qr_env.retrieval.factory import make_retriever
from qr_env.shop import load_shop
from qr_env.shop.shop import Shop
from runs.bench.args import JudgeBenchArgs
from runs.bench.output import named_values, publish, ratio_lines, refreshed

CONTENDERS: dict[str, tuple[int, dict[str, Any]]] = {  # products in flight, settings of the judge
    "label": (64, {"prompt": "grade_v2", "batch": 10}),
    "list": (640, {"prompt": "list_v2"}),  # 32 requests, as many as json and reason have
    "json": (32, {"prompt": "json_v2"}),
    "reason": (32, {"prompt": "reason_v2"}),
}
OURS, THEIRS = ("label", "list"), ("json", "reason")
TOKENS = {  # kind of tokens → vLLM's counter
    "computed": r'prompt_tokens_by_source_total\{.*source="local_compute".*\}',
    "cached": r'prompt_tokens_by_source_total\{.*source="local_cache_hit".*\}',
    "generated": r"generation_tokens_total\{.*\}",
}
LOOKUPS = 100_000  # reads from the filled store, the pairs repeated
MAX_ROUNDS = 3  # a quarter of an hour each on two CPU cores
SERVER_WAIT = 1_200.0  # seconds until the server must be healthy
Floats = npt.NDArray[np.float64]
Pairs = list[tuple[str, str]]
Lists = list[tuple[str, list[str]]]


def main(args: JudgeBenchArgs) -> None:
    """Start a server unless one is given, measure, print, write."""
    shop = load_shop(args.shop, args.data, options=args.read_options())
    retriever, rounds = make_retriever("bm25", shop, cache_root()), min(args.rounds, MAX_ROUNDS)
    if args.url:
        measured = bench(shop, retriever, args.url, args.pairs, rounds=rounds)
    else:
        with VLLMServer(resolve(args.model), name=args.model, wait=SERVER_WAIT) as server:
            measured = bench(shop, retriever, server.url, args.pairs, rounds=rounds, group=server.pid)
    lines = ratio_lines(measured)
    for name, rate in measured["verdicts_per_second"].items():
        lines.append(
            f"{name}: {rate:,.1f} verdicts/s  {named_values(measured['costs_per_verdict'].get(name, {}), '.3g')}"
        )
    publish(measured, lines, args.json)


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

    Args:
        pairs: pairs a round, in lists of k products.
        group: process group of the server, where it is ours.
        model: the model's name at the server.
        seed: of the draw of queries; None takes another one every time, as a server that has cached the prompts needs.
    """
    seed = time.time_ns() % 2**32 if seed is None else seed
    judges = {
        name: LLMJudge(Client(url, concurrency=flight, timeout=600.0), model, min_mass=0.0, **settings)
        for name, (flight, settings) in CONTENDERS.items()
    }
    contenders, step = {name: Contender(judge, url, group) for name, judge in judges.items()}, max(pairs // k, 1)
    lists = draw_lists(shop, retriever, judges["list"].product_texts(shop), rounds * step, k, seed)
    load = []
    with tqdm(total=len(contenders) * len(flat(lists)), desc="bench judge", unit="pair") as bar:
        for start in range(0, len(lists), step):
            part = lists[start : start + step]
            load.append(round(os.getloadavg()[0], 2))
            for name in np.roll(list(contenders), start // step).tolist():
                bar.set_postfix_str(f"round {start // step + 1}, {name}")
                with refreshed(bar):
                    contenders[name].grade(flat(part))
                bar.update(len(flat(part)))
    store = _store_seconds(judges["list"], flat(part), contenders["list"].probs_N4)
    rates = {name: 1 / median(contender.wall) for name, contender in contenders.items()}
    return {
        "ratios": _ratios(contenders, store),
        "verdicts_per_second": rates | {"store": 1 / store},
        "costs_per_verdict": {name: contender.costs() for name, contender in contenders.items()},
        "order_bias": order_bias(judges["list"], part, contenders["list"].probs_N4),
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


class Contender:
    """One judge and its measured costs, one value a round."""

    def __init__(self, judge: LLMJudge, url: str, group: int | None) -> None:
        """Check the server's capabilities, before any time is measured."""
        self.judge, self.url, self.group = judge, url, group
        self.wall: list[float] = []  # seconds a verdict
        self.cpu: list[float] = []  # CPU seconds of the server a verdict, NaN for a server that is not ours
        self.tokens: list[Floats] = []  # (3,) tokens a verdict, by `TOKENS`
        self.probs_N4: FloatArray = np.zeros((0, 4), np.float32)  # verdicts of the last round
        self.judge.server  # noqa: B018

    def grade(self, pairs: Pairs) -> None:
        """Grade the pairs once."""
        tokens, cpu, start = server_tokens(self.url), cpu_seconds(self.group), time.perf_counter()
        self.probs_N4 = self.judge.grade_pairs(pairs)
        self.wall.append((time.perf_counter() - start) / len(pairs))
        self.cpu.append((cpu_seconds(self.group) - cpu) / len(pairs))
        self.tokens.append((server_tokens(self.url) - tokens) / len(pairs))

    def costs(self) -> dict[str, float]:
        """Tokens and CPU seconds of a verdict, and the share of missing verdicts."""
        stats, means = self.judge.stats(), np.mean(self.tokens, axis=0).tolist()
        costs = {f"{kind} tokens": mean for kind, mean in zip(TOKENS, means, strict=True)}
        return costs | {"missing": stats["missing"] / stats["asked"], "server CPU seconds": median(self.cpu)}


def _ratios(contenders: dict[str, Contender], store: float) -> dict[str, float]:
    """Verdicts a second of ours / theirs; the median over rounds of the ratio within a round."""
    ratios = {}
    for ours in OURS:
        for theirs in THEIRS:
            pairs = zip(contenders[theirs].wall, contenders[ours].wall, strict=True)
            ratios[f"{ours} / {theirs}"] = median(slow / fast for slow, fast in pairs)
            if contenders[ours].group is not None:
                pairs = zip(contenders[theirs].cpu, contenders[ours].cpu, strict=True)
                ratios[f"{ours} / {theirs}, by server CPU"] = median(slow / fast for slow, fast in pairs)
    return ratios | {"store / list": median(contenders["list"].wall) / store}


def draw_lists(shop: Shop, retriever: Retriever, texts: Sequence[str], count: int, k: int, seed: int) -> Lists:
    """`count` random queries with the texts of the k products found for each; queries that find fewer are left out."""
    queries = list(dict.fromkeys(query.text for query in shop.split("test") or shop.all_queries))
    np.random.default_rng(seed).shuffle(queries)
    queries = queries[: 20 * count]
    rows_NK = retriever.search(queries, k).rows_NK
    full = np.flatnonzero((rows_NK >= 0).all(axis=1))[:count]
    if not len(full):
        raise DataError(f"{shop!r}: no query finds {k} products")
    return [(queries[n], [texts[row] for row in rows_NK[n]]) for n in full.tolist()]


def flat(lists: Lists) -> Pairs:
    """Pairs of (query, product text), list by list."""
    return [(query, text) for query, texts in lists for text in texts]


def order_bias(judge: LLMJudge, lists: Lists, forward_N4: FloatArray) -> dict[str, float]:
    """The effect of a product's position: change of the expected gain when the lists are graded in reverse.

    moved: mean |change|. first_half: mean gain in the first half of the list minus that of the same products in the
    second half.
    """
    backward_N4 = judge.grade_pairs(flat([(query, texts[::-1]) for query, texts in lists]))
    k = len(lists[0][1])
    forward_PK, backward_PK = ((probs @ GAINS).reshape(-1, k) for probs in (forward_N4, backward_N4))
    change_PK = forward_PK - backward_PK[:, ::-1]
    half = change_PK[:, : k // 2]
    return {"moved": float(np.nanmean(np.abs(change_PK))), "first_half": float(np.nanmean(half))}


def _store_seconds(judge: LLMJudge, pairs: Pairs, probs_N4: FloatArray) -> float:
    """Seconds a verdict from a filled store, in one batch, including its keys."""
    with tempfile.TemporaryDirectory() as folder, VerdictStore(Path(folder)) as store:
        store.put(judge.fingerprint, pairs, probs_N4)
        many = pairs * (LOOKUPS // len(pairs))
        start = time.perf_counter()
        keys = pair_keys(digests(query for query, _ in many), digests(product for _, product in many))
        known_N4 = store.get(judge.fingerprint, keys)
        seconds = time.perf_counter() - start
        if not np.array_equal(known_N4[: len(pairs)], probs_N4, equal_nan=True):
            raise StoreError(f"{folder} returns other verdicts than it was given")
        return seconds / len(many)


def server_tokens(url: str) -> Floats:
    """(3,) tokens that the server has counted so far, by `TOKENS`; NaN where it is not vLLM."""
    with httpx.Client(trust_env=False, timeout=60.0) as http:
        address = Address.parse(url)
        text = http.get(address.url(address.bases[0], "/metrics")).text
    found = [re.findall(rf"^vllm:{counter} (\S+)$", text, re.MULTILINE) for counter in TOKENS.values()]
    return np.array([sum(map(float, values)) if values else np.nan for values in found], np.float64)


def cpu_seconds(group: int | None) -> float:
    """CPU seconds of all processes of a process group so far; NaN without one."""
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
