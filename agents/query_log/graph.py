"""The graph of queries and the products that are relevant to them, and the most similar queries by common products.

    gains_PC = query_products(shop, train)                   # graded labels, else purchases
    graph, cut = capped(gains_PC, max_queries=1_000)
    partners, counts = most_similar(graph, limit=32, min_shared=5)

Similarities are sparse matrix products in blocks of bounded size. A product that is relevant to thousands of queries
would make millions of pairs, so it keeps its most specific queries only; cut edges are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from agents.query_log.word_model import incidence
from qr_env.common.errors import ConfigError
from qr_env.common.types import EXACT, GAINS, SUBSTITUTE, FloatArray, Query
from qr_env.evaluation.made_up import typed_queries
from qr_env.language.tokenize import Tokenizer
from qr_env.shop.shop import Shop

Counts = dict[str, int]
Rows = npt.NDArray[np.int64]

FILTERS = ("share a product", "share too few", "too dissimilar", "the same words", "beyond the limit")
DENSE = 10  # median number of products a query from which labels count as dense
BLOCK_TERMS = 1 << 22  # most multiplications in one block of the product of the graph with its transpose


@dataclass(frozen=True)
class Partners:
    """N directed pairs of queries, grouped by query, the most similar first."""

    query_N: Rows
    """Row of the query in the graph."""
    other_N: Rows
    """Row of the other query in the graph."""
    shared_N: Rows
    """Number of products that are relevant to both."""
    similarity_N: FloatArray
    """Cosine of the two queries' gains over the products, in (0, 1]."""

    def __len__(self) -> int:
        return len(self.query_N)

    def __getitem__(self, index: npt.NDArray[np.generic]) -> Partners:
        return Partners(self.query_N[index], self.other_N[index], self.shared_N[index], self.similarity_N[index])


def query_products(shop: Shop, queries: Sequence[Query], source: str = "auto") -> sp.csr_matrix:
    """(P, C) sparse: ESCI gain of Exact and Substitute products, or 1 for bought products; no other entry is stored.

    Args:
        queries: P queries; only their labels and purchases are read, so give the train split.
        source: "labels", "purchases", or "auto": labels if any query that a shopper typed has labels. With labels,
            queries made from the catalogue count by their made-up grades.
    """
    if source not in ("auto", "labels", "purchases"):
        raise ConfigError(f"graph source {source!r}: choose auto, labels or purchases")
    levels = shop.qrels[[query.row for query in queries]] if queries else shop.qrels[:0]
    typed = [query.row for query in typed_queries(shop, queries)]
    if source == "labels" or (source == "auto" and shop.qrels[typed].nnz):
        gains = sp.csr_matrix((GAINS[levels.data - 1], levels.indices, levels.indptr), shape=levels.shape)
        gains.data[levels.data < SUBSTITUTE + 1] = 0.0
        gains.eliminate_zeros()
        return gains
    bought = np.unique(np.column_stack(shop.purchases_of(queries)), axis=0)
    ones = np.full(len(bought), GAINS[EXACT], np.float32)
    return sp.csr_matrix((ones, (bought[:, 0], bought[:, 1])), shape=(len(queries), len(shop.products)))


def capped(gains_PC: sp.csr_matrix, max_queries: int) -> tuple[sp.csr_matrix, Counts]:
    """The graph with at most `max_queries` queries a product, and the counts of cut products and edges.

    A product keeps the queries with the highest gain, on a tie those with the fewest relevant products.
    """
    graph = gains_PC.tocoo()
    crowded_C = np.bincount(graph.col, minlength=graph.shape[1]) > max_queries
    counts = {"products with too many queries": int(crowded_C.sum()), "edges cut from them": 0}
    if not crowded_C.any():
        return gains_PC, counts
    at = np.flatnonzero(crowded_C[graph.col])
    size_P = np.diff(gains_PC.indptr)
    order = at[np.lexsort((graph.row[at], size_P[graph.row[at]], -graph.data[at], graph.col[at]))]
    cut = order[rank_in_group(graph.col[order]) >= max_queries]
    kept = np.ones(graph.nnz, np.bool_)
    kept[cut] = False
    counts["edges cut from them"] = len(cut)
    entries = graph.data[kept], (graph.row[kept], graph.col[kept])
    return sp.csr_matrix(entries, shape=graph.shape), counts


def rank_in_group(group_N: npt.NDArray[np.integer]) -> Rows:
    """(N,) position of each entry inside its group of equal values; equal values must be adjacent."""
    starts = np.flatnonzero(np.r_[True, group_N[1:] != group_N[:-1]]) if len(group_N) else np.zeros(0, np.int64)
    return np.arange(len(group_N)) - np.repeat(starts, np.diff(np.r_[starts, len(group_N)]))


def most_similar(
    gains_PC: sp.csr_matrix,
    limit: int,
    min_shared: int = 1,
    min_similarity: float = 0.0,
    word_set_P: Rows | None = None,
) -> tuple[Partners, Counts]:
    """For each row of a sparse matrix the `limit` most similar other rows, and the count of every filter.

    Memory is bounded by `BLOCK_TERMS` a block of rows, time by the sum over columns of their squared length.

    Args:
        limit: most partners of one row.
        min_shared: least number of common columns.
        min_similarity: least cosine of two rows.
        word_set_P: (P,) rows with equal numbers have the same words and do not pair.
    """
    length_P = np.sqrt(np.asarray(gains_PC.multiply(gains_PC).sum(axis=1), np.float64).ravel())
    unit = sp.diags_array(1 / np.maximum(length_P, 1e-12)).dot(gains_PC).tocsr().astype(np.float32)
    ones = sp.csr_matrix((np.ones(unit.nnz, np.float32), unit.indices, unit.indptr), shape=unit.shape)
    by_product = unit.T.tocsr(), ones.T.tocsr()
    counts = dict.fromkeys(FILTERS, 0)
    parts = [Partners(*(np.zeros(0, np.int64),) * 3, np.zeros(0, np.float32))]
    for start, stop in _blocks(gains_PC):
        pairs = _block_pairs((unit[start:stop], ones[start:stop]), by_product, start)
        counts["share a product"] += len(pairs)
        pairs = keep_pairs(pairs, pairs.shared_N >= min_shared, "share too few", counts)
        pairs = keep_pairs(pairs, pairs.similarity_N >= min_similarity, "too dissimilar", counts)
        if word_set_P is not None:
            pairs = keep_pairs(pairs, word_set_P[pairs.query_N] != word_set_P[pairs.other_N], "the same words", counts)
        pairs = pairs[np.lexsort((pairs.other_N, -pairs.shared_N, -pairs.similarity_N.round(6), pairs.query_N))]
        parts.append(keep_pairs(pairs, rank_in_group(pairs.query_N) < limit, "beyond the limit", counts))
    columns = ("query_N", "other_N", "shared_N", "similarity_N")
    return Partners(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns)), counts


def keep_pairs(pairs: Partners, keep_N: npt.NDArray[np.bool_], name: str, counts: Counts) -> Partners:
    """The pairs where keep_N is True; the others are added to `counts[name]`."""
    counts[name] = counts.get(name, 0) + int(len(pairs) - keep_N.sum())
    return pairs[keep_N]


def _blocks(graph: sp.csr_matrix) -> Iterator[tuple[int, int]]:
    """Ranges of rows whose product with the whole graph needs at most `BLOCK_TERMS` multiplications (or one row)."""
    joined_C = np.bincount(graph.indices, minlength=graph.shape[1])
    terms_N = np.r_[0, np.cumsum(joined_C[graph.indices])]
    terms_before_P = terms_N[graph.indptr]  # before each row, and after the last
    start = 0
    while start < graph.shape[0]:
        stop = int(np.searchsorted(terms_before_P, terms_before_P[start] + BLOCK_TERMS, side="right")) - 1
        stop = min(max(stop, start + 1), graph.shape[0])
        yield start, stop
        start = stop


def _block_pairs(
    rows: tuple[sp.csr_matrix, sp.csr_matrix], by_product: tuple[sp.csr_matrix, sp.csr_matrix], start: int
) -> Partners:
    """All pairs of a block of rows, from row `start` on, with any other row."""
    alike, shared = (block @ whole for block, whole in zip(rows, by_product, strict=True))
    # Gains are positive, so both matrix products store the same entries in the same order.
    query_N = np.repeat(np.arange(start, start + alike.shape[0]), np.diff(alike.indptr))
    pairs = Partners(query_N, alike.indices.astype(np.int64), shared.data.round().astype(np.int64), alike.data)
    return pairs[pairs.query_N != pairs.other_N]


def default_min_shared(gains_PC: sp.csr_matrix) -> int:
    """Least number of common products: 5 with dense labels, 1 with sparse ones; MiniELM does not publish its k."""
    sizes = np.diff(gains_PC.indptr)
    return 5 if gains_PC.nnz and np.median(sizes[sizes > 0]) >= DENSE else 1


def stem_incidence(texts: Sequence[str], tokenizer: Tokenizer, column: dict[str, int], grow: bool) -> sp.csr_matrix:
    """(texts, stems) 0/1 matrix. grow: add new stems to `column` (stem → column); else leave unknown stems out."""
    if grow:
        rows = [sorted({column.setdefault(term, len(column)) for term in tokenizer.terms(text)}) for text in texts]
    else:
        rows = [sorted({column[term] for term in tokenizer.terms(text) if term in column}) for text in texts]
    return incidence(rows, max(len(column), 1))
