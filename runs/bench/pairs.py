"""`qr bench pairs`: time of the query graph at the size of a large shop; settings: `runs/bench/args.py`."""

from __future__ import annotations

import resource
import time
from itertools import product

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp
from tqdm import tqdm

from agents.examples.graph_pairs import graph_pairs
from qr_env.common.messages import print_message
from qr_env.shop.shop import Shop
from runs.bench.args import PairsArgs
from runs.bench.output import publish, refreshed

PRODUCTS_OF_TOPIC = 40


def main(args: PairsArgs) -> None:
    """Generate the shop, time the pairs, print, write."""
    print_message(f"generating {args.queries:,} queries with {args.labels:,} labels")
    shop = generated_shop(args.queries, args.labels, args.products, args.zipf, args.seed)
    queries = shop.split("train")
    with tqdm(desc=f"pairs from {shop.qrels.nnz:,} labels", bar_format="{desc}: {elapsed}") as bar, refreshed(bar):
        start, cpu_start = time.perf_counter(), time.process_time()
        examples, counts = graph_pairs(shop, queries, args.graph)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    measured = {"ratios": {}, "seconds": seconds, "cpu_seconds": cpu, "peak_gib": peak, "pairs": len(examples)}
    measured |= {"counts": counts, "sizes": {"queries": args.queries, "labels": shop.qrels.nnz}}
    lines = [f"{name:45} {count:>14,}" for name, count in counts.items()]
    lines.append(f"{seconds:.1f} s ({cpu:.1f} s CPU), peak memory {peak:.1f} GiB")
    publish(measured, lines, args.json)


def generated_shop(queries: int, labels: int, products: int, zipf: float, seed: int) -> Shop:
    """A train split of random labels and texts. A topic has a dozen queries, 40 products and eight words."""
    rng = np.random.default_rng(seed)
    topics = max(queries // 12, 1)
    topic_P = rng.integers(topics, size=queries)
    words = np.array(["".join(letters) for letters in product("bdfgklmnprst", "aeiou", "bdfgklmnprst", "aeiou")])
    words_of_topic = words[rng.integers(len(words), size=(topics, 8))]
    topic_C = np.arange(products) // PRODUCTS_OF_TOPIC % topics
    titles = _random_texts(words_of_topic, topic_C, 6, rng)
    texts = _random_texts(words_of_topic, topic_P, 4, rng)
    texts = [" ".join(text.split()[: 2 + number % 3]) for number, text in enumerate(texts)]
    share_C = 1 / np.arange(1, products + 1) ** zipf
    popular_N = rng.choice(products, size=labels // 2, p=share_C / share_C.sum())
    query_N = rng.integers(queries, size=labels)
    own_N = topic_P[query_N[labels // 2 :]] * PRODUCTS_OF_TOPIC
    own_N = own_N + rng.integers(PRODUCTS_OF_TOPIC, size=labels - labels // 2)
    at = query_N, np.concatenate([popular_N, own_N % products])
    levels = rng.choice(np.array([3, 4], np.int8), size=labels)
    qrels = sp.csr_matrix((levels, at), shape=(queries, products), dtype=np.int8)
    qrels.data = np.minimum(qrels.data, 4)  # a pair that was drawn twice
    names = [f"q{number}" for number in range(queries)]
    return Shop(
        name="generated for the bench",
        products=pa.table({"product_id": [f"p{number}" for number in range(products)], "title": titles}),
        queries=pa.table({"query_id": names, "query": texts, "split": ["train"] * queries}),
        qrels=qrels,
        purchases=pa.table({"query_id": pa.array([], pa.string()), "product_id": pa.array([], pa.string())}),
    )


def _random_texts(
    words_of_topic: npt.NDArray[np.str_], topic_N: npt.NDArray[np.int64], count: int, rng: np.random.Generator
) -> list[str]:
    """N texts of `count` of the eight words of their topics."""
    columns = rng.random((len(topic_N), 8)).argsort(axis=1)[:, :count]
    return [" ".join(row) for row in np.take_along_axis(words_of_topic[topic_N], columns, axis=1).tolist()]
