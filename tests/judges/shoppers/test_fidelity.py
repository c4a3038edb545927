"""Fidelity metrics against their definitions; they recover a log's click model and the taste behind purchases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import logit

from judges.shoppers.click_models import MODELS
from judges.shoppers.fidelity import (
    choice_perplexity,
    click_perplexity,
    fit_taste,
    perplexity_by_rank,
    preference,
    purchase_auc,
    purchased_products,
    rates_by_rank,
)
from judges.shoppers.model import AVERAGE, ModelShopper, Profile, relative_price
from qr_env.common.errors import JudgeError
from qr_env.common.types import EXACT, Grades
from tests.helpers.fakes import tiny_shop

SHOP = tiny_shop()
RNG = np.random.default_rng(0)


def test_perplexity_by_hand() -> None:
    events_NK = np.array([[True, False], [True, True], [False, True]])
    prob_NK = np.array([[0.5, 0.25], [0.5, 0.75], [0.5, np.nan]])
    by_rank_K = perplexity_by_rank(events_NK, prob_NK)
    np.testing.assert_allclose(by_rank_K, [2.0, 1 / 0.75])
    assert click_perplexity(events_NK, prob_NK) == pytest.approx(by_rank_K.mean())
    assert click_perplexity(events_NK, events_NK.astype(float)) == pytest.approx(1.0, abs=1e-5)
    assert np.isnan(perplexity_by_rank(events_NK, np.full((3, 2), np.nan))).all()


def test_rates_leave_padding_out() -> None:
    events_NK = np.array([[True, False], [False, False]])
    np.testing.assert_allclose(rates_by_rank(events_NK, np.array([[True, True], [True, False]])), [0.5, 0.0])


def test_auc_equals_the_share_of_ordered_pairs() -> None:
    scores_NK = np.where(RNG.random((50, 8)) < 0.2, np.nan, RNG.integers(0, 4, (50, 8)).astype(float))
    bought_NK = RNG.random((50, 8)) < 0.3
    expected = []
    for scores_K, bought_K in zip(scores_NK, bought_NK, strict=True):
        bought, other = scores_K[bought_K & ~np.isnan(scores_K)], scores_K[~bought_K & ~np.isnan(scores_K)]
        pairs = [0.5 + 0.5 * np.sign(b - o) for b in bought for o in other]
        expected.append(np.mean(pairs) if pairs else np.nan)
    np.testing.assert_allclose(purchase_auc(scores_NK, bought_NK), expected)
    assert np.isnan(expected).any()


def test_choice_perplexity_by_hand() -> None:
    prob_NK = np.array([[0.2, 0.1, 0.1], [0.3, np.nan, 0.1], [0.1, 0.1, 0.1]])
    bought_NK = np.array([[True, False, False], [False, True, True], [False, False, False]])
    found, uniform = choice_perplexity(prob_NK, bought_NK)
    assert found == pytest.approx((2 * 4) ** 0.5) and uniform == pytest.approx((3 * 2) ** 0.5)
    assert np.isnan(choice_perplexity(prob_NK, np.zeros((3, 3), bool))).all()


def random_lists(n: int = 12_000, k: int = 6) -> tuple[list[Any], np.ndarray, Grades]:
    """Lists of sofas, refrigerators and shoes for the shop's queries, with certain grades."""
    generator = np.random.default_rng(1)
    queries = [SHOP.all_queries[i % len(SHOP.all_queries)] for i in range(n)]
    rows_NK = generator.permuted(np.tile(np.arange(30), (n, 1)), axis=1)[:, :k].astype(np.int32)
    return queries, rows_NK, Grades(np.eye(4, dtype=np.float32)[generator.integers(0, 4, (n, k))])


@pytest.mark.parametrize("truth", MODELS)
def test_perplexity_identifies_the_click_model_of_a_log(truth: str) -> None:
    queries, rows_NK, grades = random_lists()
    clicked_NK = ModelShopper(SHOP, model=MODELS[truth]).sample(queries, rows_NK, grades, np.random.default_rng(2)) > 0
    probs = {name: ModelShopper(SHOP, model=m).engage(queries, rows_NK, grades).click_NK for name, m in MODELS.items()}
    perplexity = {name: click_perplexity(clicked_NK, prob_NK) for name, prob_NK in probs.items()}
    assert min(perplexity, key=lambda name: perplexity[name]) == truth
    shown_NK = rows_NK >= 0
    np.testing.assert_allclose(rates_by_rank(clicked_NK, shown_NK), rates_by_rank(probs[truth], shown_NK), atol=0.02)
    own_NK = np.broadcast_to(rates_by_rank(clicked_NK, shown_NK), rows_NK.shape)
    assert perplexity[truth] < click_perplexity(clicked_NK, own_NK), "better than each rank's own rate"


def test_fit_recovers_the_taste_behind_purchases() -> None:
    queries, rows_NK, _ = random_lists(5_000)
    prices = pa.array(np.random.default_rng(4).lognormal(3.0, 1.0, len(SHOP.products)))
    shop = replace(SHOP, products=SHOP.products.set_column(6, "price", prices))
    grades = Grades(np.broadcast_to(np.eye(4, dtype=np.float32)[EXACT], (*rows_NK.shape, 4)))
    start = Profile(attract=(0.02, 0.05, 0.1, 0.2))  # far from certain, so that tastes show
    true = replace(start, price=1.5, brands={"Lindholm": 0.8, "Frosta": -0.6, "Velo": 0.0})
    prob_NK = preference(shop, true, rows_NK, grades)
    share_NK = prob_NK / prob_NK.sum(axis=1, keepdims=True)
    chosen_N = (np.random.default_rng(3).random((len(queries), 1)) > share_NK.cumsum(axis=1)).sum(axis=1)
    bought_NK = np.arange(rows_NK.shape[1]) == chosen_N[:, None]
    fitted = fit_taste(shop, rows_NK, grades, bought_NK, start)
    assert fitted.price == pytest.approx(1.5, abs=0.2)
    # A constant added to every brand hardly changes a choice: differences are what can be learned.
    for brand, logits in true.brands.items():
        assert fitted.brands[brand] - fitted.brands["Velo"] == pytest.approx(logits, abs=0.15)
    scores = [preference(shop, profile, rows_NK, grades) for profile in (start, fitted, true)]
    before, after, best = (choice_perplexity(score_NK, bought_NK)[0] for score_NK in scores)
    assert before > after and after == pytest.approx(best, rel=0.002)
    assert fit_taste(shop, rows_NK, grades, bought_NK, start) == fitted and fitted.attract == start.attract


def test_a_strong_prior_holds_the_fit_and_without_purchases_there_is_none() -> None:
    _, rows_NK, grades = random_lists(200)
    bought_NK = np.zeros(rows_NK.shape, bool)
    with pytest.raises(JudgeError, match="no graded product of these lists was bought"):
        fit_taste(SHOP, rows_NK, grades, bought_NK)
    bought_NK[:, 0] = True
    strict = fit_taste(SHOP, rows_NK, grades, bought_NK, ridge=1e9)
    assert strict.price == pytest.approx(AVERAGE.price, abs=1e-4) and max(map(abs, strict.brands.values())) < 1e-4


def test_preference_is_the_purchase_probability_given_examination() -> None:
    rows_NK = np.array([[0, 9, -1]], np.int32)
    grades = Grades(np.eye(4, dtype=np.float32)[[[EXACT, EXACT, 0]]])
    prefer_NK = preference(SHOP, Profile(price=1.0), rows_NK, grades)
    attract = 1 / (1 + np.exp(-(logit(AVERAGE.attract[EXACT]) - relative_price(SHOP)[[0, 9]])))
    np.testing.assert_allclose(prefer_NK[0, :2], attract * AVERAGE.satisfy[EXACT] * AVERAGE.cart * AVERAGE.buy)
    assert np.isnan(prefer_NK[0, 2])


def test_purchased_products_by_source() -> None:
    rows_NK = np.tile(np.arange(-1, 30, dtype=np.int32), (2, 1))
    queries = [SHOP.all_queries[0], SHOP.all_queries[3]]
    found = {
        source: np.argwhere(purchased_products(SHOP, queries, rows_NK, source)) - [0, 1]
        for source in ("search", "outside")
    }
    assert found["search"].tolist() == [[0, 0], [1, 10]] and found["outside"].tolist() == [[0, 1], [1, 11]]
    assert purchased_products(SHOP, queries, rows_NK).sum() == 4
