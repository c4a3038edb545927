"""The sequential tests equal slow loops, and are rarely wrong at any time, with shares that change."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agents.serving.experiment.sequential import MeanDifference, SampleRatio


def sessions(rng: np.random.Generator, size: int, share: float, effect: float = 0.0):
    candidate_N = rng.random(size) < share
    value_N = (rng.random(size) < 0.2 + effect * candidate_N).astype(float)
    return value_N, candidate_N, np.full(size, share)


def test_the_difference_equals_a_loop_whatever_the_batches() -> None:
    rng = np.random.default_rng(0)
    parts = [sessions(rng, size, share) for size, share in ((50, 0.05), (1, 0.25), (300, 0.5))]
    found = MeanDifference()
    for part in parts:
        found.add(*part)
    total = squares = outcomes = 0.0
    seen = 0
    for value_N, candidate_N, share_N in parts:
        for value, candidate, share in zip(value_N, candidate_N, share_N, strict=True):
            mean = outcomes / max(seen, 1)
            z = (value - mean) * (1 / share if candidate else -1 / (1 - share))
            total, squares, outcomes, seen = total + z, squares + z * z, outcomes + value, seen + 1
    assert (found.count, found.mean) == (seen, pytest.approx(total / seen))
    rho = (-2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))) / found.expected
    spread, variance = seen * rho + 1, squares / seen - (total / seen) ** 2
    radius = math.sqrt(2 * spread / (seen**2 * rho) * math.log(math.sqrt(spread) / 0.05) * variance)
    np.testing.assert_allclose(found.interval(0.05), (total / seen - radius, total / seen + radius))


def test_without_both_sides_nothing_is_said() -> None:
    one_side = MeanDifference()
    one_side.add(np.ones(5), np.ones(5, bool), np.full(5, 0.5))
    assert one_side.interval(0.05) == (-math.inf, math.inf) and math.isnan(one_side.mean_2[0])


def test_the_interval_is_rarely_wrong_at_any_time_with_shares_that_grow() -> None:
    wrong = 0
    for seed in range(120):
        rng, difference, ever = np.random.default_rng(seed), MeanDifference(expected=4_000), False
        for look in range(60):
            share = 0.05 if look < 10 else 0.25 if look < 25 else 0.5
            difference.add(*sessions(rng, 200, share, effect=0.03))
            low, high = difference.interval(0.05)
            ever |= look >= 5 and not low <= 0.03 <= high
        wrong += ever
    assert wrong <= 12  # 5 % of 120 are 6; more than 12 have a probability of 1 %


def test_an_effect_is_found_and_the_estimate_is_right() -> None:
    difference, rng = MeanDifference(expected=4_000), np.random.default_rng(1)
    for share in (0.05, 0.25, 0.5, 0.5, 0.5):
        difference.add(*sessions(rng, 8_000, share, effect=0.05))
    low, high = difference.interval(0.05)
    assert 0 < low < 0.05 < high < 0.1


def test_the_sample_ratio_stops_a_broken_test_and_hardly_ever_a_sound_one() -> None:
    stopped = {0.0: 0, 0.2: 0}
    for lost in stopped:
        for seed in range(100):
            rng, ratio = np.random.default_rng(seed), SampleRatio()
            for look in range(50):
                share = 0.05 if look < 10 else 0.5
                candidate_N = rng.random(200) < share
                kept_N = ~candidate_N | (rng.random(200) >= lost)
                ratio.add(candidate_N[kept_N], np.full(int(kept_N.sum()), share))
                if ratio.log_e() > math.log(1_000):
                    stopped[lost] += 1
                    break
    assert stopped[0.0] <= 1 and stopped[0.2] >= 90
