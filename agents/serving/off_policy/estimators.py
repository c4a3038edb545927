"""Value of a policy from a log of another one, with intervals.

With N searches x_i, served rewrites a_i of probability p_i and rewards r_i, and a policy that serves a_i with
probability π_i, w_i = min(π_i / p_i, `clip`):

    IPS     V = 1/N Σ w_i r_i                                   Horvitz & Thompson 1952
    SNIPS   V = Σ w_i r_i / Σ w_i                               Swaminathan & Joachims, NeurIPS 2015
    DR      V = 1/N Σ [ q(x_i, π) + w_i (r_i − q(x_i, a_i)) ]   Dudík, Langford & Li, ICML 2011

q is a model of the reward; DR is right where either the probabilities or the model are. Clipping lowers the variance
and biases towards 0 (IPS, DR: towards the model). Intervals are normal, from the influence values ψ_i (of SNIPS:
V + w_i (r_i − V) / w̄), summed by session: searches of a session are not independent.

Effective sample size (Kong 1992): (Σ w)² / Σ w². Support: where the log could have served what the policy serves, the
mean of π / p is 1; below, the policy serves rewrites that the log never does, of which nothing is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError, DataError

Floats = npt.NDArray[np.float64]
NORMAL_95 = 1.959964
ESTIMATORS = ("ips", "snips", "dr")


@dataclass(frozen=True)
class Estimate:
    """A value with its interval."""

    value: float
    """Mean reward a search."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""


@dataclass(frozen=True)
class Support:
    """How much of a policy a log can tell about."""

    mean_weight: float
    """Mean of π / p, unclipped; 1 where all that the policy serves could have been served."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end."""
    matched: float
    """Share of the log's searches whose rewrite the policy could have served."""
    effective: float
    """Effective sample size."""
    largest: float
    """Largest weight, unclipped."""
    clipped: float
    """Share of the matched searches whose weight was clipped."""


def support(weight_N: Floats, clusters_N: npt.NDArray[np.int64], clip: float = math.inf) -> Support:
    """Support of a policy. weight_N: π / p, unclipped."""
    _, low, high = _with_interval(weight_N, clusters_N)
    matched_N = weight_N > 0
    clipped_N = np.minimum(weight_N, clip)
    squares = float(np.square(clipped_N).sum())
    return Support(
        mean_weight=float(weight_N.mean()),
        low=low,
        high=high,
        matched=float(matched_N.mean()),
        effective=float(clipped_N.sum() ** 2 / squares) if squares else 0.0,
        largest=float(weight_N.max()),
        clipped=float((weight_N > clip)[matched_N].mean()) if matched_N.any() else 0.0,
    )


def estimate(
    name: str,
    weight_N: Floats,
    reward_N: Floats,
    clusters_N: npt.NDArray[np.int64],
    clip: float = math.inf,
    model_policy_N: Floats | None = None,
    model_logged_N: Floats | None = None,
) -> Estimate:
    """One of `ESTIMATORS`.

    Args:
        weight_N: π / p, unclipped. reward_N: rewards. clusters_N: number of each search's session.
        model_policy_N: q(x, π), model_logged_N: q(x, a), for "dr".

    Raises:
        ConfigError: an unknown estimator, or "dr" without a model. DataError: "snips" where no search matches.
    """
    weight_N = np.minimum(weight_N, clip)
    if name == "ips":
        return Estimate(*_with_interval(weight_N * reward_N, clusters_N))
    if name == "snips":
        if not weight_N.any():
            raise DataError("no served rewrite is one that the policy would serve: SNIPS is undefined")
        value = float((weight_N * reward_N).sum() / weight_N.sum())
        influence_N = value + weight_N * (reward_N - value) / weight_N.mean()
        return Estimate(*_with_interval(influence_N, clusters_N))
    if name == "dr":
        if model_policy_N is None or model_logged_N is None:
            raise ConfigError("estimator 'dr' needs a model of the reward")
        return Estimate(*_with_interval(model_policy_N + weight_N * (reward_N - model_logged_N), clusters_N))
    raise ConfigError(f"estimator={name!r}: choose one of {', '.join(ESTIMATORS)}")


def difference(first_N: Floats, second_N: Floats, clusters_N: npt.NDArray[np.int64]) -> Estimate:
    """Mean of first − second on the same searches, with its interval."""
    return Estimate(*_with_interval(first_N - second_N, clusters_N))


def _with_interval(influence_N: Floats, clusters_N: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """Mean of N values and its 95 % interval, the clusters being independent."""
    value = float(influence_N.mean())
    sums = np.bincount(clusters_N, influence_N - value)
    count = len(sums)
    if count < 2:
        return value, -math.inf, math.inf
    error = math.sqrt(float(np.square(sums).sum()) * count / (count - 1)) / len(influence_N)
    return value, value - NORMAL_95 * error, value + NORMAL_95 * error
