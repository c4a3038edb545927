"""Our search against bm25s and FAISS called directly: same queries, one run, timed in turns.

    qr bench retrieval
    qr bench retrieval --shop icecat --data ../shared/data --json -

Lines of the report (ours / theirs, at most 1.3 is the aim):
  bm25                     texts in, hits out; bm25s as its manual calls it: tokenize with the stemmer, then retrieve
  bm25, their words free   the same, but bm25s is handed its tokens: its tokenising is not counted, ours is
  bm25 one by one          the same as the first, a call a query
  dense                    query vectors known; FAISS is handed the matrix, ours has texts, ties and padding to do
  dense with embedding     texts in, hits out, nothing remembered; sentence-transformers' encode, then FAISS
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from runs.common.timing import Pair, alternate, report

if TYPE_CHECKING:
    from qr_env.common.types import FloatArray
    from qr_env.retrieval.bm25 import BM25
    from qr_env.retrieval.encoder import Encoder
    from qr_env.shop.shop import Shop

DIM = 384
ONE_BY_ONE = 200  # queries of the line that asks one at a time
EMBEDDED = 128  # queries of the line that embeds


def bench(
    shop: Shop, queries: int = 4000, k: int = 50, pairs: int = 7, threads: int = 0, encoder: Encoder | None = None
) -> dict[str, Any]:
    """Ratios, queries a second and sizes. encoder: None leaves out the line that embeds; it should remember nothing."""
    from qr_env.retrieval.bm25 import BM25

    engine = BM25.build(shop, threads=threads)
    texts = _queries(shop, engine, queries)
    k = min(k, len(shop.products))
    timed = _bm25(shop, engine, texts, k, pairs, engine.threads) | _dense(shop, texts, k, pairs, engine.threads)
    if encoder is not None:
        timed |= _embedding(shop, encoder, texts[:EMBEDDED], k, pairs)
    counts = {"bm25 one by one": min(ONE_BY_ONE, len(texts)), "dense with embedding": min(EMBEDDED, len(texts))}
    measured = report(timed)
    measured["queries_per_second"] = {
        name: {who: round(counts.get(name, len(texts)) / spent) for who, spent in both.items()}
        for name, both in measured["seconds"].items()
    }
    sizes = {"shop": shop.name, "products": len(shop.products), "queries": len(texts), "k": k}
    return {**measured, "sizes": {**sizes, **counts, "pairs": pairs, "threads": engine.threads}}


def _queries(shop: Shop, engine: BM25, count: int) -> list[str]:
    """`count` queries that know a word of the shop: bm25s raises on a batch without any."""
    rng = random.Random(0)
    titles = [title.split() for title in shop.titles if title.split()]
    asked = [query.text for query in shop.all_queries][:count]
    asked += [" ".join(rng.sample(words, min(3, len(words)))) for words in rng.choices(titles, k=count - len(asked))]
    known = [text for text in asked if any(term in engine.vocabulary for term in engine.tokens(text))]
    return list(islice(cycle(known), count))


def _bm25(shop: Shop, engine: BM25, queries: list[str], k: int, pairs: int, threads: int) -> dict[str, Pair]:
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")

    def words(texts: Sequence[str]) -> Any:
        return bm25s.tokenize(list(texts), stopwords="en", stemmer=stemmer, show_progress=False)

    direct = bm25s.BM25(backend="numba", auto_compile=False)  # that would compile what builds, not what retrieves
    direct.index(words(_documents(shop, engine)), show_progress=False)

    def retrieve(tokens: Any, n_threads: int = threads) -> Any:
        return direct.retrieve(tokens, k=k, n_threads=n_threads, show_progress=False)

    tokens = words(queries)
    few = [text for text in queries if words([text]).vocab.keys() & direct.vocab_dict.keys() - {""}][:ONE_BY_ONE]
    return {
        "bm25": alternate(lambda: engine.search(queries, k), lambda: retrieve(words(queries)), pairs),
        "bm25, their words free": alternate(lambda: engine.search(queries, k), lambda: retrieve(tokens), pairs),
        "bm25 one by one": alternate(
            lambda: [engine.search([text], k) for text in few],
            lambda: [retrieve(words([text]), 1) for text in few],
            pairs,
        ),
    }


def _documents(shop: Shop, engine: BM25) -> list[str]:
    """The text that our index holds, as one string a product."""
    columns = [shop.products[name].to_pylist() for name, count in engine.settings.fields for _ in range(count)]
    return [" ".join(parts) for parts in zip(*columns, strict=True)]


class _Known:
    """An encoder that has every vector already: what is left is our own work."""

    name = "known"

    def __init__(self, vectors: dict[str, FloatArray]) -> None:
        self.vectors = vectors

    def encode(self, texts: Sequence[str], show_progress: bool = False) -> FloatArray:
        return np.array([self.vectors[text] for text in texts], np.float32)


def _unit_vectors(count: int, dim: int) -> FloatArray:
    """Random vectors of length 1: the time of an exact search does not depend on what they mean."""
    vectors = np.random.default_rng(0).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _dense(shop: Shop, queries: list[str], k: int, pairs: int, threads: int) -> dict[str, Pair]:
    import faiss

    from qr_env.retrieval.dense import Dense

    texts = list(dict.fromkeys(queries))
    encoder = _Known(dict(zip(texts, _unit_vectors(len(texts), DIM), strict=True)))
    ours = Dense.of_vectors(shop, encoder, _unit_vectors(len(shop.products), DIM))
    asked_ND, direct = encoder.encode(queries), ours.index
    ours.search(queries[:1], k)
    faiss.omp_set_num_threads(threads)
    return {"dense": alternate(lambda: ours.search(queries, k), lambda: direct.search(asked_ND, k), pairs)}


def _embedding(shop: Shop, encoder: Encoder, queries: list[str], k: int, pairs: int) -> dict[str, Pair]:
    from qr_env.retrieval.dense import Dense

    ours = Dense.of_vectors(shop, encoder, _unit_vectors(len(shop.products), encoder.dim))
    model, direct = encoder._model, ours.index

    def theirs() -> Any:
        return direct.search(model.encode(queries, normalize_embeddings=True, show_progress_bar=False), k)

    return {"dense with embedding": alternate(lambda: ours.search(queries, k), theirs, pairs)}
