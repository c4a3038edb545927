"""Paired randomisation test of differences over queries, and Holm's correction for several comparisons.

    p_F = sign_flip_p_values(student_N[:, None] - baselines_NF)
    proven_F = holm(p_F) <= 0.05

Under the null hypothesis a query's difference between two systems is as likely to have the other sign. The test
compares the mean difference with its distribution under random signs, one a query, used for all columns (Fisher 1935;
Smucker, Allan & Carterette, "A comparison of statistical significance tests for information retrieval evaluation",
CIKM 2007). With few queries no difference is proven: five queries that all gain have p = 1/16, where a bootstrap
interval would exclude 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
CHUNK_CELLS = 8_000_000  # signs in memory at once: 64 MB
ROUNDING = 1e-9  # a mean under random signs counts as equal from this relative difference on


def sign_flip_p_values(differences_NF: npt.ArrayLike, draws: int = 9_999, seed: int = 0) -> Array:
    """Two-sided p-values of F mean differences over N queries, (F,).

    Args:
        differences_NF: one row a query. NaN is a missing value: the query is left out of that column.
        draws: random sign vectors. The smallest possible p-value is 1 / (draws + 1).
        seed: the same seed and N draw the same signs.

    Returns:
        (F,) in (0, 1]; 1 where a column has no value, or only zeros.
    """
    differences_NF = np.nan_to_num(np.asarray(differences_NF, np.float64))
    n, observed_F = len(differences_NF), np.abs(differences_NF.sum(axis=0))
    rng = np.random.default_rng(seed)
    as_extreme_F = np.zeros(differences_NF.shape[1])
    rows = max(1, CHUNK_CELLS // max(1, n))
    for start in range(0, draws, rows):
        signs_RN = 2.0 * rng.integers(0, 2, (min(rows, draws - start), n)) - 1.0
        as_extreme_F += (np.abs(signs_RN @ differences_NF) >= observed_F * (1 - ROUNDING)).sum(axis=0)
    return (1 + as_extreme_F) / (1 + draws)


def holm(p_values_F: npt.ArrayLike) -> Array:
    """p-values adjusted for F comparisons (Holm 1979), (F,): rejecting those ≤ alpha bounds the probability of any
    false rejection by alpha."""
    p_F = np.asarray(p_values_F, np.float64)
    order_F = np.argsort(p_F, kind="stable")
    factors_F = np.arange(len(p_F), 0, -1)
    adjusted_F = np.empty(len(p_F))
    adjusted_F[order_F] = np.minimum(np.maximum.accumulate(p_F[order_F] * factors_F), 1.0)
    return adjusted_F
