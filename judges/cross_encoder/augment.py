"""Training lists for distillation: queries and products drawn from a shop without any label.

    groups = traffic_groups(shop, [bm25, dense], n=2_000, seed=0)                # real queries, retrieved products
    extended, groups = catalogue_groups(shop, [bm25, dense], n=2_000, seed=0)    # queries made from products
    probs_NK4 = teacher.grade(groups.queries, groups.rows_NK).probs_NK4

A group is one query and k products: some retrieved, top ranks more often than deep ones, and some drawn at random, so
that a list has irrelevant products and the student learns the level of its score (as Walmart's simulator of production
traffic does, arXiv 2505.07105).

Without labels and without a strong LLM, a judge adapts to a catalogue by itself, as InPars (arXiv 2202.05144) and GPL
(2112.07577) do. Queries are made from products (`qr_env/synthetic/queries.py` replaces their language models); the
products that a query was made from are positives, other retrieved products hard negatives. GPL grades negatives with a
cross-encoder, which does not exist here: similarity grades them, and its Exact counts as Substitute (`CatalogueJudge`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Judge, Retriever
from qr_env.common.types import EXACT, SUBSTITUTE, Grades, Query, RowArray
from qr_env.shop.shop import Shop
from qr_env.synthetic.queries import with_catalogue_queries

LIST_SIZE = 8  # products of a group
RANDOM_PRODUCTS = 2  # of them drawn at random
POSITIVES = 2  # products of a catalogue group from which its query was made
DEPTH = 50  # ranks from which retrieved products are drawn

Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Groups:
    """N queries with a list of products each."""

    queries: list[Query]
    """N queries; row -1 for a query that is not the shop's"""
    rows_NK: RowArray
    """(N, K) int32 distinct product rows, -1 where a list is shorter"""

    def __len__(self) -> int:
        return len(self.queries)


def traffic_groups(
    shop: Shop, retrievers: Sequence[Retriever], n: int, split: str = "train", seed: int = 0, k: int = LIST_SIZE
) -> Groups:
    """n groups of real queries: queries of `split` drawn by frequency, each with one retriever's products.

    Where the split has fewer queries, the others are made from the catalogue, with row -1. Deterministic in `seed`.
    """
    rng = np.random.default_rng(seed)
    queries = _by_frequency(shop.split(split), n, rng)
    if len(queries) < n:
        queries += [replace(query, row=-1) for query in made_queries(shop, n - len(queries), seed)[1]]
    return Groups(queries, draw_lists(shop, retrievers, [query.text for query in queries], k, rng))


def catalogue_groups(
    shop: Shop, retrievers: Sequence[Retriever], n: int, seed: int = 0, k: int = LIST_SIZE
) -> tuple[Shop, Groups]:
    """n groups of queries made from the catalogue, and the shop extended by these queries and their labels.

    Each list starts with up to two products that match the query's meaning, then come retrieved and random ones.
    """
    rng = np.random.default_rng(seed)
    extended, queries = made_queries(shop, n, seed)
    rows_NK = draw_lists(shop, retrievers, [query.text for query in queries], k - POSITIVES, rng)
    positive_N2 = _positives(extended, np.array([query.row for query in queries]), rng)
    return extended, Groups(queries, without_repeats(np.concatenate([positive_N2, rows_NK], axis=1)))


def made_queries(shop: Shop, n: int, seed: int) -> tuple[Shop, list[Query]]:
    """The shop with n more queries, and these in random order. Raises ConfigError where its texts give none."""
    extended = with_catalogue_queries(shop, n, seed)
    made = [query for query in extended.all_queries if query.row >= len(shop.queries)]
    return extended, [made[i] for i in np.random.default_rng(seed).permutation(len(made))]


class CatalogueJudge:
    """The teacher of `catalogue_groups`: Exact for products that a query was made from, similarity for the others.

    Args:
        extended: the shop with the made queries.
        similarity: grades the others; its Exact becomes Substitute, since the Exact products are known.
    """

    name = "catalogue"

    def __init__(self, extended: Shop, similarity: Judge) -> None:
        self.extended, self.similarity = extended, similarity

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """(N, K, 4); NaN on padding."""
        probs_NK4 = self.similarity.grade(queries, rows_NK).probs_NK4.copy()
        probs_NK4[..., SUBSTITUTE] += probs_NK4[..., EXACT]
        probs_NK4[..., EXACT] = np.where(np.isnan(probs_NK4[..., EXACT]), np.nan, 0)
        positive_NK = self.extended.levels([query.row for query in queries], rows_NK) == EXACT
        probs_NK4[positive_NK] = np.eye(4, dtype=np.float32)[EXACT]
        return Grades(probs_NK4)


def draw_lists(shop: Shop, retrievers: Sequence[Retriever], texts: Sequence[str], k: int, rng: Generator) -> RowArray:
    """(N, k) product rows for N texts: from one retriever, drawn for each text, and the last ones at random.

    Rank r of 50 is drawn with weight 1 / r, without repeats (Gumbel top-k); gaps are filled at random.
    """
    if not retrievers:
        raise ConfigError("training lists need a retriever: bm25, dense or hybrid")
    if k <= RANDOM_PRODUCTS:
        raise ConfigError(
            f"lists of {k} products: {RANDOM_PRODUCTS} are random, so at least {RANDOM_PRODUCTS + 1} are needed"
        )
    retrieved = np.full((len(texts), DEPTH), -1, np.int32)
    retriever_N = rng.integers(len(retrievers), size=len(texts))
    for number, retriever in enumerate(retrievers):
        chosen = np.flatnonzero(retriever_N == number)
        hits = retriever.search([texts[n] for n in chosen.tolist()], DEPTH).rows_NK
        retrieved[chosen, : hits.shape[1]] = hits
    keys = rng.gumbel(size=retrieved.shape) - np.log(np.arange(1, DEPTH + 1))
    keys[retrieved < 0] = -np.inf
    best = np.argsort(-keys, axis=1, kind="stable")[:, : k - RANDOM_PRODUCTS]
    rows_NK = np.full((len(texts), k), -1, np.int32)
    rows_NK[:, : k - RANDOM_PRODUCTS] = np.take_along_axis(retrieved, best, axis=1)
    random_NK = rng.integers(max(1, len(shop.products)), size=rows_NK.shape, dtype=np.int32)
    return without_repeats(np.where(rows_NK < 0, random_NK, rows_NK))


def without_repeats(rows_NK: RowArray) -> RowArray:
    """The lists with repeated products replaced by -1."""
    same_NKK = rows_NK[:, :, None] == rows_NK[:, None, :]
    earlier_KK = np.tri(rows_NK.shape[1], k=-1, dtype=np.bool_)
    return np.where((same_NKK & earlier_KK).any(axis=2), np.int32(-1), rows_NK)


def _by_frequency(queries: Sequence[Query], n: int, rng: Generator) -> list[Query]:
    """Up to n distinct queries, drawn by frequency, in random order."""
    weights = np.array([query.frequency for query in queries], np.float64)
    keys = rng.gumbel(size=len(queries)) + np.log(np.maximum(weights, 1e-9))
    chosen = np.argsort(-keys, kind="stable")[:n]
    return [queries[q] for q in rng.permutation(chosen).tolist()]


def _positives(extended: Shop, query_N: npt.NDArray[np.int64], rng: Generator) -> RowArray:
    """(N, 2) products drawn among the Exact ones of each query; may repeat."""
    start_N, stop_N = extended.qrels.indptr[query_N], extended.qrels.indptr[query_N + 1]
    draw_N2 = rng.random((len(query_N), POSITIVES))
    place_N2 = start_N[:, None] + (draw_N2 * (stop_N - start_N)[:, None]).astype(np.int64)
    has_N1 = (stop_N > start_N)[:, None]
    at_N2 = np.minimum(place_N2, max(0, extended.qrels.nnz - 1))
    return np.where(has_N1, extended.qrels.indices[at_N2] if extended.qrels.nnz else -1, -1).astype(np.int32)
