"""Lists for a teacher to grade and a student to learn from, drawn from a shop without any label.

    groups = traffic_groups(shop, [bm25, dense], n=2_000, seed=0)        # what shoppers search, what engines find
    groups = catalogue_groups(shop, [bm25, dense], n=2_000, seed=0)      # what the catalogue itself gives
    probs_GK4 = teacher.grade(groups.queries, groups.rows_GK).probs_NK4

A group is one query and k products: some found by an engine, good ranks more often than deep ones, and some drawn at
random, so that a list has a bottom and a student's score a level (Walmart's simulator of production traffic, arXiv
2505.07105, is here the shop's own).

Without labels and without a strong LLM, a judge adapts to a catalogue by itself, as InPars (arXiv 2202.05144) and GPL
(2112.07577) do. Queries are made from products (`qr_env/synthetic/queries.py` in place of their language models),
what a query was made from is a positive, what engines find besides it a hard negative. GPL's cross-encoder, which
says how negative a negative is, does not exist here: similarity says it, and may call none of them Exact
(`CatalogueJudge`).
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

LIST = 8  # products of a group
RANDOM = 2  # of them at random
POSITIVES = 2  # of a catalogue query's group, those that it was made from
DEPTH = 50  # ranks that found ones are drawn from

Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Groups:
    """G queries with k different products each. rows_GK: int32, -1 where a list is shorter."""

    queries: list[Query]
    rows_GK: RowArray

    def __len__(self) -> int:
        return len(self.queries)


def traffic_groups(
    shop: Shop, retrievers: Sequence[Retriever], n: int, split: str = "train", seed: int = 0, k: int = LIST
) -> Groups:
    """n groups of what is searched for: queries of `split` drawn by frequency, each with one engine's products.

    Where the split has fewer queries, others are made from the catalogue: they have row -1, as no query of the shop.
    Deterministic in `seed`.
    """
    rng = np.random.default_rng(seed)
    queries = _by_frequency(shop.split(split), n, rng)
    if len(queries) < n:
        queries += [replace(query, row=-1) for query in made_queries(shop, n - len(queries), seed)[1]]
    return Groups(queries, lists(shop, retrievers, [query.text for query in queries], k, rng))


def catalogue_groups(
    shop: Shop, retrievers: Sequence[Retriever], n: int, seed: int = 0, k: int = LIST
) -> tuple[Shop, Groups]:
    """n groups of queries made from the catalogue, and the shop that has them: their rows and positives are its.

    First in each list are up to two products that hold what the query means, then found ones, then random ones.
    """
    rng = np.random.default_rng(seed)
    extended, queries = made_queries(shop, n, seed)
    rows_GK = lists(shop, retrievers, [query.text for query in queries], k - POSITIVES, rng)
    positive_GP = _positives(extended, np.array([query.row for query in queries]), rng)
    return extended, Groups(queries, without_repeats(np.concatenate([positive_GP, rows_GK], axis=1)))


def made_queries(shop: Shop, n: int, seed: int) -> tuple[Shop, list[Query]]:
    """The shop with n queries more, and those, in a random order. Raises ConfigError where its texts give none."""
    extended = with_catalogue_queries(shop, n, seed)
    made = [query for query in extended.all_queries if query.row >= len(shop.queries)]
    return extended, [made[i] for i in np.random.default_rng(seed).permutation(len(made))]


class CatalogueJudge:
    """The teacher of `catalogue_groups`: Exact for what a query was made from, similarity for the rest.

    Args:
        extended: the shop with the made queries.
        similarity: grades the rest; its Exact becomes Substitute, since what holds the query's meaning is known.
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


def lists(shop: Shop, retrievers: Sequence[Retriever], texts: Sequence[str], k: int, rng: Generator) -> RowArray:
    """(G, k) product rows for G texts: found by one of the engines, drawn for each text, the last ones at random.

    Rank r of 50 is drawn with weight 1 / r, without repeats (Gumbel top-k); what an engine lacks, chance fills.
    """
    if not retrievers:
        raise ConfigError("lists need a retriever: bm25, dense or hybrid")
    if k <= RANDOM:
        raise ConfigError(f"lists of {k} products: {RANDOM} are random, so at least {RANDOM + 1} are needed")
    found_GD = np.full((len(texts), DEPTH), -1, np.int32)
    engine_G = rng.integers(len(retrievers), size=len(texts))
    for number, engine in enumerate(retrievers):
        mine = np.flatnonzero(engine_G == number)
        hits_ND = engine.search([texts[g] for g in mine.tolist()], DEPTH).rows_NK
        found_GD[mine, : hits_ND.shape[1]] = hits_ND
    key_GD = rng.gumbel(size=found_GD.shape) - np.log(np.arange(1, DEPTH + 1))
    key_GD[found_GD < 0] = -np.inf
    best_GK = np.argsort(-key_GD, axis=1, kind="stable")[:, : k - RANDOM]
    rows_GK = np.full((len(texts), k), -1, np.int32)
    rows_GK[:, : k - RANDOM] = np.take_along_axis(found_GD, best_GK, axis=1)
    random_GK = rng.integers(max(1, len(shop.products)), size=rows_GK.shape, dtype=np.int32)
    return without_repeats(np.where(rows_GK < 0, random_GK, rows_GK))


def without_repeats(rows_GK: RowArray) -> RowArray:
    """The lists with every product once: later ones become -1."""
    same_GKK = rows_GK[:, :, None] == rows_GK[:, None, :]
    earlier_KK = np.tri(rows_GK.shape[1], k=-1, dtype=np.bool_)
    return np.where((same_GKK & earlier_KK).any(axis=2), np.int32(-1), rows_GK)


def _by_frequency(queries: Sequence[Query], n: int, rng: Generator) -> list[Query]:
    """Up to n different ones, frequent ones more often, in a random order."""
    weight_Q = np.array([query.frequency for query in queries], np.float64)
    key_Q = rng.gumbel(size=len(queries)) + np.log(np.maximum(weight_Q, 1e-9))
    chosen = np.argsort(-key_Q, kind="stable")[:n]
    return [queries[q] for q in rng.permutation(chosen).tolist()]


def _positives(extended: Shop, query_G: npt.NDArray[np.int64], rng: Generator) -> RowArray:
    """(G, 2) products that hold what each query means, drawn among its Exact ones; repeats are left for the caller."""
    start_G, stop_G = extended.qrels.indptr[query_G], extended.qrels.indptr[query_G + 1]
    draw_GP = rng.random((len(query_G), POSITIVES))
    place_GP = start_G[:, None] + (draw_GP * (stop_G - start_G)[:, None]).astype(np.int64)
    has_G1 = (stop_G > start_G)[:, None]
    at_GP = np.minimum(place_GP, max(0, extended.qrels.nnz - 1))
    return np.where(has_G1, extended.qrels.indices[at_GP] if extended.qrels.nnz else -1, -1).astype(np.int32)
