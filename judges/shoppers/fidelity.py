"""How well a shopper predicts behaviour: perplexity and rates of clicks, AUC and choice perplexity of purchases.

    qr judge shopper --shop generated --json report.json

    click_perplexity(clicked_NK, engagement.click_NK)       # 1 is perfect, 2 a coin toss
    purchase_auc(engagement.purchase_NK, bought_NK)         # (N,) per query
    profile = fit_taste(shop, rows_NK, grades, bought_NK)   # learn price and brands from purchases

Probabilities are NaN where the shopper gives none (padding, missing grades); these products are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.stats import rankdata

from judges.shoppers.click_models import PURCHASE
from judges.shoppers.model import AVERAGE, Profile, attraction, brand_codes, event_probs, relative_price, taste
from qr_env.common.errors import JudgeError
from qr_env.common.types import Grades, Query, RowArray
from qr_env.shop.shop import Shop

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
CLIP = 1e-6  # bounds probabilities, as an event of probability 0 would make every average infinite
RIDGE = 1.0  # precision of the normal priors of the fit: each brand's logits, and the price's change


def purchased_products(shop: Shop, queries: Sequence[Query], rows_NK: RowArray, source: str | None = None) -> Bools:
    """(N, K) True where the product was bought for the query; source: only "search" or only "outside", None: both."""
    query_M, product_M = shop.purchase_rows(source)
    size = len(shop.products)
    query_rows_N1 = np.array([query.row for query in queries], np.int64)[:, None]
    codes_NK = np.where((rows_NK >= 0) & (query_rows_N1 >= 0), query_rows_N1 * size + rows_NK, -1)
    return np.isin(codes_NK, query_M * size + product_M)


def perplexity_by_rank(observed_NK: Bools, prob_NK: npt.NDArray[np.floating]) -> Floats:
    """(K,) 2 to the mean surprise, in bits, of the observed events at each rank; NaN where no list is as long.

    Dupret & Piwowarski 2008. 1 is perfect, 2 a coin toss; the baseline always predicts a rank's own rate.
    """
    likely_NK = np.clip(np.asarray(prob_NK, np.float64), CLIP, 1 - CLIP)
    bits_NK = np.log2(np.where(observed_NK, likely_NK, 1 - likely_NK))
    known_NK = ~np.isnan(bits_NK)
    return 2.0 ** -_ratio(np.where(known_NK, bits_NK, 0.0).sum(axis=0), known_NK.sum(axis=0))


def click_perplexity(observed_NK: Bools, prob_NK: npt.NDArray[np.floating]) -> float:
    """Mean over the ranks of `perplexity_by_rank`, as click models are compared."""
    return float(np.nanmean(perplexity_by_rank(observed_NK, prob_NK)))


def rates_by_rank(values_NK: npt.NDArray[np.generic], known_NK: Bools) -> Floats:
    """(K,) mean of events, or of their probabilities, at each rank: click-through rate by position."""
    return _ratio(np.where(known_NK, values_NK, 0).sum(axis=0, dtype=np.float64), known_NK.sum(axis=0))


def purchase_auc(score_NK: npt.NDArray[np.floating], bought_NK: Bools) -> Floats:
    """(N,) probability that a bought product of the list outranks one that was not bought (ties: one half).

    Of products with a score only; NaN where all or none of them were bought. Mann–Whitney's U over its maximum.
    """
    known_NK = ~np.isnan(score_NK)
    bought_NK = bought_NK & known_NK
    rank_NK = rankdata(np.where(known_NK, score_NK, -np.inf), axis=1) - (~known_NK).sum(axis=1, keepdims=True)
    bought_N, known_N = bought_NK.sum(axis=1), known_NK.sum(axis=1)
    above_N = np.where(bought_NK, rank_NK, 0).sum(axis=1) - bought_N * (bought_N + 1) / 2
    return _ratio(above_N, bought_N * (known_N - bought_N))


def choice_perplexity(prob_NK: npt.NDArray[np.floating], bought_NK: Bools) -> tuple[float, float]:
    """(perplexity, perplexity of a uniform guess) of which product of a list is bought, given that one is bought.

    p(k) = prob_k / Σ prob of the list; the perplexity is 2 to the mean surprise of the purchases, in bits: the guess is
    as good as one among that many equally likely products. A list counts where a scored product of it was bought; NaN
    where there is none.
    """
    known_NK = np.nan_to_num(np.asarray(prob_NK, np.float64)) > 0
    bought_NK = bought_NK & known_NK
    share_NK = np.where(known_NK, prob_NK, 0.0)
    share_NK = _ratio(share_NK, share_NK.sum(axis=1, keepdims=True))
    uniform_NK = np.broadcast_to(known_NK.sum(axis=1, keepdims=True), bought_NK.shape)
    if not bought_NK.any():
        return float("nan"), float("nan")
    bits, uniform = (np.log2(values[bought_NK]).mean() for values in (share_NK, uniform_NK))
    return float(2.0**-bits), float(2.0**uniform)


def fit_taste(
    shop: Shop, rows_NK: RowArray, grades: Grades, bought_NK: Bools, start: Profile = AVERAGE, ridge: float = RIDGE
) -> Profile:
    """`start` with price and brands learned from purchases by maximum likelihood; deterministic.

    Each purchase is a choice among the graded products of its list, by the probability of `judges.shoppers.model` to
    buy an examined product: p(k) = purchase_k / Σ_j purchase_j (a conditional logit, McFadden 1974, but for the
    attraction's σ).
    Normal priors: brands around 0, price around `start.price`; brands that were never offered stay out.

    Raises JudgeError where no graded product of a list was bought.
    """
    graded_NK = (rows_NK >= 0) & ~np.isnan(grades.probs_NK4[..., 0])
    chosen_NK = (bought_NK & graded_NK).astype(np.float64)
    if not chosen_NK.any():
        raise JudgeError("no graded product of these lists was bought: fit_taste needs purchases")
    brands, brand_C = brand_codes(shop)
    brand_NK, price_NK = brand_C[rows_NK], relative_price(shop)[rows_NK]
    offered = np.unique(brand_NK[graded_NK & (brand_NK >= 0)])
    place_NK = np.where(graded_NK & (brand_NK >= 0), np.searchsorted(offered, brand_NK), len(offered))
    count_N1 = chosen_NK.sum(axis=1, keepdims=True)

    def loss(theta: Floats) -> tuple[float, Floats]:
        taste_NK = np.append(theta[1:], 0.0)[place_NK] - theta[0] * price_NK
        buy_NK, slope_NK = _purchase_and_slope(start, taste_NK, grades)
        buy_NK, slope_NK = np.where(graded_NK, buy_NK, 0.0), np.where(graded_NK, slope_NK, 0.0)
        share_NK = _ratio(buy_NK, buy_NK.sum(axis=1, keepdims=True), 0.0)
        surprise = -(chosen_NK * np.log(np.where(chosen_NK > 0, share_NK, 1.0))).sum()
        # d log p(k) / d t_j = slope_k [k = j] − share_j slope_j, slope = d log purchase / d t
        residual_NK = (count_N1 * share_NK - chosen_NK) * slope_NK
        by_brand = np.bincount(place_NK.ravel(), residual_NK.ravel(), len(offered) + 1)[:-1]
        prior = theta - np.append(start.price, np.zeros(len(offered)))
        gradient = np.append(-(residual_NK * price_NK).sum(), by_brand) + ridge * prior
        return float(surprise + ridge / 2 * np.square(prior).sum()), gradient

    found = minimize(loss, np.append(start.price, np.zeros(len(offered))), jac=True, method="L-BFGS-B").x
    by_brand = {brands[code]: float(logits) for code, logits in zip(offered, found[1:], strict=True)}
    return replace(start, name=f"{start.name}, fitted", price=float(found[0]), brands=by_brand)


def _purchase_and_slope(profile: Profile, taste_NK: Floats, grades: Grades) -> tuple[Floats, Floats]:
    """P(purchase | examined), and d log of it / d taste: σ' = σ (1 − σ) of each level's attraction."""
    buy_NK = event_probs(profile, taste_NK, grades)[..., PURCHASE]
    click_NK4 = attraction(profile, taste_NK)
    satisfied_NK4 = grades.probs_NK4 * click_NK4 * profile.satisfy
    slope_NK = _ratio((satisfied_NK4 * (1 - click_NK4)).sum(axis=2), satisfied_NK4.sum(axis=2), 0.0)
    return buy_NK, slope_NK


def preference(shop: Shop, profile: Profile, rows_NK: RowArray, grades: Grades) -> Floats:
    """Probability of buying each product given examination, at any rank, (N, K); NaN missing and on padding."""
    brands, brand_C = brand_codes(shop)
    taste_NK = taste(profile, relative_price(shop), brands, brand_C)[rows_NK]
    prob_NK = event_probs(profile, taste_NK, grades)[..., PURCHASE]
    return np.where(rows_NK >= 0, prob_NK, np.nan)


def _ratio(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic], empty: float = np.nan) -> Floats:
    """part / whole, `empty` where the whole is 0."""
    whole = np.broadcast_to(whole, part.shape)
    return np.divide(part, whole, out=np.full(part.shape, empty), where=whole != 0)
