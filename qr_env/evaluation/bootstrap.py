"""Paired bootstrap over queries: intervals for the sampling error of means and differences.

All columns are resampled with the same queries (paired), and all resamples are computed as one matrix
product (Efron & Tibshirani 1993, percentile intervals).

    means_RF = resampled_means(values_NF, seed=0)
    low, high = interval(means_RF[:, 0] - means_RF[:, 1])
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Counts in memory at once, in cells: limits the memory to about 64 MB.
CHUNK_CELLS = 8_000_000


def resampled_means(
    values_NF: npt.ArrayLike, weights_NF: npt.ArrayLike | None = None, resamples: int = 2000, seed: int = 0
) -> Array:
    """Weighted means of F columns in `resamples` samples of N queries drawn with replacement: (R, F) float64.

    Args:
        values_NF: one row a query. NaN is a missing value: it has no weight in its column.
        weights_NF: weights, broadcast over the columns; None weighs every query the same.
        resamples: R.
        seed: the same seed and N draw the same queries, whatever the columns are.

    Returns:
        (R, F); NaN where a sample has no weight in a column.
    """
    values_NF = np.asarray(values_NF, np.float64)
    defined_NF = ~np.isnan(values_NF)
    weights_NF = np.broadcast_to(1.0 if weights_NF is None else np.asarray(weights_NF, np.float64), values_NF.shape)
    weights_NF = weights_NF * defined_NF
    sums_NF = np.where(defined_NF, values_NF, 0.0) * weights_NF
    columns = np.concatenate([sums_NF, weights_NF], axis=1)
    sums = np.concatenate([counts_RN @ columns for counts_RN in _counts(len(values_NF), resamples, seed)])
    sums_RF, weights_RF = np.split(sums, 2, axis=1)
    return np.divide(sums_RF, weights_RF, out=np.full_like(sums_RF, np.nan), where=weights_RF > 0)


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
