"""Ranking metrics as array work, used inside the environment; reported figures come from ir_measures (evaluate.py).

    ndcg_N = ndcg(grades.gain_NK, ideal_dcg(shop.qrels)[query_rows_N])

Parity with ir_measures is tested to 1e-6. Every function works on N result lists at once and sums in float64, one
list independent of the others, so a list scores the same alone and in a batch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from qr_env.types import GAINS

DEPTH = 10  # nDCG@10 is the figure that the field reports
PAIRWISE = 1_024  # up to this many pairs of places a line, comparing all of them is faster than sorting
Float64Array = npt.NDArray[np.float64]


def discounts(k: int) -> Float64Array:
    """1 / log2(rank + 1) for ranks 1 … k (Järvelin & Kekäläinen 2002)."""
    return 1.0 / np.log2(np.arange(2, k + 2))


def dcg(gains_NK: npt.NDArray[np.floating], k: int = DEPTH) -> Float64Array:
    """Σ gain · discount over the first k places, (N,). NaN where a gain is NaN: mask before, or mean it."""
    top_NK = np.asarray(gains_NK[:, :k], np.float64)
    return (top_NK * discounts(top_NK.shape[1])).sum(axis=1)


def best_dcg(k: int = DEPTH) -> float:
    """DCG of k Exact products: no list can have more."""
    return float(dcg(np.ones((1, k)), k)[0])


def ndcg(gains_NK: npt.NDArray[np.floating], ideal_N: npt.NDArray[np.floating], k: int = DEPTH) -> Float64Array:
    """DCG / ideal DCG, (N,) in [0, 1]; 0 where nothing relevant exists, as in trec_eval."""
    ideal_N = np.asarray(ideal_N, np.float64)
    return np.divide(dcg(gains_NK, k), ideal_N, out=np.zeros(len(gains_NK)), where=ideal_N > 0)


def ideal_dcg(qrels: sp.csr_matrix, k: int = DEPTH) -> Float64Array:
    """DCG@k of the best list that each query's grades allow, (queries,). `qrels` holds level + 1, as in `Shop`."""
    queries_N = np.repeat(np.arange(qrels.shape[0]), np.diff(qrels.indptr))
    reach = np.concatenate([[0.0], np.cumsum(discounts(k))])
    ideal_N = np.zeros(qrels.shape[0])
    used_N = np.zeros(qrels.shape[0], np.int64)
    for level in range(len(GAINS) - 1, 0, -1):
        count_N = np.bincount(queries_N[qrels.data == level + 1], minlength=len(ideal_N))
        until_N = np.minimum(used_N + count_N, k)
        ideal_N += float(GAINS[level]) * (reach[until_N] - reach[used_N])
        used_N = until_N
    return ideal_N


def recall(relevant_NK: npt.NDArray[np.bool_], total_N: npt.NDArray[np.integer], k: int = 100) -> Float64Array:
    """Share of all relevant products among the first k, (N,); 0 where there is none to find."""
    found_N = relevant_NK[:, :k].sum(axis=1)
    return np.divide(found_N, total_N, out=np.zeros(len(relevant_NK)), where=np.asarray(total_N) > 0)


def reciprocal_rank(relevant_NK: npt.NDArray[np.bool_]) -> Float64Array:
    """1 / rank of the first relevant product, (N,); 0 where there is none."""
    if relevant_NK.shape[1] == 0:
        return np.zeros(len(relevant_NK))
    return np.where(relevant_NK.any(axis=1), 1.0 / (1.0 + relevant_NK.argmax(axis=1)), 0.0)


def isin_rows(rows_NK: npt.NDArray[np.int32], others_NM: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """(N, K) True where rows_NK[n, k] is a product of others_NM[n]. Padding (-1) is in nothing.

    Short lists are compared pair by pair, long ones by one sort of each line.
    """
    n, k = rows_NK.shape
    if others_NM.shape[1] == 0 or k == 0:
        return np.zeros((n, k), np.bool_)
    if k * others_NM.shape[1] <= PAIRWISE:
        # Lines run along the last axis, so that each comparison is one long stretch: ten times faster than (N, K, M).
        rows_KN, others_MN = np.ascontiguousarray(rows_NK.T), np.ascontiguousarray(others_NM.T)
        same_KN = np.logical_or.reduce([rows_KN == other_N for other_N in others_MN])
        return np.ascontiguousarray((same_KN & (rows_KN >= 0)).T)
    # Keys of one line are apart from those of every other line, so one flat search serves all lines.
    span = np.int64(max(int(rows_NK.max()), int(others_NM.max())) + 2)
    offset_N1 = (np.arange(n, dtype=np.int64) * span)[:, None]
    keys = np.sort(others_NM + offset_N1, axis=1).ravel()
    wanted_NK = rows_NK + offset_N1
    at_NK = np.minimum(np.searchsorted(keys, wanted_NK), len(keys) - 1)
    return (keys[at_NK] == wanted_NK) & (rows_NK >= 0)
