"""The engine check: figures, choice, cross-fitted gain and agreement with labels."""

from __future__ import annotations

import numpy as np
import pytest

from judges.simple.fields import FieldsJudge
from judges.simple.labels import LabelsJudge
from qr_env.evaluation.engine_check import (
    PRICE,
    candidate_settings,
    check_engines,
    choose,
    cross_fitted_gain,
    judged_values,
    pairs_agree,
)
from qr_env.retrieval.bm25 import BM25Settings
from qr_env.retrieval.dense import Dense
from qr_env.retrieval.factory import checked_retriever
from tests.helpers.fakes import HashEncoder, tiny_shop
from tests.helpers.shops.described_shop import described_shop


def test_a_description_that_holds_the_words_is_to_be_indexed() -> None:
    shop = described_shop()
    check = check_engines(shop, FieldsJudge(shop), shop.all_queries)
    assert check.is_clear and check.served is check.best
    assert check.sentence().startswith("index the description: +")
    assert "description" in dict(check.best.settings.fields)
    assert check.labelled_gain["nDCG@10"].low > 0.9
    assert check.agreement["nDCG@10"] == 1.0
    assert check.baseline.judged == 0  # finds nothing, which is worth nothing
    checked_retriever(check.best.spec)


def test_without_a_better_setting_the_baseline_stays() -> None:
    shop = tiny_shop()
    judge = LabelsJudge(shop)
    check = check_engines(shop, judge, shop.all_queries, dense=Dense.build(shop, HashEncoder()), with_labels=False)
    assert check.served is check.baseline or check.gain.low > 0
    assert check.baseline.difference.value == 0
    assert check.agreement == check.labelled_gain == {}
    hybrids = [candidate for candidate in check.candidates if candidate.is_hybrid]
    assert hybrids and all(candidate.spec.startswith("hybrid:bm25:") for candidate in hybrids)
    judged = [candidate.judged for candidate in check.candidates]
    assert judged == sorted(judged, reverse=True)


def test_candidates_rank_unlike_each_other() -> None:
    alone = candidate_settings(("title",), BM25Settings(fields=(("title", 5),)))
    assert alone[0] == BM25Settings(fields=(("title", 5),))
    keys = [(round(one.k1 / one.fields[0][1], 9), one.b) for one in alone]
    assert len(keys) == len(set(keys))
    fields = {one.fields for one in candidate_settings(("title", "brand", "description"), BM25Settings())}
    assert (("title", 2), ("brand", 1), ("description", 1)) in fields and (("title", 1),) in fields


def test_a_change_must_pay_its_price() -> None:
    base = BM25Settings(fields=(("title", 5),))
    settings = [
        base,
        BM25Settings(fields=base.fields, k1=1.2),
        BM25Settings(fields=(*base.fields, ("brand", 1)), b=0.4),
    ]
    values_BP = np.array([[0.5, 0.5], [0.5 + PRICE * 0.9] * 2, [0.5 + PRICE * 1.9] * 2])
    assert choose(values_BP, settings, 0) == 0
    values_BP[2] += PRICE * 0.2
    assert choose(values_BP, settings, 0) == 2


def test_the_gain_is_of_the_other_halfs_choice() -> None:
    rng = np.random.default_rng(0)
    settings = candidate_settings(("title",), BM25Settings(fields=(("title", 5),)))
    values_BP = rng.normal(0.5, 0.1, (len(settings), 400))  # no setting is better than another
    known_P = np.arange(400) != 7
    gain_P = cross_fitted_gain(values_BP, known_P, settings, 0, seed=0)
    assert np.isnan(gain_P).tolist() == (~known_P).tolist()
    picked = (values_BP - values_BP[0]).mean(axis=1).max()
    assert picked > 0.01 > np.nanmean(gain_P)


def test_judged_values_are_the_judges_ndcg() -> None:
    shop = tiny_shop()
    judge, queries = LabelsJudge(shop), shop.all_queries[:3]
    lists = [np.array([[0, 1, -1], [2, 3, 4], [-1, -1, -1]], np.int32), np.array([[1, 0, 5]] * 3, np.int32)]
    values_BP = judged_values(judge, queries, lists)
    discounts = 1 / np.log2(np.arange(2, 12))
    for values_P, rows_NK in zip(values_BP, lists, strict=True):
        gains_NK = np.nan_to_num(judge.grade(queries, rows_NK).gain_NK)
        np.testing.assert_allclose(values_P, gains_NK @ discounts[:3] / discounts.sum(), rtol=1e-6)


def test_pairs_that_are_tied_do_not_count() -> None:
    assert pairs_agree(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])) == pytest.approx(2 / 3)
    assert pairs_agree(np.array([1.0, 1.0, 3.0]), np.array([5.0, 6.0, 7.0])) == 1.0
    assert np.isnan(pairs_agree(np.array([1.0, 1.0]), np.array([1.0, 2.0])))
