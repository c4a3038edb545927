"""Agreement of verdicts with human grades: pure functions of arrays; each estimate with a 95 % bootstrap interval.

    weights_RP = resample_weights(queries=89, seed=0)
    figures = agreement(levels_M, probs_M4, query_M, weights_RP)    # {"kappa": Estimate(0.41, 0.33, 0.48), …}

A pair is one (query, product); `query_M` is the index of its query, 0 … P−1. Every metric is a function of sums by
query, so a bootstrap over queries is one matrix product: row 0 of `weights_RP` is the sample itself, the others are
resamples, and a metric is computed for all rows at once.

- kappa            Cohen 1960, 1 − Σ w∘observed / Σ w∘chance of the 4 × 4 confusion of levels, w = 1 off the diagonal
- kappa quadratic  Cohen 1968, w = (i − j)²
- accuracy         share of pairs whose most probable level is the human one
- auc              probability that an Exact or Substitute has the higher expected gain than another pair, ties one half
- pair accuracy    share of two products of one query with different grades that the expected gain orders rightly, ties
                   one half; a reward compares products of one query only. Every such pair counts the same
- spearman         rank correlation of expected gain and level over all pairs, ties at their mean rank
- ece              expected calibration error (Guo et al. 2017, equation 3) of P(Exact or Substitute), ten equal bins
- log loss         mean −ln of the probability of the human level, nats; probabilities are bounded below by 1e-6
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from qr_env.common.types import GAINS, LEVELS, SUBSTITUTE
from qr_env.evaluation.bootstrap import interval, resampled_means

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer]
BINS = 10
RESAMPLES = 1_000
FLOOR = 1e-6  # least probability under a logarithm


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric with its 95 % bootstrap interval; NaN where it is not defined."""

    value: float
    """on the sample itself"""
    low: float
    """lower end of the interval"""
    high: float
    """upper end of the interval"""

    @classmethod
    def of(cls, values_R: Array) -> Estimate:
        """From the values of all rows of `weights_RP`, of which the first is the sample's."""
        return cls(float(values_R[0]), *interval(values_R[1:]))


def resample_weights(queries: int, seed: int = 0, resamples: int = RESAMPLES) -> Array:
    """(1 + R, P): row 0 weighs every query 1, row r by how often the r-th bootstrap sample drew it."""
    shares_RP = resampled_means(np.eye(queries), resamples=resamples, seed=seed)
    return np.concatenate([np.ones((1, queries)), shares_RP * queries])


def agreement(levels_M: Ints, probs_M4: npt.ArrayLike, query_M: Ints, weights_RP: Array) -> dict[str, Estimate]:
    """All metrics of the module docstring; pairs without a verdict (NaN) are left out."""
    probs_M4 = np.asarray(probs_M4, np.float64)
    known_M = ~np.isnan(probs_M4[:, 0])
    levels, probs, query = np.asarray(levels_M)[known_M], probs_M4[known_M], np.asarray(query_M)[known_M]
    if not len(levels):
        return {name: Estimate(float("nan"), float("nan"), float("nan")) for name in METRICS}
    matrix_P44 = confusion(levels, probs.argmax(axis=1), query, weights_RP.shape[1])
    matrix_R44 = np.tensordot(weights_RP, matrix_P44, axes=1)
    relevant, gain = levels >= SUBSTITUTE, probs @ GAINS
    log_loss = -np.log(np.maximum(probs[np.arange(len(levels)), levels], FLOOR))
    values = (
        kappa(matrix_R44),
        kappa(matrix_R44, quadratic=True),
        _ratio(np.trace(matrix_R44, axis1=1, axis2=2), matrix_R44.sum(axis=(1, 2))),
        pair_accuracy(gain, levels, query, weights_RP),
        spearman(gain, levels, query, weights_RP),
        auc(gain, relevant, query, weights_RP),
        calibration_error(probs[:, SUBSTITUTE:].sum(axis=1), relevant, query, weights_RP),
        mean_by_query(log_loss, query, weights_RP),
    )
    return dict(zip(METRICS, map(Estimate.of, values), strict=True))


METRICS = ("kappa", "kappa quadratic", "accuracy", "pair accuracy", "spearman", "auc", "ece", "log loss")


def confusion(levels_M: Ints, verdicts_M: Ints, query_M: Ints, queries: int) -> Array:
    """(P, 4, 4) counts: [query, human level, judge's level]."""
    n = len(LEVELS)
    cells_M = (query_M * n + levels_M) * n + verdicts_M
    return np.bincount(cells_M, minlength=queries * n * n).reshape(queries, n, n).astype(np.float64)


def kappa(matrices: npt.ArrayLike, quadratic: bool = False) -> Array:
    """Cohen's κ of confusion matrices (…, 4, 4), nominal or with quadratic weights; NaN where chance is certain."""
    matrix = np.asarray(matrices, np.float64)
    i, j = np.indices(matrix.shape[-2:])
    w = (i - j) ** 2 if quadratic else i != j
    total = matrix.sum(axis=(-1, -2))
    chance = matrix.sum(axis=-1)[..., :, None] * matrix.sum(axis=-2)[..., None, :]
    return 1 - _ratio((w * matrix).sum(axis=(-1, -2)) * total, (w * chance).sum(axis=(-1, -2)))


def auc(scores_M: Array, positive_M: npt.NDArray[np.bool_], query_M: Ints, weights_RP: Array) -> Array:
    """(R,) area under the ROC curve over all pairs, ties counting one half; NaN without both classes.

    Mann–Whitney counts between the positives of query a and the negatives of query b, once, make every resample a
    quadratic form. Memory: distinct scores × queries.
    """
    queries = weights_RP.shape[1]
    scores, place_M = np.unique(scores_M, return_inverse=True)
    negative_UP = np.zeros((len(scores), queries))
    np.add.at(negative_UP, (place_M[~positive_M], query_M[~positive_M]), 1.0)
    below_UP = np.cumsum(negative_UP, axis=0) - negative_UP / 2
    wins_PP = np.zeros((queries, queries))
    np.add.at(wins_PP, query_M[positive_M], below_UP[place_M[positive_M]])
    positives_R = weights_RP @ np.bincount(query_M[positive_M], minlength=queries)
    negatives_R = weights_RP @ np.bincount(query_M[~positive_M], minlength=queries)
    return _ratio(((weights_RP @ wins_PP) * weights_RP).sum(axis=1), positives_R * negatives_R)


def pair_accuracy(scores_M: Array, levels_M: Ints, query_M: Ints, weights_RP: Array) -> Array:
    """(R,) share of the pairs of one query's products with different levels that the scores order as the levels do.

    Equal scores count one half. NaN where no query has two levels. Memory: the square of a query's pairs.
    """
    order = np.argsort(query_M, kind="stable")
    right_P, pairs_P = np.zeros((2, weights_RP.shape[1]))
    for of_query in np.split(order, np.flatnonzero(np.diff(query_M[order])) + 1):
        scores, levels = scores_M[of_query], levels_M[of_query]
        better = levels[:, None] > levels
        difference = (scores[:, None] - scores)[better]
        if len(of_query):
            right_P[query_M[of_query[0]]] = ((difference > 0) + 0.5 * (difference == 0)).sum()
            pairs_P[query_M[of_query[0]]] = better.sum()
    return _ratio(weights_RP @ right_P, weights_RP @ pairs_P)


def spearman(scores_M: Array, levels_M: Ints, query_M: Ints, weights_RP: Array) -> Array:
    """(R,) Spearman's ρ of scores and levels over all pairs; NaN where one of them never varies.

    Ranks are those in the sample itself; a resample weighs them, so that its correlation is one of sums by query.
    """
    queries = weights_RP.shape[1]
    x_M, y_M = (rankdata(values) - (len(values) + 1) / 2 for values in (scores_M, levels_M))
    parts = (None, x_M, y_M, x_M * y_M, x_M * x_M, y_M * y_M)
    size, x, y, xy, xx, yy = (weights_RP @ np.bincount(query_M, part, queries) for part in parts)
    covariance, variance_x, variance_y = (
        size * top - left * right for top, left, right in ((xy, x, y), (xx, x, x), (yy, y, y))
    )
    return _ratio(covariance, np.sqrt(np.maximum(variance_x, 0) * np.maximum(variance_y, 0)))


def calibration_error(probability_M: Array, true_M: npt.NDArray[np.bool_], query_M: Ints, weights_RP: Array) -> Array:
    """(R,) expected calibration error in [0, 1] over ten bins of equal width."""
    gap_PB = np.zeros((weights_RP.shape[1], BINS))
    np.add.at(gap_PB, (query_M, bins_of(probability_M)), probability_M - true_M)
    counts_P = np.bincount(query_M, minlength=weights_RP.shape[1])
    return _ratio(np.abs(weights_RP @ gap_PB).sum(axis=1), weights_RP @ counts_P)


def bins_of(probability_M: Array) -> Ints:
    """Index of each probability's bin, 0 … 9; 1.0 is in the last."""
    return np.clip((np.asarray(probability_M) * BINS).astype(np.int64), 0, BINS - 1)


def reliability(probability_M: Array, true_M: npt.NDArray[np.bool_]) -> list[tuple[float, float, int]]:
    """(mean probability, share true, pairs) of every bin that holds a pair: the points of a reliability diagram."""
    at_M = bins_of(probability_M)
    count_B, stated_B, true_B = (np.bincount(at_M, w, BINS) for w in (None, probability_M, true_M.astype(np.float64)))
    return [(float(stated_B[b] / n), float(true_B[b] / n), int(n)) for b, n in enumerate(count_B) if n]


def mean_by_query(values_M: Array, query_M: Ints, weights_RP: Array) -> Array:
    """(R,) mean over pairs."""
    queries = weights_RP.shape[1]
    sums_R = weights_RP @ np.bincount(query_M, values_M, queries)
    return _ratio(sums_R, weights_RP @ np.bincount(query_M, minlength=queries))


def slope_at_equal_level(x_M: Array, y_M: Array, levels_M: Ints, query_M: Ints, weights_RP: Array) -> Array:
    """(R,) least-squares slope of y on x among pairs of one query and one true level; NaN where x never varies there.

    The effect of x on a verdict when the truth is the same; 0 for an unbiased judge.
    """
    queries, n = weights_RP.shape[1], len(LEVELS)
    cells_M = query_M * n + levels_M
    parts = (None, x_M, y_M, x_M * y_M, x_M * x_M)
    size, x, y, xy, xx = (np.bincount(cells_M, part, queries * n) for part in parts)
    size = np.maximum(size, 1)
    covariance_R, variance_R = (
        weights_RP @ product.reshape(queries, n).sum(axis=1) for product in (xy - x * y / size, xx - x * x / size)
    )
    return _ratio(covariance_R, np.where(variance_R > 1e-9, variance_R, 0.0))


def _ratio(top: npt.NDArray[np.floating], bottom: npt.NDArray[np.floating]) -> Array:
    top, bottom = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
