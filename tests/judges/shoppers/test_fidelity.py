"""Fidelity metrics against their definitions; they must recover a log's click model and the taste behind purchases."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import logit

from judges.shoppers.click_log import read_click_log
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
from qr_env.common.errors import BadRowError, DataError, JudgeError
from qr_env.common.types import EXACT, Grades
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import write_shop
from runs.judge.args import ShopperArgs
from runs.judge.shopper import main
from tests.helpers.fakes import tiny_shop

SHOP = tiny_shop()
COIN = np.random.default_rng(0)


def test_perplexity_by_hand() -> None:
    done_NK = np.array([[True, False], [True, True], [False, True]])
    prob_NK = np.array([[0.5, 0.25], [0.5, 0.75], [0.5, np.nan]])
    by_rank_K = perplexity_by_rank(done_NK, prob_NK)
    np.testing.assert_allclose(by_rank_K, [2.0, 1 / 0.75])
    assert click_perplexity(done_NK, prob_NK) == pytest.approx(by_rank_K.mean())
    assert click_perplexity(done_NK, done_NK.astype(float)) == pytest.approx(1.0, abs=1e-5)
    assert np.isnan(perplexity_by_rank(done_NK, np.full((3, 2), np.nan))).all()


def test_rates_leave_padding_out() -> None:
    done_NK = np.array([[True, False], [False, False]])
    np.testing.assert_allclose(rates_by_rank(done_NK, np.array([[True, True], [True, False]])), [0.5, 0.0])


def test_auc_equals_the_share_of_ordered_pairs() -> None:
    scores_NK = np.where(COIN.random((50, 8)) < 0.2, np.nan, COIN.integers(0, 4, (50, 8)).astype(float))
    bought_NK = COIN.random((50, 8)) < 0.3
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
    found, blind = choice_perplexity(prob_NK, bought_NK)
    assert found == pytest.approx((2 * 4) ** 0.5) and blind == pytest.approx((3 * 2) ** 0.5)
    assert np.isnan(choice_perplexity(prob_NK, np.zeros((3, 3), bool))).all()


def random_lists(n: int = 12_000, k: int = 6) -> tuple[list[Any], np.ndarray, Grades]:
    """Lists of sofas, refrigerators and shoes for the shop's queries, with certain grades."""
    generator = np.random.default_rng(1)
    queries = [SHOP.all_queries[i % len(SHOP.all_queries)] for i in range(n)]
    rows_NK = generator.permuted(np.tile(np.arange(30), (n, 1)), axis=1)[:, :k].astype(np.int32)
    return queries, rows_NK, Grades(np.eye(4, dtype=np.float32)[generator.integers(0, 4, (n, k))])


@pytest.mark.parametrize("truth", MODELS)
def test_perplexity_finds_the_examination_that_made_the_log(truth: str) -> None:
    queries, rows_NK, grades = random_lists()
    clicked_NK = ModelShopper(SHOP, model=MODELS[truth]).sample(queries, rows_NK, grades, np.random.default_rng(2)) > 0
    probs = {name: ModelShopper(SHOP, model=m).engage(queries, rows_NK, grades).click_NK for name, m in MODELS.items()}
    perplexity = {name: click_perplexity(clicked_NK, prob_NK) for name, prob_NK in probs.items()}
    assert min(perplexity, key=lambda name: perplexity[name]) == truth
    shown_NK = rows_NK >= 0
    np.testing.assert_allclose(rates_by_rank(clicked_NK, shown_NK), rates_by_rank(probs[truth], shown_NK), atol=0.02)
    own_NK = np.broadcast_to(rates_by_rank(clicked_NK, shown_NK), rows_NK.shape)
    assert perplexity[truth] < click_perplexity(clicked_NK, own_NK), "better than each rank's own rate"


def test_fit_recovers_the_taste_that_bought() -> None:
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


def test_preference_is_the_chance_to_buy_what_is_looked_at() -> None:
    rows_NK = np.array([[0, 9, -1]], np.int32)
    grades = Grades(np.eye(4, dtype=np.float32)[[[EXACT, EXACT, 0]]])
    prefer_NK = preference(SHOP, Profile(price=1.0), rows_NK, grades)
    attract = 1 / (1 + np.exp(-(logit(AVERAGE.attract[EXACT]) - relative_price(SHOP)[[0, 9]])))
    np.testing.assert_allclose(prefer_NK[0, :2], attract * AVERAGE.satisfy[EXACT] * AVERAGE.cart * AVERAGE.buy)
    assert np.isnan(prefer_NK[0, 2])


def test_bought_by_source() -> None:
    rows_NK = np.tile(np.arange(-1, 30, dtype=np.int32), (2, 1))
    queries = [SHOP.all_queries[0], SHOP.all_queries[3]]
    found = {
        source: np.argwhere(purchased_products(SHOP, queries, rows_NK, source)) - [0, 1]
        for source in ("search", "outside")
    }
    assert found["search"].tolist() == [[0, 0], [1, 10]] and found["outside"].tolist() == [[0, 1], [1, 11]]
    assert purchased_products(SHOP, queries, rows_NK).sum() == 4


def write_log(path: Path, lines: list[str]) -> Path:
    path.write_text("session,query_id,product_id,position,event\n" + "\n".join(lines) + "\n")
    return path


def test_a_click_log_comes_back_as_lists(tmp_path: Path) -> None:
    lines = ["b,q01,p07,1,", "a,q00,p01,2,click", "a,q00,p00,1,purchase", "b,q01,p03,2,Cart", "c,q00,p02,1,none"]
    log = read_click_log(write_log(tmp_path / "log.csv", lines), SHOP)
    assert [query.id for query in log.queries] == ["q01", "q00", "q00"]
    assert log.rows_NK.tolist() == [[7, 3], [0, 1], [2, -1]]
    assert log.event_NK.tolist() == [[0, 2], [3, 1], [0, 0]]
    assert log.reached("click").tolist() == [[False, True], [True, True], [False, False]]


def test_dirty_rows_stop_or_take_their_list_with_them(tmp_path: Path) -> None:
    good = ["a,q00,p00,1,click", "a,q00,p01,2,"]
    dirty = ["b,q00,p00,1,", "b,q00,nothing,2,", "b,q00,p02,3,click", "c,q01,p00,0,", "d,q00,p00,1,stolen"]
    path = write_log(
        tmp_path / "log.csv", [*good, *dirty, "e,q00,p00,1,", "e,q00,p01,1,", "f,q00,p00,1,", "f,q01,p01,2,"]
    )
    with pytest.raises(BadRowError, match=r"log\.csv:5: unknown product_id"):
        read_click_log(path, SHOP)
    log = read_click_log(path, SHOP, on_bad_row="skip")
    assert log.rows_NK.tolist() == [[0, 1]] and len(log.report.bad_rows) == 3
    assert "3 of 4 sessions" in log.report.notes[-1]
    with pytest.raises(DataError, match="no complete list"):
        read_click_log(write_log(tmp_path / "gaps.csv", ["a,q00,p00,2,click"]), SHOP)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny shop as files, its index cached beside it."""
    path = tmp_path_factory.mktemp("shop")
    write_shop(SHOP, path)
    return path


def report_of(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **settings: Any) -> dict[str, Any]:
    monkeypatch.setenv("QR_CACHE", str(folder / "cache"))
    main(ShopperArgs(shop=str(folder), json=str(tmp_path / "report.json"), k=10, split="train", **settings))
    return json.loads((tmp_path / "report.json").read_text())


def test_the_verb_reports_purchases(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    report = report_of(folder, monkeypatch, tmp_path)
    names = ["grades only", "preference", "preference, fitted", *MODELS]
    assert all(0 <= report["purchases"][name]["AUC search"]["mean"] <= 1 for name in names)
    figure = report["purchases"]["preference"]["AUC search"]
    assert figure["low"] <= figure["mean"] <= figure["high"] and figure["queries"] > 0
    assert sum(report["purchases"]["by rank"]["observed"]) == pytest.approx(1)
    assert report["purchases"]["dbn"]["chance"] > 1 and report["profile"]["name"] == "average, fitted"


def test_the_verb_reads_a_log(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    queries, rows_NK, _ = random_lists(3_000)
    grades = Grades(np.eye(4, dtype=np.float32)[SHOP.levels([q.row for q in queries], rows_NK)])
    done_NK = ModelShopper(SHOP, model=MODELS["cascade"]).sample(queries, rows_NK, grades, np.random.default_rng(0))
    event_NK = np.array(["none", "click", "click", "cart", "purchase"])[done_NK]
    n, k = rows_NK.shape
    columns = {
        "session": np.repeat(np.arange(n), k).astype(str).tolist(),
        "query_id": np.repeat([query.id for query in queries], k).tolist(),
        "product_id": [f"p{row:02d}" for row in rows_NK.ravel()],
        "position": np.tile(np.arange(1, k + 1), n).tolist(),
        "event": event_NK.ravel().tolist(),
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "log.parquet")
    clicks = report_of(folder, monkeypatch, tmp_path, log=tmp_path / "log.parquet", fit=0)["clicks"]
    assert clicks["clicks"] == int((done_NK > 0).sum())
    assert min(clicks["perplexity"], key=lambda name: clicks["perplexity"][name]) == "cascade"
    np.testing.assert_allclose(clicks["rate by rank"]["cascade"], clicks["rate by rank"]["observed"], atol=0.03)


def test_nothing_to_compare_with_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shop(Shop("bare", SHOP.products, SHOP.queries, SHOP.qrels, SHOP.purchases.slice(0, 0), True), tmp_path)
    with pytest.raises(DataError, match="no --log"):
        report_of(tmp_path, monkeypatch, tmp_path, fit=0)
