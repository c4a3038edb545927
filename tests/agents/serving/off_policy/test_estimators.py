"""The estimators equal a slow float64 loop, are right on average, and refuse what they cannot say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agents.serving.off_policy.estimators import NORMAL_95, estimate, support
from qr_env.common.errors import ConfigError, DataError


def slow(name, weights, rewards, clusters, clip, model_policy, model_logged):
    """The formulas of the module docstring, one search at a time."""
    weights = [min(weight, clip) for weight in weights]
    count = len(weights)
    if name == "ips":
        influence = [w * r for w, r in zip(weights, rewards, strict=True)]
    elif name == "snips":
        value = sum(w * r for w, r in zip(weights, rewards, strict=True)) / sum(weights)
        mean = sum(weights) / count
        influence = [value + w * (r - value) / mean for w, r in zip(weights, rewards, strict=True)]
    else:
        parts = zip(weights, rewards, model_policy, model_logged, strict=True)
        influence = [q + w * (r - p) for w, r, q, p in parts]
    value = sum(influence) / count
    sums: dict[int, float] = {}
    for cluster, one in zip(clusters, influence, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + one - value
    error = math.sqrt(sum(one * one for one in sums.values()) * len(sums) / (len(sums) - 1)) / count
    return value, value - NORMAL_95 * error, value + NORMAL_95 * error


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
@pytest.mark.parametrize("clip", [2.0, math.inf])
def test_an_estimate_equals_the_slow_loop(name: str, clip: float) -> None:
    rng = np.random.default_rng(0)
    weight_N = np.where(rng.random(400) < 0.5, 1 / rng.uniform(0.1, 1, 400), 0.0)
    reward_N, clusters_N = (rng.random(400) < 0.3).astype(float), rng.integers(0, 90, 400)
    clusters_N = np.unique(clusters_N, return_inverse=True)[1]
    models = rng.random(400), rng.random(400)
    found = estimate(name, weight_N, reward_N, clusters_N, clip, *models)
    expected = slow(name, weight_N.tolist(), reward_N.tolist(), clusters_N.tolist(), clip, *models)
    np.testing.assert_allclose((found.value, found.low, found.high), expected, rtol=1e-12)


def test_on_average_every_estimator_finds_the_truth() -> None:
    """Two actions with known rewards .2 and .5; logged with .7 and .3, the policy always takes the second."""
    values = {"ips": [], "snips": [], "dr": []}
    for seed in range(300):
        rng = np.random.default_rng(seed)
        second_N = rng.random(500) < 0.3
        reward_N = (rng.random(500) < np.where(second_N, 0.5, 0.2)).astype(float)
        weight_N = np.where(second_N, 1 / 0.3, 0.0)
        wrong_model = np.full(500, 0.4), np.where(second_N, 0.4, 0.1)
        for name, found in values.items():
            found.append(estimate(name, weight_N, reward_N, np.arange(500), math.inf, *wrong_model).value)
    for name, found in values.items():
        assert np.mean(found) == pytest.approx(0.5, abs=4 * np.std(found) / math.sqrt(300)), name
    assert np.std(values["dr"]) < np.std(values["ips"])


def test_support_says_how_much_of_the_policy_the_log_could_have_served() -> None:
    rng = np.random.default_rng(1)
    whole = np.where(rng.random(4_000) < 0.25, 4.0, 0.0)
    found = support(whole, np.arange(4_000), clip=3.0)
    assert found.low < 1 < found.high and found.clipped == 1 and found.largest == 4
    assert found.effective == pytest.approx((whole > 0).sum())
    half = support(np.where(np.arange(4_000) % 2, whole, 0.0), np.arange(4_000))
    assert half.high < 0.65


def test_what_cannot_be_estimated_is_refused() -> None:
    zeros = np.zeros(5)
    with pytest.raises(DataError, match="SNIPS is undefined"):
        estimate("snips", zeros, zeros, np.arange(5))
    with pytest.raises(ConfigError, match="needs a model"):
        estimate("dr", zeros, zeros, np.arange(5))
    with pytest.raises(ConfigError, match="choose one of ips, snips, dr"):
        estimate("dm", zeros, zeros, np.arange(5))
    assert estimate("ips", zeros, zeros, np.zeros(5, int)).low == -math.inf
