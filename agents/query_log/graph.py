"""The graph of queries and the products that are right for them, and which queries have most products in common.

    gains_N_P = query_products(shop, train)                   # graded labels, else purchases
    graph, cut = capped(gains_N_P, max_queries=1_000)
    partners, counts = strongest(graph, most=32, min_shared=5)

Everything is a sparse matrix product in blocks of bounded size. A product that is right for thousands of queries would
join millions of pairs, so it keeps the queries that it says most about; what is cut is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from agents.query_log.word_model import incidence
from qr_env.common import tokenize
from qr_env.common.errors import ConfigError
from qr_env.common.types import EXACT, GAINS, SUBSTITUTE, FloatArray, Query
from qr_env.shop.shop import Shop

Counts = dict[str, int]
Rows = npt.NDArray[np.int64]

DENSE = 10  # products a query in the middle from which labels count as dense
BLOCK_TERMS = 1 << 22  # terms that a block of the product of the graph with itself may add up


@dataclass(frozen=True)
class Partners:
    """R directed pairs, by query, strongest first. query_R, other_R: rows of the graph. shared_R: products right for
    both. alike_R: cosine of their gains, in (0, 1]."""

    query_R: Rows
    other_R: Rows
    shared_R: Rows
    alike_R: FloatArray

    def __len__(self) -> int:
        return len(self.query_R)

    def __getitem__(self, index: npt.NDArray[np.generic]) -> Partners:
        return Partners(self.query_R[index], self.other_R[index], self.shared_R[index], self.alike_R[index])


def query_products(shop: Shop, queries: Sequence[Query], source: str = "auto") -> sp.csr_matrix:
    """(queries, products) ESCI gain of what is Exact or Substitute, or 1 of what was bought; nothing else is stored.

    Args:
        queries: only their labels and purchases are read: give the train split.
        source: "labels", "purchases", or "auto", labels where any of the queries has some.
    """
    if source not in ("auto", "labels", "purchases"):
        raise ConfigError(f"graph from {source!r}: choose auto, labels or purchases")
    levels = shop.qrels[[query.row for query in queries]] if queries else shop.qrels[:0]
    if source == "labels" or (source == "auto" and levels.nnz):
        gains = sp.csr_matrix((GAINS[levels.data - 1], levels.indices, levels.indptr), shape=levels.shape)
        gains.data[levels.data < SUBSTITUTE + 1] = 0.0
        gains.eliminate_zeros()
        return gains
    bought = np.unique(np.column_stack(shop.purchases_of(queries)), axis=0)
    ones = np.full(len(bought), GAINS[EXACT], np.float32)
    return sp.csr_matrix((ones, (bought[:, 0], bought[:, 1])), shape=(len(queries), len(shop.products)))


def capped(gains_N_P: sp.csr_matrix, max_queries: int) -> tuple[sp.csr_matrix, Counts]:
    """The graph in which a product joins at most `max_queries` queries: those of the highest gain, then those that
    fewest products are right for; and how many products and edges were cut."""
    graph = gains_N_P.tocoo()
    crowded_P = np.bincount(graph.col, minlength=graph.shape[1]) > max_queries
    counts = {"products with too many queries": int(crowded_P.sum()), "edges cut from them": 0}
    if not crowded_P.any():
        return gains_N_P, counts
    at = np.flatnonzero(crowded_P[graph.col])
    size_N = np.diff(gains_N_P.indptr)
    order = at[np.lexsort((graph.row[at], size_N[graph.row[at]], -graph.data[at], graph.col[at]))]
    cut = order[rank_in_run(graph.col[order]) >= max_queries]
    kept = np.ones(graph.nnz, np.bool_)
    kept[cut] = False
    counts["edges cut from them"] = len(cut)
    entries = graph.data[kept], (graph.row[kept], graph.col[kept])
    return sp.csr_matrix(entries, shape=graph.shape), counts


def rank_in_run(group_R: npt.NDArray[np.integer]) -> Rows:
    """Position of each entry inside its run of equal values, (R,); equal values are neighbours."""
    starts = np.flatnonzero(np.r_[True, group_R[1:] != group_R[:-1]]) if len(group_R) else np.zeros(0, np.int64)
    return np.arange(len(group_R)) - np.repeat(starts, np.diff(np.r_[starts, len(group_R)]))


def strongest(
    gains_N_P: sp.csr_matrix, most: int, min_shared: int = 1, min_alike: float = 0.0, same_N: Rows | None = None
) -> tuple[Partners, Counts]:
    """For each row of a sparse matrix the `most` others whose products are most like its own, and what was left out.

    Memory is bounded by `BLOCK_TERMS` a block of rows, time by the sum over columns of their squared length.

    Args:
        min_shared: columns that both rows must have. min_alike: least cosine of two rows.
        same_N: rows of one number are the same text and no pair.
    """
    length_N = np.sqrt(np.asarray(gains_N_P.multiply(gains_N_P).sum(axis=1), np.float64).ravel())
    unit = sp.diags_array(1 / np.maximum(length_N, 1e-12)).dot(gains_N_P).tocsr().astype(np.float32)
    ones = sp.csr_matrix((np.ones(unit.nnz, np.float32), unit.indices, unit.indptr), shape=unit.shape)
    by_product = unit.T.tocsr(), ones.T.tocsr()
    counts = dict.fromkeys(("share a product", "share too few", "too little alike", "the same words", "beyond"), 0)
    parts = [Partners(*(np.zeros(0, np.int64),) * 3, np.zeros(0, np.float32))]
    for start, stop in _blocks(gains_N_P):
        pairs = _block_pairs((unit[start:stop], ones[start:stop]), by_product, start)
        counts["share a product"] += len(pairs)
        pairs = kept(pairs, pairs.shared_R >= min_shared, "share too few", counts)
        pairs = kept(pairs, pairs.alike_R >= min_alike, "too little alike", counts)
        if same_N is not None:
            pairs = kept(pairs, same_N[pairs.query_R] != same_N[pairs.other_R], "the same words", counts)
        pairs = pairs[np.lexsort((pairs.other_R, -pairs.shared_R, -pairs.alike_R.round(6), pairs.query_R))]
        parts.append(kept(pairs, rank_in_run(pairs.query_R) < most, "beyond", counts))
    columns = ("query_R", "other_R", "shared_R", "alike_R")
    return Partners(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns)), counts


def kept(pairs: Partners, keep_R: npt.NDArray[np.bool_], name: str, counts: Counts) -> Partners:
    """The pairs to keep; the others are counted."""
    counts[name] = counts.get(name, 0) + int(len(pairs) - keep_R.sum())
    return pairs[keep_R]


def _blocks(graph: sp.csr_matrix) -> Iterator[tuple[int, int]]:
    """Ranges of rows whose products with the whole graph add up at most `BLOCK_TERMS` terms (or one row)."""
    joined_P = np.bincount(graph.indices, minlength=graph.shape[1])
    terms_E = np.r_[0, np.cumsum(joined_P[graph.indices])]
    terms_N = terms_E[graph.indptr]  # before each row, and after the last
    start = 0
    while start < graph.shape[0]:
        stop = int(np.searchsorted(terms_N, terms_N[start] + BLOCK_TERMS, side="right")) - 1
        stop = min(max(stop, start + 1), graph.shape[0])
        yield start, stop
        start = stop


def _block_pairs(
    rows: tuple[sp.csr_matrix, sp.csr_matrix], by_product: tuple[sp.csr_matrix, sp.csr_matrix], start: int
) -> Partners:
    """All pairs of a block of rows, from `start` on, with any row, without themselves."""
    alike, shared = (block @ whole for block, whole in zip(rows, by_product, strict=True))
    # Gains are positive: both products have the same entries, and the same algorithm leaves them in the same order.
    query_R = np.repeat(np.arange(start, start + alike.shape[0]), np.diff(alike.indptr))
    pairs = Partners(query_R, alike.indices.astype(np.int64), shared.data.round().astype(np.int64), alike.data)
    return pairs[pairs.query_R != pairs.other_R]


def default_shared(gains_N_P: sp.csr_matrix) -> int:
    """MiniELM's k is unknown: 5 where labels are dense, 1 where they are sparse."""
    sizes = np.diff(gains_N_P.indptr)
    return 5 if gains_N_P.nnz and np.median(sizes[sizes > 0]) >= DENSE else 1


def stem_incidence(texts: Sequence[str], column: dict[str, int], grow: bool) -> sp.csr_matrix:
    """(texts, stems) 0/1 matrix; `column` is filled where it may grow, else other stems are left out."""
    if grow:
        rows = [sorted({column.setdefault(term, len(column)) for term in tokenize.terms(text)}) for text in texts]
    else:
        rows = [sorted({column[term] for term in tokenize.terms(text) if term in column}) for text in texts]
    return incidence(rows, max(len(column), 1))
