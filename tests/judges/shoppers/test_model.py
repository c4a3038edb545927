"""The model shopper: exact probabilities against samples, tastes and biases by hand, missing grades."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from judges.shoppers.click_models import MODELS
from judges.shoppers.model import AVERAGE, PROFILES, Biases, ModelShopper, Profile, relative_price, run_length_before
from qr_env.common.errors import ConfigError
from qr_env.common.types import EXACT, IRRELEVANT, Engagement, Grades
from qr_env.shop.shop import Shop
from tests.helpers.fakes import tiny_shop

SHOP = tiny_shop()
FIELDS = ("examine_NK", "click_NK", "cart_NK", "purchase_NK")


def lists(n: int = 8, k: int = 6) -> tuple[list, np.ndarray, Grades]:
    """Random lists with padding for the shop's queries, and soft grades."""
    generator = np.random.default_rng(0)
    queries = [SHOP.all_queries[i % len(SHOP.all_queries)] for i in range(n)]
    rows_NK = np.stack([generator.permutation(len(SHOP.products))[:k] for _ in range(n)]).astype(np.int32)
    rows_NK[0], rows_NK[1, 3:] = -1, -1
    probs_NK4 = generator.dirichlet([1, 0.5, 0.5, 1], rows_NK.shape).astype(np.float32)
    probs_NK4[rows_NK < 0] = np.nan
    return queries, rows_NK, Grades(probs_NK4)


@pytest.mark.parametrize("biases", [None, Biases(repetition=0.3, leave_irrelevant=0.5)], ids=["plain", "biased"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_sampled_frequencies_agree_with_exact_probabilities(model: object, biases: Biases | None) -> None:
    visits = 20_000
    queries, rows_NK, grades = lists()
    shopper = ModelShopper(SHOP, PROFILES, model, biases)  # type: ignore[arg-type]
    exact = shopper.engage(queries, rows_NK, grades)
    many = np.repeat(np.arange(len(rows_NK)), visits)
    asked = [queries[n] for n in many]
    done = shopper.sample(asked, rows_NK[many], Grades(grades.probs_NK4[many]), np.random.default_rng(1))
    depths = done.reshape(len(rows_NK), visits, -1)
    for event, prob_NK in ((1, exact.click_NK), (3, exact.cart_NK), (4, exact.purchase_NK)):
        share_NK = (depths >= event).mean(axis=1)
        np.testing.assert_allclose(share_NK, np.nan_to_num(prob_NK), atol=5 * 0.5 / visits**0.5)
    some_N3 = np.stack([(depths >= event).any(axis=2).mean(axis=1) for event in (1, 3, 4)], axis=1)
    np.testing.assert_allclose(some_N3, exact.some_N3, atol=5 * 0.5 / visits**0.5)


def test_samples_are_seeded() -> None:
    queries, rows_NK, grades = lists()
    shopper = ModelShopper(SHOP, PROFILES)
    drawn = [shopper.sample(queries, rows_NK, grades, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


def test_engagement_is_nested_in_bounds_and_an_empty_list_has_none() -> None:
    exact = ModelShopper(SHOP, PROFILES, biases=Biases()).engage(*lists())
    real_NK = lists()[1] >= 0
    probs = [getattr(exact, name) for name in FIELDS]
    assert all(prob_NK.dtype == np.float32 and (np.isnan(prob_NK) == ~real_NK).all() for prob_NK in probs)
    assert all((high[real_NK] >= low[real_NK]).all() for high, low in pairwise(probs))
    assert (exact.some_N3[0] == 0).all()
    assert ((exact.some_N3[1:] > 0) & (exact.some_N3[1:] <= 1)).all() and (np.diff(exact.some_N3, axis=1) <= 0).all()


def test_missing_grades_give_missing_engagement_never_zero() -> None:
    queries, rows_NK, grades = lists()
    grades.probs_NK4[2, 1] = np.nan
    chain = ModelShopper(SHOP).engage(queries, rows_NK, grades)
    assert np.isnan(chain.click_NK[2]).tolist() == [False, True, True, True, True, True]
    assert np.isnan(chain.some_N3[2]).all() and not np.isnan(chain.some_N3[[0, 1, 3, 4]]).any()
    alone = ModelShopper(SHOP, model=MODELS["position"]).engage(queries, rows_NK, grades)
    assert np.isnan(alone.click_NK[2]).tolist() == [False, True, False, False, False, False]
    assert np.isnan(alone.some_N3[2]).all()
    biased = ModelShopper(SHOP, model=MODELS["position"], biases=Biases()).engage(queries, rows_NK, grades)
    assert np.isnan(biased.click_NK[2]).tolist() == [False, True, True, True, True, True]


def certain(levels_K: list[int]) -> Grades:
    return Grades(np.eye(4, dtype=np.float32)[levels_K][None])


def engaged(shopper: ModelShopper, rows_K: list[int], levels_K: list[int]) -> Engagement:
    return shopper.engage(SHOP.all_queries[:1], np.array([rows_K], np.int32), certain(levels_K))


def test_the_average_shopper_by_hand() -> None:
    profile = Profile(price=0.0, attract=(0.1, 0.1, 0.5, 0.8), satisfy=(0, 0, 0.5, 0.5), cart=0.5, buy=0.2)
    done = engaged(ModelShopper(SHOP, [profile], MODELS["cascade"]), [0, 1], [EXACT, EXACT])
    np.testing.assert_allclose(done.click_NK, [[0.8, 0.2 * 0.8]], rtol=1e-6)
    np.testing.assert_allclose(done.cart_NK, [[0.2, 0.04]], rtol=1e-6)
    np.testing.assert_allclose(done.some_N3, [[0.96, 0.24, 0.048]], rtol=1e-6)


def test_better_grades_higher_up_engage_more() -> None:
    shopper = ModelShopper(SHOP, PROFILES, MODELS["dbn"], Biases())
    up, down, none = (
        engaged(shopper, [0, 1, 2], levels).some_N3[0] for levels in ([EXACT, 0, 0], [0, 0, EXACT], [IRRELEVANT, 0, 0])
    )
    assert (up > down).all() and (down > none).all()


def test_price_and_brand_move_attraction_as_logits() -> None:
    cheap, expensive = 0, 9  # sofas for 100 and 190; the category's median is 145
    np.testing.assert_allclose(relative_price(SHOP)[[cheap, expensive]], np.log([100 / 145, 190 / 145]))
    profile = Profile(price=2.0, brands={"Lindholm": 1.0})
    clicks_K = engaged(ModelShopper(SHOP, [profile], MODELS["position"]), [cheap, 20], [EXACT, EXACT]).click_NK[0]
    odds = AVERAGE.attract[EXACT] / (1 - AVERAGE.attract[EXACT]) * np.exp(1.0 - 2.0 * np.log(100 / 145))
    assert clicks_K[0] == pytest.approx(odds / (1 + odds), rel=1e-6)
    thrifty = ModelShopper(SHOP, [Profile(price=2.0)], MODELS["position"])
    assert engaged(thrifty, [cheap], [EXACT]).click_NK > engaged(thrifty, [expensive], [EXACT]).click_NK


def test_unknown_prices_and_brands_are_neutral() -> None:
    table = SHOP.products.set_column(6, "price", pa.array([None, -5.0, 0.0] + [100.0] * 27, pa.float64()))
    blank = table.set_column(3, "brand", pa.array([""] * 30))
    shop = Shop("blank", blank, SHOP.queries, SHOP.qrels, SHOP.purchases)
    assert relative_price(shop)[:4].tolist() == [0, 0, 0, 0]
    shopper = ModelShopper(shop, [Profile(price=9.0, brands={"": 3.0})], MODELS["position"], Biases(repetition=0.5))
    clicks_K = shopper.engage(SHOP.all_queries[:1], np.array([[0, 1]], np.int32), certain([EXACT] * 2)).click_NK[0]
    assert clicks_K[0] == pytest.approx(AVERAGE.attract[EXACT])


def test_runs_of_a_brand_or_colour_reduce_clicks() -> None:
    assert run_length_before(np.array([[5, 5, 5, 2, -1, -1, 5]])).tolist() == [[0, 1, 2, 0, 0, 0, 0]]
    plain = ModelShopper(SHOP, [Profile(price=0.0)], MODELS["position"])
    biased = ModelShopper(SHOP, [Profile(price=0.0)], MODELS["position"], Biases(repetition=0.2, leave_irrelevant=0))
    for rows_K, left in (([0, 1, 2, 10], [1, 0.8, 0.64, 1]), ([0, 10, 20, 21], [1, 0.8, 0.64, 0.8])):
        clicks = [engaged(shopper, rows_K, [EXACT] * 4).click_NK[0] for shopper in (biased, plain)]
        np.testing.assert_allclose(clicks[0] / clicks[1], left, rtol=1e-6)


def test_irrelevant_products_near_the_top_make_shoppers_leave() -> None:
    shopper = ModelShopper(SHOP, biases=Biases(repetition=0.0, leave_irrelevant=0.5, top=2), model=MODELS["position"])
    plain = ModelShopper(SHOP, model=MODELS["position"])
    levels = [IRRELEVANT, EXACT, IRRELEVANT, EXACT]
    examined = [engaged(each, [0, 10, 20, 1], levels).examine_NK[0] for each in (shopper, plain)]
    np.testing.assert_allclose(examined[0] / examined[1], [1, 0.5, 0.5, 0.5], rtol=1e-6)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="attract"):
        Profile(attract=(0.0, 0.1, 0.2, 0.3))
    with pytest.raises(ConfigError, match="buy"):
        Profile(buy=1.5)
    with pytest.raises(ConfigError, match="leave_irrelevant=-1"):
        Biases(leave_irrelevant=-1)
    with pytest.raises(ConfigError, match="at least one profile"):
        ModelShopper(SHOP, ())
