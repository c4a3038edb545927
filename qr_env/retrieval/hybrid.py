"""Hybrid retrieval: several result lists fused into one by reciprocal rank.

    hybrid = Hybrid((BM25.build(shop), Dense.build(shop, encoder)))
    hybrid.search(["couch"], k=10)

A product's score is the sum over the lists that hold it of 1 / (60 + rank), rank from 1 (Cormack, Clarke & Büttcher,
"Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", SIGIR 2009). Ties go to the lower
row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qr_env.common.atomic_io import atomic_cache_folder
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import FilteredRetriever, TextEncoder
from qr_env.common.types import Hits, SearchText
from qr_env.retrieval.base import META, check_k, read_meta, write_meta
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.dense import Dense
from qr_env.shop.shop import Shop

# Depth of the fused lists, even when fewer hits are requested: lower ranks still affect the fused order.
DEPTH = 100


class Hybrid:
    """Reciprocal rank fusion of any retrievers over one shop."""

    name = "hybrid"

    def __init__(self, retrievers: Sequence[FilteredRetriever], rrf_k: int = 60) -> None:
        """rrf_k: a larger value makes the top ranks of a list count less; 60 in the paper."""
        if not retrievers:
            raise ConfigError("Hybrid needs at least one retriever")
        self.retrievers = tuple(retrievers)
        self.rrf_k = rrf_k

    @classmethod
    def build(cls, shop: Shop, encoder: TextEncoder, rrf_k: int = 60) -> Hybrid:
        """BM25 and dense retrieval of a shop with default settings."""
        return cls((BM25.build(shop), Dense.build(shop, encoder)), rrf_k)

    def search(self, queries: Sequence[SearchText], k: int, on_sale_C: npt.NDArray[np.bool_] | None = None) -> Hits:
        """The k best products of each query by fused rank; see `Retriever.search`."""
        check_k(k)
        lists = [retriever.search(queries, max(k, DEPTH), on_sale_C) for retriever in self.retrievers]
        return fuse([hits.rows_NK for hits in lists], k, self.rrf_k)

    def save(self, folder: Path) -> None:
        """Write every retriever's index below `folder`, atomically."""
        with atomic_cache_folder(folder) as scratch:
            for number, retriever in enumerate(self.retrievers):
                retriever.save(scratch / f"{number}-{retriever.name}")
            first = json.loads((scratch / f"0-{self.retrievers[0].name}" / META).read_text(encoding="utf-8"))
            kinds = [retriever.name for retriever in self.retrievers]
            write_meta(scratch, self.name, first["products_hash"], {"retrievers": kinds, "rrf_k": self.rrf_k})

    @classmethod
    def load(cls, folder: Path, shop: Shop, encoder: TextEncoder) -> Hybrid:
        """Read a saved index. Raises IndexMismatchError if it is of another shop or encoder."""
        saved = read_meta(folder, cls.name, shop)
        retrievers: list[FilteredRetriever] = []
        for number, kind in enumerate(saved["retrievers"]):
            part = Path(folder) / f"{number}-{kind}"
            retrievers.append(BM25.load(part, shop) if kind == "bm25" else Dense.load(part, shop, encoder))
        return cls(retrievers, saved["rrf_k"])


def fuse(lists: Sequence[np.ndarray], k: int, rrf_k: int = 60) -> Hits:
    """Fuse result lists of the same N queries into (N, k). lists: (N, K) product rows each, -1 is padding."""
    rows_NM = np.concatenate(lists, axis=1)
    gains_M = np.concatenate([1.0 / (rrf_k + 1 + np.arange(rows_NK.shape[1])) for rows_NK in lists])
    n_M, m_M = np.nonzero(rows_NM >= 0)
    span = int(rows_NM.max(initial=0)) + 1
    pairs, inverse = np.unique(n_M * span + rows_NM[n_M, m_M], return_inverse=True)  # one key for each (query, product)
    scores = np.bincount(inverse, weights=gains_M[m_M], minlength=len(pairs)).astype(np.float32)
    query, row = np.divmod(pairs, span)
    order = np.lexsort((row, -scores, query))
    query, row, scores = query[order], row[order], scores[order]
    place = np.arange(len(query)) - np.searchsorted(query, query)  # rank within its query, from 0
    keep = place < k
    rows_NK = np.full((len(rows_NM), k), -1, np.int32)
    scores_NK = np.full((len(rows_NM), k), -np.inf, np.float32)
    rows_NK[query[keep], place[keep]] = row[keep]
    scores_NK[query[keep], place[keep]] = scores[keep]
    return Hits(rows_NK, scores_NK)
