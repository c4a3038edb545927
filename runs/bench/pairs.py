"""Time of the query graph at the size of a large shop: 100,000 queries with 2 million labels, some products in
thousands of queries.

    python -m runs.bench.pairs
    python -m runs.bench.pairs --queries 10_000 --labels 200_000 --json out/bench_pairs.json

Queries are of 2 to 4 made-up words; labels are drawn for products by Zipf's law, so that the most popular ones join
thousands of queries, which is what the cap is for.
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from agents.examples.graph_pairs import GraphConfig, graph_pairs
from qr_env.shop.shop import Shop
from runs.common.cli import run, write_json

OF_TOPIC = 40


@dataclass
class Args:
    """Size of the shop, and what is asked of its graph."""

    queries: int = 100_000
    """train queries"""
    labels: int = 2_000_000
    """Exact and Substitute labels"""
    products: int = 500_000
    """products"""
    zipf: float = 0.8
    """exponent of the products' popularity"""
    seed: int = 0
    """of the made-up shop"""
    json: str | None = None
    """write the figures here as JSON ("-": standard output)"""
    graph: GraphConfig = field(default_factory=GraphConfig)
    """Which two queries pair."""


def main(args: Args) -> None:
    """Make the shop, time the pairs, print."""
    shop = made_up_shop(args.queries, args.labels, args.products, args.zipf, args.seed)
    queries = shop.split("train")
    started, worked = time.perf_counter(), time.process_time()
    examples, counts = graph_pairs(shop, queries, args.graph)
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    figures: dict[str, Any] = {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_gib": peak,
        "pairs": len(examples),
        "counts": counts,
    }
    write_json(args.json, {"verb": "bench_pairs", **figures})
    if args.json != "-":
        for name, count in counts.items():
            print(f"{name:45} {count:>14,}")
        size = f"{args.queries:,} queries, {shop.qrels.nnz:,} labels"
        print(f"{size}: {seconds:.1f} s ({cpu:.1f} s CPU), peak memory {peak:.1f} GiB")


def made_up_shop(queries: int, labels: int, products: int, zipf: float, seed: int) -> Shop:
    """A train split of random labels and texts. A topic has a dozen queries, `OF_TOPIC` products and eight words."""
    rng = np.random.default_rng(seed)
    topic_Q = rng.integers(max(queries // 12, 1), size=queries)
    words = np.array(["".join(letters) for letters in product("bdfgklmnprst", "aeiou", "bdfgklmnprst", "aeiou")])
    words_T8 = words[rng.integers(len(words), size=(max(queries // 12, 1), 8))]
    topic_P = np.arange(products) // OF_TOPIC % len(words_T8)
    titles = _drawn(words_T8, topic_P, 6, rng)
    texts = [" ".join(text.split()[: 2 + number % 3]) for number, text in enumerate(_drawn(words_T8, topic_Q, 4, rng))]
    share_P = 1 / np.arange(1, products + 1) ** zipf
    popular_L = rng.choice(products, size=labels // 2, p=share_P / share_P.sum())
    query_L = rng.integers(queries, size=labels)
    own_L = topic_Q[query_L[labels // 2 :]] * OF_TOPIC + rng.integers(OF_TOPIC, size=labels - labels // 2)
    at = query_L, np.concatenate([popular_L, own_L % products])
    levels = rng.choice(np.array([3, 4], np.int8), size=labels)
    qrels = sp.csr_matrix((levels, at), shape=(queries, products), dtype=np.int8)
    qrels.data = np.minimum(qrels.data, 4)  # a pair that was drawn twice
    names = [f"q{number}" for number in range(queries)]
    return Shop(
        name="made up",
        products=pa.table({"product_id": [f"p{number}" for number in range(products)], "title": titles}),
        queries=pa.table({"query_id": names, "query": texts, "split": ["train"] * queries}),
        qrels=qrels,
        purchases=pa.table({"query_id": pa.array([], pa.string()), "product_id": pa.array([], pa.string())}),
    )


def _drawn(words_T8: np.ndarray, topic_N: np.ndarray, count: int, rng: np.random.Generator) -> list[str]:
    """N texts of `count` words of their topics."""
    columns = rng.random((len(topic_N), 8)).argsort(axis=1)[:, :count]
    return [" ".join(row) for row in np.take_along_axis(words_T8[topic_N], columns, axis=1).tolist()]


if __name__ == "__main__":
    run(Args, main, description=__doc__)
