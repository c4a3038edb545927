"""Reference pairs: drawn without labels; scale and assumed thresholds of scores on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from judges.simple.reference_pairs import AT_LEAST, RANDOM_IS_EXACT, K, ReferencePairs, Scale, assumed_thresholds
from judges.simple.thresholds import level_probs
from tests.helpers.fakes import WordRetriever, tiny_shop

SHOP = tiny_shop()


def test_pairs_are_of_train_queries_and_read_no_label() -> None:
    unlabelled = replace(SHOP, qrels=SHOP.qrels * 0, qrels_complete=False)
    first, second = (ReferencePairs.draw(shop, WordRetriever(shop), seed=1) for shop in (SHOP, unlabelled))
    assert {query.split for query in first.queries} == {"train"}
    assert first.rows_PK.shape == (len(first.queries), 2 * K)
    np.testing.assert_array_equal(first.rows_PK, second.rows_PK)
    assert (first.rows_PK[:, K:] >= 0).all(), "random products are never padding"


def test_a_scale_ignores_missing_scores_and_constants() -> None:
    scores = np.array([[1.0, 3.0, np.nan]], np.float32)
    np.testing.assert_array_equal(Scale.of(scores).standardised(scores), [[-1, 1, np.nan]])
    for empty in (np.full((1, 2), np.nan, np.float32), np.zeros((0, 2), np.float32)):
        assert Scale.of(empty) == Scale(0.0, 1.0)
    assert Scale.of(np.full((2, 2), 0.5, np.float32)).standardised(np.float32([0.5])) == 0


def test_half_of_what_a_search_finds_is_assumed_exact() -> None:
    found = np.random.default_rng(0).normal(1, 0.5, (500, 10))
    thresholds = assumed_thresholds(np.concatenate([found, found - 2], axis=1).astype(np.float32))
    for name, share in AT_LEAST.items():
        assert (found >= getattr(thresholds, name)).mean() == pytest.approx(share, abs=0.01)
    at_random = level_probs(np.array([(found - 2).mean()]), thresholds)
    assert at_random[0, 3] == pytest.approx(RANDOM_IS_EXACT, abs=1e-4)
    assert level_probs(found, thresholds)[..., 3].mean() == pytest.approx(0.5, abs=0.02)
    assert assumed_thresholds(np.full((1, 20), np.nan, np.float32)).temperature == 0.5
