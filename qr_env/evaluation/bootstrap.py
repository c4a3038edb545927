"""Paired bootstrap over queries: intervals for the sampling error of means and differences.

All columns are resampled with the same queries (paired), and all resamples are computed as one matrix
product (Efron & Tibshirani 1993, percentile intervals).

    means_RM = resampled_means(values_NM, seed=0)
    low, high = interval(means_RM[:, 0] - means_RM[:, 1])
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Counts in memory at once, in cells: limits the memory to about 64 MB.
CHUNK_CELLS = 8_000_000


def resampled_means(
    values_NM: npt.ArrayLike, weights_NM: npt.ArrayLike | None = None, resamples: int = 2000, seed: int = 0
) -> Array:
    """Weighted means of M columns in `resamples` samples of N queries drawn with replacement: (R, M) float64.

    Args:
        values_NM: one row a query. NaN is a missing value: it has no weight in its column.
        weights_NM: weights, broadcast over the columns; None weighs every query the same.
        resamples: R.
        seed: the same seed and N draw the same queries, whatever the columns are.

    Returns:
        (R, M); NaN where a sample has no weight in a column.
    """
    values_NM = np.asarray(values_NM, np.float64)
    defined_NM = ~np.isnan(values_NM)
    weights_NM = np.broadcast_to(1.0 if weights_NM is None else np.asarray(weights_NM, np.float64), values_NM.shape)
    weights_NM = weights_NM * defined_NM
    sums_NM = np.where(defined_NM, values_NM, 0.0) * weights_NM
    columns = np.concatenate([sums_NM, weights_NM], axis=1)
    sums = np.concatenate([counts_RN @ columns for counts_RN in _counts(len(values_NM), resamples, seed)])
    sums_RM, weights_RM = np.split(sums, 2, axis=1)
    return np.divide(sums_RM, weights_RM, out=np.full_like(sums_RM, np.nan), where=weights_RM > 0)


def _counts(n: int, resamples: int, seed: int) -> Iterator[Array]:
    """How often each of n queries is in each resample, in chunks of rows."""
    rng = np.random.default_rng(seed)
    rows = max(1, CHUNK_CELLS // max(1, n))
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn_RN = rng.integers(0, max(1, n), (size, n)) + np.arange(size)[:, None] * n
        yield np.bincount(drawn_RN.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def interval(samples_R: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of a bootstrapped figure; (NaN, NaN) when no resample defines it."""
    samples = np.asarray(samples_R, np.float64)
    samples = samples[np.isfinite(samples)]
    if len(samples) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
