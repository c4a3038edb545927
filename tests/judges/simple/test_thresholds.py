"""The cumulative link model: its formula and its fit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from judges.simple.thresholds import Thresholds, fit_thresholds, level_probs
from qr_env.common.errors import ConfigError


def test_levels_by_the_formula() -> None:
    t = Thresholds(0.2, 0.4, 0.6, temperature=0.1)
    probs = level_probs(np.array([0.5, np.nan]), t)
    at_least = [1, *(1 / (1 + math.exp(-(0.5 - cut) / 0.1)) for cut in (0.2, 0.4, 0.6)), 0]
    assert probs[0] == pytest.approx([at_least[j] - at_least[j + 1] for j in range(4)], abs=1e-6)
    assert np.isnan(probs[1]).all() and probs.dtype == np.float32
    gains = level_probs(np.linspace(-1, 1, 50), t)[:, 2:].sum(axis=1)
    assert (np.diff(gains) >= 0).all(), "more similar is never less relevant"


def test_fit_finds_the_thresholds_that_made_the_data() -> None:
    true = Thresholds(0.1, 0.3, 0.5, temperature=0.05)
    generator = np.random.default_rng(0)
    similarity = generator.uniform(-0.2, 0.8, 20_000)
    levels = (generator.random((20_000, 1)) > level_probs(similarity, true).cumsum(axis=1)[:, :3]).sum(axis=1)
    found = fit_thresholds(similarity, levels, Thresholds())
    np.testing.assert_allclose(found.cuts, true.cuts, atol=0.01)
    assert found.temperature == pytest.approx(0.05, abs=0.005)


def test_impossible_thresholds_are_refused() -> None:
    with pytest.raises(ConfigError, match="must rise"):
        Thresholds(0.5, 0.4, 0.6)
    with pytest.raises(ConfigError, match="temperature"):
        Thresholds(temperature=0.0)
