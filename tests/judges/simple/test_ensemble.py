"""EnsembleJudge: the mean over the judges with a verdict, checked by slow counting."""

from __future__ import annotations

import numpy as np
import pytest

from judges.simple.embedding import EmbeddingJudge
from judges.simple.ensemble import EnsembleJudge
from judges.simple.labels import LabelsJudge
from judges.verdict_store.stored import ShopJudge
from qr_env.common.errors import ConfigError
from qr_env.common.types import Grades, Query
from tests.helpers.fakes import FailingJudge, HashEncoder, tiny_shop
from tests.judges.verdict_store.test_stored import WordsJudge

SHOP = tiny_shop()


class Fixed:
    """A judge that returns the same verdicts for every request."""

    def __init__(self, name: str, probs_NK4: np.ndarray) -> None:
        self.name, self.probs_NK4 = name, probs_NK4.astype(np.float32)

    def grade(self, queries: list[Query], rows_NK: np.ndarray) -> Grades:
        return Grades(self.probs_NK4)


def test_mean_missing_and_disagreement_against_slow_counting() -> None:
    generator = np.random.default_rng(0)
    rows_NK = generator.integers(-1, 5, size=(20, 6)).astype(np.int32)
    probs_J = generator.dirichlet(np.ones(4), size=(3, 20, 6))
    probs_J[generator.random((3, 20, 6)) < 0.4] = np.nan
    probs_J[:, rows_NK < 0] = np.nan
    judge = EnsembleJudge([Fixed(name, probs) for name, probs in zip("abb", probs_J, strict=True)], [1.0, 2.0, 0.5])
    got = judge.grade([], rows_NK).probs_NK4
    distances, splits = [], []
    for n, k in np.ndindex(rows_NK.shape):
        known = [j for j in range(3) if not np.isnan(probs_J[j, n, k, 0])]
        if not known:
            assert np.isnan(got[n, k]).all()
            continue
        weights = np.array([1.0, 2.0, 0.5])[known]
        mean = (weights[:, None] * probs_J[known, n, k].astype(np.float32)).sum(axis=0) / weights.sum()
        assert got[n, k] == pytest.approx(mean, abs=1e-6)
        if len(known) > 1:
            distances.append(np.mean([0.5 * np.abs(probs_J[j, n, k] - mean).sum() for j in known]))
            splits.append(len({int(probs_J[j, n, k].argmax()) for j in known}) > 1)
    stats = judge.stats()
    real = rows_NK >= 0
    assert stats["ensemble/pairs"] == real.sum()
    assert stats["ensemble/disagreement"] == pytest.approx(np.mean(distances), abs=1e-6)
    assert stats["ensemble/split"] == pytest.approx(np.mean(splits))
    for label, probs in zip(("a", "b#2", "b#3"), probs_J, strict=True):
        assert stats[f"ensemble/missing/{label}"] == pytest.approx(np.isnan(probs[real][:, 0]).mean())


def test_real_judges_together() -> None:
    queries, rows_NK = SHOP.all_queries[:4], np.tile(np.arange(12, dtype=np.int32), (4, 1))
    parts = [LabelsJudge(SHOP), EmbeddingJudge(SHOP, HashEncoder()), ShopJudge(SHOP, WordsJudge())]
    judge = EnsembleJudge([*parts, FailingJudge()])
    expected = np.mean([part.grade(queries, rows_NK).probs_NK4 for part in parts], axis=0)
    np.testing.assert_allclose(judge.grade(queries, rows_NK).probs_NK4, expected, atol=1e-6)
    assert judge.name == "ensemble:labels,embedding,words-judge,failing"
    stats = judge.stats()
    assert stats["ensemble/missing/failing"] == 1 and stats["ensemble/missing/labels"] == 0
    assert stats["words-judge/asked"] > 0 and 0 < stats["ensemble/disagreement"] < 1


def test_without_verdicts_grades_and_rates_are_missing() -> None:
    judge = EnsembleJudge([FailingJudge(), FailingJudge()])
    assert np.isnan(judge.stats()["ensemble/disagreement"])
    assert judge.grade([], np.zeros((0, 3), np.int32)).probs_NK4.shape == (0, 3, 4)
    assert np.isnan(judge.grade(SHOP.all_queries[:1], np.zeros((1, 3), np.int32)).probs_NK4).all()
    assert np.isnan(judge.stats()["ensemble/split"]) and judge.stats()["ensemble/missing/failing#1"] == 1


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, float("nan")]])
def test_impossible_weights(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match="weights"):
        EnsembleJudge([FailingJudge(), FailingJudge()], weights)


def test_one_judge_is_no_ensemble() -> None:
    with pytest.raises(ConfigError, match=r"two judges.*failing"):
        EnsembleJudge([FailingJudge()])
