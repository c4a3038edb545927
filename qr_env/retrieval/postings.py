"""Search of an inverted index: the sum of weight × posting over a query's terms, for a batch in one compiled loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qr_env.common.types import FloatArray, Hits, RowArray

# Minimum number of queries for each thread; with fewer, starting a thread costs more than it saves.
_QUERIES_A_THREAD = 64
_NO_MASK = np.zeros(0, np.bool_)  # all products are on sale

Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TermBatch:
    """The terms of N queries, one after another."""

    ids: RowArray
    """int32 term ids; a term may occur twice in a query, and counts twice."""
    weights: FloatArray
    """float32 weight > 0 of each term."""
    starts: Longs
    """(N + 1,) query n has the terms starts[n] : starts[n + 1]."""


@dataclass(frozen=True, slots=True)
class Postings:
    """What each term adds to each product's score: a matrix (terms, products) in compressed rows."""

    data: FloatArray
    """float32 contribution > 0 of each stored pair."""
    products: RowArray
    """int32 product row of each stored pair."""
    starts: Longs
    """(terms + 1,) term t has the pairs starts[t] : starts[t + 1]."""
    count: int
    """Number of products."""

    def search(
        self, batch: TermBatch, k: int, on_sale_C: npt.NDArray[np.bool_] | None = None, threads: int = 1
    ) -> Hits:
        """The k products with the greatest sums for each query; ties go to the lower row.

        One slice of the batch a thread: the loop releases the interpreter lock.
        """
        from qr_env.retrieval import bm25_kernel  # noqa: PLC0415 - loads numba

        kernel: Callable[..., None] = bm25_kernel.search
        n = len(batch.starts) - 1
        rows_NK = np.full((n, k), -1, np.int32)
        scores_NK = np.full((n, k), -np.inf, np.float32)
        mask_C = _NO_MASK if on_sale_C is None else on_sale_C

        def part(first: int, last: int) -> None:
            terms = batch.ids, batch.weights, batch.starts[first : last + 1]
            pairs = self.data, self.products, self.starts, self.count
            kernel(*pairs, mask_C, *terms, rows_NK[first:last], scores_NK[first:last])

        threads = max(1, min(threads, n // _QUERIES_A_THREAD))
        if threads == 1:
            part(0, n)
        else:
            cuts = np.linspace(0, n, threads + 1).astype(int).tolist()
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(part, cuts[:-1], cuts[1:]))
        return Hits(rows_NK, scores_NK)
