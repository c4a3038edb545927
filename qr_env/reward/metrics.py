"""Ranking metrics with numpy, used inside the environment; reported figures come from ir_measures
(`qr_env.evaluation`).

    ndcg_N = ndcg(grades.gain_NK, ideal_dcg(shop.qrels)[query_rows_N])

Parity with ir_measures is tested to 1e-6. Every function takes N result lists and sums in float64, each list on its
own, so that a list has the same score alone and in a batch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from qr_env.common.types import GAINS

DEPTH = 10  # nDCG@10 is the usual metric
Float64Array = npt.NDArray[np.float64]


def discounts(k: int) -> Float64Array:
    """1 / log2(rank + 1) for ranks 1 … k (Järvelin & Kekäläinen 2002)."""
    return 1.0 / np.log2(np.arange(2, k + 2))


def dcg(gains_NK: npt.NDArray[np.floating], k: int = DEPTH) -> Float64Array:
    """Σ gain · discount over the first k places, (N,); NaN where a gain is NaN."""
    top_NK = np.asarray(gains_NK[:, :k], np.float64)
    return (top_NK * discounts(top_NK.shape[1])).sum(axis=1)


def best_dcg(k: int = DEPTH) -> float:
    """DCG of k Exact products, the maximum."""
    return float(dcg(np.ones((1, k)), k)[0])


def ndcg(gains_NK: npt.NDArray[np.floating], ideal_N: npt.NDArray[np.floating], k: int = DEPTH) -> Float64Array:
    """DCG / ideal DCG, (N,) in [0, 1]; 0 where nothing relevant exists, as in trec_eval."""
    ideal_N = np.asarray(ideal_N, np.float64)
    return np.divide(dcg(gains_NK, k), ideal_N, out=np.zeros(len(gains_NK)), where=ideal_N > 0)


def ideal_dcg(qrels: sp.csr_matrix, k: int = DEPTH) -> Float64Array:
    """DCG@k of the best possible list of each query, (queries,). `qrels` holds level + 1, as in `Shop`."""
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
    """Share of all relevant products among the first k, (N,); 0 where no product is relevant."""
    found_N = relevant_NK[:, :k].sum(axis=1)
    return np.divide(found_N, total_N, out=np.zeros(len(relevant_NK)), where=np.asarray(total_N) > 0)
