"""Counts over pairs of result lists, compiled by numba and cached on disk: one pass instead of a dozen of numpy's."""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

COUNTS = (
    *("found_before", "judged_before", "relevant_before", "mean_before", "rank_before"),
    *("found_after", "judged_after", "relevant_after", "mean_after", "rank_after"),
    *("new", "new_relevant", "excellent_before", "excellent_new", "wanted", "wanted_before", "wanted_either"),
)
_ROWS_NM = nb.types.Array(nb.int32, 2, "A", readonly=True)
_GRADES = nb.types.Array(nb.float32, 3, "A", readonly=True)
_MASK = nb.types.Array(nb.boolean, 1, "C", readonly=True)
_VALUES = nb.types.Array(nb.float32, 2, "A", readonly=True)


@nb.njit(inline="always")
def _contains(rows: npt.NDArray, row: int) -> bool:
    for other in rows:  # noqa: SIM110 - numba compiles no generators
        if other == row:
            return True
    return False


@nb.njit(inline="always")
def _count_list(
    rows: npt.NDArray, probs: npt.NDArray, tau: float, depth: int
) -> tuple[float, float, float, float, float]:
    """Of one result list: number of products, of judged ones, of those with relevance above tau, mean relevance of the
    first `depth` places, and the rank of the first relevant product among the judged ones (from 1; 0: none)."""
    found, judged, relevant, top, total, rank = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(len(rows)):
        if rows[k] < 0:
            continue
        found += 1
        if np.isnan(probs[k, 0]):
            continue
        judged += 1
        relevance = probs[k, 2] + probs[k, 3]
        relevant += relevance > tau
        if rank == 0 and relevance > tau:
            rank = judged
        if k < depth:
            top += 1
            total += relevance
    return found, judged, relevant, np.nan if found > 0 and top == 0 else total / max(top, 1.0), rank


_LISTS_AND_GRADES = (_ROWS_NM, _GRADES, _ROWS_NM, _GRADES)
_REST = (_MASK, _ROWS_NM, _VALUES, nb.float64, nb.int64, nb.float64[:, ::1])


@nb.njit(nb.void(*_LISTS_AND_GRADES, *_REST), nogil=True, cache=True)
def count_products(
    before_NK: npt.NDArray,
    probs_before_NK4: npt.NDArray,
    after_NK: npt.NDArray,
    probs_after_NK4: npt.NDArray,
    excellent_C: npt.NDArray,
    bought_NM: npt.NDArray,
    bought_relevance_NM: npt.NDArray,
    tau: float,
    depth: int,
    counts_FN: npt.NDArray,
) -> None:
    """Fill counts_FN, one row for each of `COUNTS`, from two result lists and the products bought outside search.

    Args:
        before_NK, probs_before_NK4: product rows (-1 padding) and level probabilities (NaN missing) of the original.
        after_NK, probs_after_NK4: the same after the rewrite.
        excellent_C: (products,) bool; empty counts every product as excellent.
        bought_NM, bought_relevance_NM: products bought outside search (-1 padding) and their relevance.
        tau: a product is relevant above this relevance.
        depth: places that the mean relevance covers.
        counts_FN: float64 output.
    """
    for n in range(len(before_NK)):
        before, after = before_NK[n], after_NK[n]
        found_b, judged_b, relevant_b, mean_b, rank_b = _count_list(before, probs_before_NK4[n], tau, depth)
        found_a, judged_a, relevant_a, mean_a, rank_a = _count_list(after, probs_after_NK4[n], tau, depth)
        new, new_relevant, excellent, excellent_new = 0.0, 0.0, 0.0, 0.0
        wanted, wanted_before, wanted_either = 0.0, 0.0, 0.0
        for k in range(len(before)):
            if before[k] >= 0 and probs_before_NK4[n, k, 2] + probs_before_NK4[n, k, 3] > tau:
                excellent += len(excellent_C) == 0 or excellent_C[before[k]]
        for k in range(len(after)):
            if after[k] < 0 or _contains(before, after[k]):
                continue
            new += 1
            if probs_after_NK4[n, k, 2] + probs_after_NK4[n, k, 3] > tau:
                new_relevant += 1
                excellent_new += len(excellent_C) == 0 or excellent_C[after[k]]
        for m in range(bought_NM.shape[1]):
            if bought_NM[n, m] >= 0 and bought_relevance_NM[n, m] > tau:
                wanted += 1
                in_before = _contains(before, bought_NM[n, m])
                wanted_before += in_before
                wanted_either += in_before or _contains(after, bought_NM[n, m])
        counts = (found_b, judged_b, relevant_b, mean_b, rank_b, found_a, judged_a, relevant_a, mean_a, rank_a)
        more = (new, new_relevant, excellent, excellent_new, wanted, wanted_before, wanted_either)
        for c, count in enumerate((*counts, *more)):
            counts_FN[c, n] = count
