"""The pessimistic judge takes the verdict with the smallest expected gain."""

from __future__ import annotations

import numpy as np
import pytest

from judges.simple.coverage import CoverageJudge
from judges.simple.embedding import EmbeddingJudge
from judges.simple.labels import LabelsJudge
from judges.simple.pessimistic import PessimisticJudge
from qr_env.common.errors import ConfigError
from tests.helpers.fakes import FailingJudge, HashEncoder, tiny_shop

SHOP = tiny_shop()
ROWS = np.tile(np.arange(30, dtype=np.int32), (len(SHOP.all_queries), 1))


def test_the_smaller_gain_is_taken_with_its_probabilities() -> None:
    labels, coverage = LabelsJudge(SHOP), CoverageJudge(SHOP)
    judge = PessimisticJudge([labels, coverage])
    taken = judge.grade(SHOP.all_queries, ROWS)
    both = [one.grade(SHOP.all_queries, ROWS) for one in (labels, coverage)]
    np.testing.assert_array_equal(taken.gain_NK, np.minimum(both[0].gain_NK, both[1].gain_NK))
    first = both[0].gain_NK <= both[1].gain_NK
    np.testing.assert_array_equal(taken.probs_NK4[first], both[0].probs_NK4[first])
    shares = judge.stats()
    assert shares["pessimistic/labels"] == pytest.approx(first.mean())
    assert shares["pessimistic/labels"] + shares["pessimistic/coverage"] == pytest.approx(1)


def test_a_missing_verdict_is_missing() -> None:
    judge = PessimisticJudge([LabelsJudge(SHOP), FailingJudge()])
    assert np.isnan(judge.grade(SHOP.all_queries, ROWS).probs_NK4).all()
    assert np.isnan(judge.stats()["pessimistic/labels"])


def test_it_moves_to_another_shop_and_needs_two_judges() -> None:
    judge = PessimisticJudge([LabelsJudge(SHOP), EmbeddingJudge(SHOP, HashEncoder())])
    moved = judge.for_shop(SHOP).grade(SHOP.all_queries, ROWS)
    np.testing.assert_allclose(moved.probs_NK4, judge.grade(SHOP.all_queries, ROWS).probs_NK4, atol=1e-6)
    with pytest.raises(ConfigError, match="needs two judges"):
        PessimisticJudge([LabelsJudge(SHOP)])
