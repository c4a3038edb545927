"""Gains of online stages by their judge's quality: headroom of each seed, intervals, and from which κ on they pay."""

from types import SimpleNamespace

import numpy as np
import pytest

from runs.recipe.curve.measure import Gain, Point, Quality, gain, pays_from


def comparison(oracle_N):
    values = {
        "identity": {"nDCG@10": np.array([[0.2, 0.4], [0.2, 0.4]])},
        "warm": {"nDCG@10": np.array([[0.3, 0.5], [0.2, 0.4]])},
        "online": {"nDCG@10": np.array([[0.5, 0.7], [0.3, 0.5]])},
    }
    return SimpleNamespace(main="nDCG@10", values=values, oracle_N=oracle_N)


def test_the_gain_is_a_share_of_the_headroom_with_one_value_a_seed():
    found = gain(comparison(np.array([0.6, 1.0])), "online", "warm")  # headroom: (0.4 + 0.6) / 2
    assert found.of_seeds == pytest.approx((0.4, 0.2)) and found.mean == pytest.approx(0.3)
    assert found.low <= found.mean <= found.high


def test_without_an_oracle_it_is_a_difference_of_the_metric():
    assert gain(comparison(None), "online", "warm").of_seeds == pytest.approx((0.2, 0.1))


def point(kappa, low, degraded=True):
    return Point("stage", "judge", degraded, Quality(kappa, kappa, 0.8), Gain(low + 0.1, low, low + 0.2, (low,)))


def test_a_judge_pays_from_the_smallest_kappa_above_which_every_gain_is_beyond_noise():
    points = [point(0.2, 0.1), point(0.4, -0.1), point(0.5, -0.3, degraded=False), point(0.6, 0.1), point(1.0, 0.2)]
    assert pays_from(points) == 0.6
    assert np.isnan(pays_from([point(1.0, -0.1)])) and np.isnan(pays_from([]))
