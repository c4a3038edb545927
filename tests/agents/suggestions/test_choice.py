"""`agents.suggestions.choice`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from agents.suggestions.base import Suggestion
from agents.suggestions.choice import (
    Trial,
    agreement,
    choose,
    differences,
    graded_once,
    grid,
    label_means,
    tried,
)
from agents.suggestions.rewriter import Suggest
from agents.suggestions.settings import SuggestSettings
from judges.simple.labels import LabelsJudge
from qr_env.common.types import Grades, Query, RowArray
from qr_env.query_text.repair import Repair
from qr_env.retrieval.bm25 import BM25
from qr_env.shop.shop import Shop
from tests.helpers.fakes import SYNONYMS, tiny_shop


class Dictionary:
    """Suggests the shop's word for each word that the shop does not use."""

    name = "dictionary"

    def suggest(self, queries: Sequence[str]) -> list[list[Suggestion]]:
        return [
            [Suggestion(SYNONYMS[word], 1.0, self.name) for word in query.split() if word in SYNONYMS]
            for query in queries
        ]


class Counting(LabelsJudge):
    """The labels, and how many pairs were asked for."""

    pairs = 0

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        self.pairs += int((rows_NK >= 0).sum())
        return super().grade(queries, rows_NK)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return tiny_shop()


def trial(values: Sequence[float], words: int = 5) -> Trial:
    return Trial(SuggestSettings(words=words), np.array(values), 1.0)


def test_the_grid_begins_with_the_default_and_holds_every_setting_once() -> None:
    settings = grid(SuggestSettings(titles=10))
    assert settings[0] == SuggestSettings(titles=10) and settings[1].words == 0
    assert len(set(settings)) == len(settings) == 1 + 4 * 6 * 3
    assert {one.titles for one in settings} == {10}


def test_a_pair_is_graded_once_and_every_list_gets_its_verdicts(shop: Shop) -> None:
    queries = shop.split("train")
    rng = np.random.default_rng(0)
    lists = [rng.integers(-1, 12, (len(queries), 10)).astype(np.int32) for _ in range(3)]
    judge = Counting(shop)
    for rows_NK, grades in zip(lists, graded_once(judge, queries, lists), strict=True):
        assert np.array_equal(grades.probs_NK4, LabelsJudge(shop).grade(queries, rows_NK).probs_NK4, equal_nan=True)
    rows_PM = np.concatenate(lists, axis=1)
    assert judge.pairs == sum(len(set(rows_M.tolist()) - {-1}) for rows_M in rows_PM)


def test_settings_are_scored_by_the_judge_on_the_lists_that_they_find(shop: Shop) -> None:
    retriever = BM25.build(shop)
    agent = Suggest(shop, retriever, Dictionary(), Repair(shop))
    queries = [query for query in shop.split("train") if query.text in ("couch", "fridge", "sofa")]
    settings = [SuggestSettings(words=0), SuggestSettings(words=5), SuggestSettings(words=5, full_matches=0)]
    without, with_words, closed = tried(agent, retriever, queries, settings, LabelsJudge(shop))
    by_text = dict(zip([query.text for query in queries], with_words.values_P.tolist(), strict=True))
    assert by_text == pytest.approx({"sofa": 1.0, "couch": 1.0, "fridge": 1.0})
    assert without.mean == closed.mean < with_words.mean
    assert (without.changed, with_words.changed) == (0, pytest.approx(2 / 3))


def test_the_default_stays_unless_the_best_is_better_beyond_its_interval() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(200)
    default, better, doubtful = trial(base), trial(base + 0.1, 10), trial(base + 0.2 * rng.normal(size=200), 20)
    assert choose([default, better]) is better
    assert choose([default, doubtful]) is default
    assert choose([default]) is default
    mean, low, high = differences([default, better])[1]
    assert (mean, low, high) == pytest.approx((0.1, 0.1, 0.1))


def test_settings_without_a_verdict_are_not_chosen() -> None:
    unknown = trial([float("nan")] * 3, 10)
    assert np.isnan(unknown.mean)
    assert choose([trial([0.1, 0.2, 0.3]), unknown]).settings.words == 5


def test_agreement_ranks_settings_by_judge_and_labels(shop: Shop) -> None:
    trials = [trial([0.1]), trial([0.2]), trial([0.3])]
    labels = [{"nDCG@10": value, "R@100": 0.5} for value in (0.4, 0.6, 0.5)]
    assert agreement(trials, labels) == {"nDCG@10": pytest.approx(0.5), "R@100": pytest.approx(np.nan, nan_ok=True)}


def test_label_means_score_each_setting_by_the_labels(shop: Shop) -> None:
    retriever = BM25.build(shop)
    agent = Suggest(shop, retriever, Dictionary(), Repair(shop))
    queries = shop.split("test")
    means = label_means(agent, retriever, shop, queries, [SuggestSettings(words=0), SuggestSettings(words=5)])
    assert means[0]["nDCG@10"] < means[1]["nDCG@10"] and means[1]["R@100"] == 1
