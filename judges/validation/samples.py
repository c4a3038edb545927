"""Samples of human-graded pairs of a shop, and a judge's verdicts on them.

sample = labelled_sample(shop, ("dev",), pairs=2_000, seed=0, retriever=bm25)
graded = grade_sample(judge, sample.queries, sample.rows_PK)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from judges.base import PairJudge
from qr_env.common.errors import JudgeError
from qr_env.common.protocols import Judge, Retriever
from qr_env.common.types import LEVELS, FloatArray, Query, RowArray
from qr_env.evaluation.made_up import typed_queries
from qr_env.shop.shop import Shop

CHUNK = 32  # queries a call: the progress bar moves, and a judge can still batch


@dataclass(frozen=True, slots=True)
class Sample:
    """Human-graded pairs as P lists."""

    queries: list[Query]
    """P queries"""
    rows_PK: RowArray
    """(P, K) int32 product rows, -1 is padding; in random order, independent of the grade"""
    levels_PK: npt.NDArray[np.int8]
    """(P, K) human level of each, -1 on padding"""

    @property
    def pairs(self) -> int:
        """Number of graded pairs."""
        return int((self.levels_PK >= 0).sum())

    def __getitem__(self, part: slice) -> Sample:
        return Sample(self.queries[part], self.rows_PK[part], self.levels_PK[part])


def labelled_sample(
    shop: Shop,
    splits: Sequence[str],
    pairs: int = 2_000,
    seed: int = 0,
    retriever: Retriever | None = None,
    k: int = 10,
) -> Sample:
    """Up to `pairs` graded pairs of the splits' queries, drawn by `seed`.

    Where the shop knows the grade of every pair: for each query drawn, k retrieved products (without a retriever, any
    that are not Irrelevant) and k random ones. Elsewhere: any of the human-graded pairs.

    Queries that were made from the catalogue are left out: nobody graded their products.

    Raises JudgeError where no query of the splits has a label.
    """
    rng = np.random.default_rng(seed)
    typed = typed_queries(shop, shop.all_queries)
    rows_P = np.array([query.row for query in typed if query.split in splits], np.int64)
    if shop.qrels_complete and len(rows_P):
        drawn = rng.permutation(rows_P)[: max(1, pairs // (2 * k))]
        query_M, product_M = _retrieved_and_random(shop, drawn, rng, retriever, k)
    else:
        graded = shop.qrels.tocoo()
        wanted = np.flatnonzero(np.isin(graded.row, rows_P))
        query_M, product_M = graded.row[wanted], graded.col[wanted]
    if not len(query_M):
        raise JudgeError(f"{shop!r} has no labels for {', '.join(splits)} queries: name another `split`, or a shop")
    chosen = rng.permutation(len(query_M))[:pairs]
    return group_by_query(shop, query_M[chosen], product_M[chosen])


def retrieved_sample(
    shop: Shop, split: str, retriever: Retriever, queries: int = 1_000, k: int = 10, seed: int = 0
) -> Sample:
    """The k products that a search finds for each of up to `queries` queries of the split, drawn by `seed`; levels are
    -1 where the shop has none."""
    asked = shop.split(split)
    drawn = [asked[at] for at in np.sort(np.random.default_rng(seed).permutation(len(asked))[:queries]).tolist()]
    rows_PK = retriever.search([query.text for query in drawn], k).rows_NK
    return Sample(drawn, rows_PK, shop.levels([query.row for query in drawn], rows_PK))


def _retrieved_and_random(
    shop: Shop, drawn_P: npt.NDArray[np.int64], rng: np.random.Generator, retriever: Retriever | None, k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(query rows, product rows) of distinct pairs."""
    random_PK = rng.integers(len(shop.products), size=(len(drawn_P), k))
    if retriever is None:
        stored = [shop.qrels.indices[slice(*shop.qrels.indptr[row : row + 2])] for row in drawn_P.tolist()]
        found_PK = np.array([rng.choice(some, k) if len(some) else [-1] * k for some in stored])
    else:
        found_PK = retriever.search([shop.all_queries[row].text for row in drawn_P.tolist()], k).rows_NK
    rows_PK = np.concatenate([found_PK, random_PK], axis=1)
    pairs_M2 = np.stack([np.repeat(drawn_P, rows_PK.shape[1]), rows_PK.ravel()], axis=1)
    pairs_M2 = np.unique(pairs_M2[pairs_M2[:, 1] >= 0], axis=0)
    return pairs_M2[:, 0], pairs_M2[:, 1]


def group_by_query(shop: Shop, query_M: npt.NDArray[np.integer], product_M: npt.NDArray[np.integer]) -> Sample:
    """Pairs in any order → one list a query in that order, with the shop's levels."""
    rows_P, line_M = np.unique(query_M, return_inverse=True)
    order = np.argsort(line_M, kind="stable")
    size_P = np.bincount(line_M, minlength=len(rows_P))
    place_M = np.arange(len(order)) - np.repeat(np.cumsum(size_P) - size_P, size_P)
    rows_PK = np.full((len(rows_P), int(size_P.max(initial=1))), -1, np.int32)
    rows_PK[line_M[order], place_M] = product_M[order]
    queries = [shop.all_queries[row] for row in rows_P.tolist()]
    return Sample(queries, rows_PK, shop.levels(rows_P, rows_PK))


@dataclass(frozen=True, slots=True)
class GradedSample:
    """A judge's verdicts on a sample."""

    probs_PK4: FloatArray
    """(P, K, 4) probabilities of the levels, NaN where missing and on padding"""
    seconds: float
    """duration of grading"""
    counts: dict[str, float]
    """increase of the judge's `stats` while grading"""


def grade_sample(judge: Judge, queries: Sequence[Query], rows_PK: RowArray, progress: bool = False) -> GradedSample:
    """Grade lists, a few queries at a time."""
    before, started, parts = _stats(judge), time.perf_counter(), []
    with tqdm(total=int((rows_PK >= 0).sum()), desc=judge.name, unit="pair", disable=not progress) as bar:
        for start in range(0, len(queries), CHUNK):
            part = rows_PK[start : start + CHUNK]
            parts.append(judge.grade(queries[start : start + CHUNK], part).probs_NK4)
            bar.update(int((part >= 0).sum()))
    seconds = time.perf_counter() - started
    counts = {name: value - before.get(name, 0.0) for name, value in _stats(judge).items()}
    return GradedSample(np.concatenate(parts), seconds, counts)


def _stats(judge: Judge) -> dict[str, float]:
    stats: Callable[[], dict[str, float]] = getattr(judge, "stats", dict)
    return {name: float(value) for name, value in stats().items() if isinstance(value, int | float)}


def pair_judge_of(judge: Judge) -> PairJudge | None:
    """The judge of texts inside a judge of a shop (`judges.verdict_store.stored.ShopJudge`); None for another judge."""
    return getattr(judge, "pair_judge", None)


def grade_in_order(judge: Judge, shop: Shop, queries: Sequence[Query], rows_PK: RowArray) -> FloatArray:
    """(P, K, 4) verdicts of pairs graded in this order and without the store; `ShopJudge` sorts and looks up."""
    pair_judge = pair_judge_of(judge)
    if pair_judge is None:
        return judge.grade(queries, rows_PK).probs_NK4
    texts, real_PK = pair_judge.product_texts(shop), rows_PK >= 0
    lines = np.nonzero(real_PK)[0].tolist()
    pairs = [(queries[n].text, texts[row]) for n, row in zip(lines, rows_PK[real_PK].tolist(), strict=True)]
    probs_PK4 = np.full((*rows_PK.shape, len(LEVELS)), np.nan, np.float32)
    probs_PK4[real_PK] = pair_judge.grade_pairs(pairs)
    return probs_PK4
