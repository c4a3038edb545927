"""`qr bench retrieval`: our search against bm25s and FAISS called directly; settings: `runs/bench/args.py`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

import bm25s
import faiss
import numpy as np
import Stemmer

from qr_env.common.messages import print_message
from qr_env.common.types import FloatArray
from qr_env.models.hub import resolve
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.dense import Dense
from qr_env.retrieval.encoder import Encoder
from qr_env.shop import load_shop
from qr_env.shop.shop import Shop
from runs.bench.args import RetrievalArgs
from runs.bench.output import publish, ratio_lines
from runs.common.timing import Pair, alternate, report

DIM = 384  # of the random vectors of the dense ratio
ONE_BY_ONE = 200  # queries of the ratio with one query a call
EMBEDDED = 128  # queries of the ratio that embeds


def main(args: RetrievalArgs) -> None:
    """Measure, print, write."""
    shop = load_shop(args.shop, args.data, options=args.read_options())
    encoder = Encoder(resolve(args.encoder), remember=0) if args.encoder else None
    measured = bench(shop, args.queries, args.k, args.rounds, args.threads, encoder)
    publish(measured, ratio_lines(measured), args.json)


def bench(
    shop: Shop, queries: int = 4000, k: int = 50, pairs: int = 7, threads: int = 0, encoder: Encoder | None = None
) -> dict[str, Any]:
    """Ratios, queries a second and sizes.

    Args:
        pairs: timed turns of each side.
        encoder: with an empty cache; None leaves out the ratio that embeds.
    """
    engine = BM25.build(shop, threads=threads)
    texts = _queries(shop, engine, queries)
    k = min(k, len(shop.products))
    pairs_by_name = _bm25(shop, engine, texts, k, pairs, engine.threads) | _dense(shop, texts, k, pairs, engine.threads)
    if encoder is not None:
        pairs_by_name |= _embedding(shop, encoder, texts[:EMBEDDED], k, pairs)
    counts = {"bm25 one by one": min(ONE_BY_ONE, len(texts)), "dense with embedding": min(EMBEDDED, len(texts))}
    measured = report(pairs_by_name)
    measured["queries_per_second"] = {
        name: {side: round(counts.get(name, len(texts)) / spent) for side, spent in both.items()}
        for name, both in measured["seconds"].items()
    }
    sizes = {"shop": shop.name, "products": len(shop.products), "queries": len(texts), "k": k}
    return {**measured, "sizes": {**sizes, **counts, "pairs": pairs, "threads": engine.threads}}


def timed(name: str, ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> Pair:
    """`alternate`, announced by a message."""
    print_message(f"timing {name}: {pairs} pairs of turns")
    return alternate(ours, theirs, pairs)


def _queries(shop: Shop, engine: BM25, count: int) -> list[str]:
    """`count` queries with at least one word of the shop: bm25s raises on a batch without any."""
    rng = random.Random(0)
    titles = [title.split() for title in shop.titles if title.split()]
    texts = [query.text for query in shop.all_queries][:count]
    texts += [" ".join(rng.sample(words, min(3, len(words)))) for words in rng.choices(titles, k=count - len(texts))]
    known = [text for text in texts if any(term in engine.vocabulary for term in engine.tokens(text))]
    return list(islice(cycle(known), count))


def _bm25(shop: Shop, engine: BM25, queries: list[str], k: int, pairs: int, threads: int) -> dict[str, Pair]:
    stemmer = Stemmer.Stemmer("english")

    def tokenize(texts: Sequence[str]) -> Any:
        return bm25s.tokenize(list(texts), stopwords="en", stemmer=stemmer, show_progress=False)

    direct = bm25s.BM25(backend="numba", auto_compile=False)  # compiling would concern indexing, not retrieval
    direct.index(tokenize(_documents(shop, engine)), show_progress=False)

    def retrieve(tokens: Any, n_threads: int = threads) -> Any:
        return direct.retrieve(tokens, k=k, n_threads=n_threads, show_progress=False)

    tokens = tokenize(queries)
    known = [text for text in queries if tokenize([text]).vocab.keys() & direct.vocab_dict.keys() - {""}][:ONE_BY_ONE]
    return {
        "bm25": timed("bm25", lambda: engine.search(queries, k), lambda: retrieve(tokenize(queries)), pairs),
        "bm25, theirs tokenized": timed(
            "bm25, theirs tokenized", lambda: engine.search(queries, k), lambda: retrieve(tokens), pairs
        ),
        "bm25 one by one": timed(
            "bm25 one by one",
            lambda: [engine.search([text], k) for text in known],
            lambda: [retrieve(tokenize([text]), 1) for text in known],
            pairs,
        ),
    }


def _documents(shop: Shop, engine: BM25) -> list[str]:
    """The text that our index holds, as one string a product."""
    columns = [shop.products[name].to_pylist() for name, count in engine.settings.fields for _ in range(count)]
    return [" ".join(parts) for parts in zip(*columns, strict=True)]


class LookupEncoder:
    """An encoder that looks up given vectors, so that only the search around it is timed."""

    name = "lookup"

    def __init__(self, vectors: dict[str, FloatArray]) -> None:
        self.vectors = vectors

    def encode(self, texts: Sequence[str], show_progress: bool = False) -> FloatArray:
        """(N, D) vectors."""
        return np.array([self.vectors[text] for text in texts], np.float32)


def _unit_vectors(count: int, dim: int) -> FloatArray:
    """Random vectors of length 1: the time of an exact search does not depend on their values."""
    vectors = np.random.default_rng(0).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _dense(shop: Shop, queries: list[str], k: int, pairs: int, threads: int) -> dict[str, Pair]:
    texts = list(dict.fromkeys(queries))
    encoder = LookupEncoder(dict(zip(texts, _unit_vectors(len(texts), DIM), strict=True)))
    ours = Dense.of_vectors(shop, encoder, _unit_vectors(len(shop.products), DIM))
    vectors_ND, direct = encoder.encode(queries), ours.index
    ours.search(queries[:1], k)
    faiss.omp_set_num_threads(threads)
    return {"dense": timed("dense", lambda: ours.search(queries, k), lambda: direct.search(vectors_ND, k), pairs)}


def _embedding(shop: Shop, encoder: Encoder, queries: list[str], k: int, pairs: int) -> dict[str, Pair]:
    ours = Dense.of_vectors(shop, encoder, _unit_vectors(len(shop.products), encoder.dim))
    model, direct = encoder.model, ours.index

    def theirs() -> object:
        return direct.search(model.encode(queries, normalize_embeddings=True, show_progress_bar=False), k)

    return {"dense with embedding": timed("dense with embedding", lambda: ours.search(queries, k), theirs, pairs)}
