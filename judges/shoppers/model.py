"""The `model` shopper: clicks, carts and purchases from grades, prices and tastes, in closed form or as samples.

    shopper = ModelShopper(shop)                                     # the average shopper, dynamic Bayesian
    shopper = ModelShopper(shop, PROFILES, MODELS["position"], Biases())
    engagement = shopper.engage(queries, hits.rows_NK, grades)      # exact; Engagement in qr_env/common/types.py
    done_NK = shopper.sample(queries, hits.rows_NK, grades, np.random.default_rng(0))

For a product of level l that the shopper with taste t looks at,

    click      a_l = σ(logit A_l + t)                                A: `Profile.attract`, what a list shows of it
    satisfied  a_l · S_l                                             S: `Profile.satisfy`, what a click shows of it
    cart       a_l · S_l · `Profile.cart`;  purchase = cart · `Profile.buy`
    t          = −price · log(price / median price of its category) + brands[brand]      0 where unknown

and a soft grade mixes the levels: the expectation over P(level) is taken of each. Which products are looked at says
`judges/shoppers/click_models.py`. Several profiles share the lists evenly: their chances are averaged.

`Biases` adds what RewardRank (Bhatt et al. 2025) has its shopper do: tire of runs of one brand or colour, and lose
heart when the top holds irrelevant products. How strongly is not known to us; the sizes are ours, and so are the
chances of every profile. `fit_taste` (judges/shoppers/fidelity.py) learns price and brands from what was bought, nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from judges.shoppers.click_models import CART, CLICK, EVENTS, MODELS, PURCHASE, SATISFIED, ClickModel, Floats
from qr_env.common.errors import ConfigError
from qr_env.common.types import IRRELEVANT, LEVELS, Engagement, Grades, Query, RowArray
from qr_env.shop.shop import Shop

Ints = npt.NDArray[np.int64]
TASTE_LIMIT = 4.0  # logits: a price typed with three zeros too many decides, but is no certainty


@dataclass(frozen=True)
class Profile:
    """Who shops. Four-tuples are chances by level, Irrelevant … Exact."""

    name: str = "average"
    about: str = "An ordinary shopper: wants what was asked for, at a fair price."
    """Said to a language model that plays this shopper."""
    price: float = 0.5
    """Logits of attraction lost where the price is e times its category's median; negative likes it dear."""
    brands: Mapping[str, float] = field(default_factory=dict)
    """Logits of attraction by brand; 0 for the others."""
    attract: tuple[float, float, float, float] = (0.05, 0.15, 0.35, 0.70)
    satisfy: tuple[float, float, float, float] = (0.02, 0.05, 0.25, 0.60)
    cart: float = 0.6
    """Chance that a product that satisfies is put into the cart."""
    buy: float = 0.6
    """Chance that a product in the cart is bought."""

    def __post_init__(self) -> None:
        if not all(0 < value < 1 for value in self.attract):
            raise ConfigError(f"profile {self.name!r}: attract={self.attract} must be four chances in (0, 1)")
        if not all(0 <= value <= 1 for value in (*self.satisfy, self.cart, self.buy)):
            raise ConfigError(f"profile {self.name!r}: satisfy, cart and buy must be chances in [0, 1]")
        if not len(self.attract) == len(self.satisfy) == len(LEVELS):
            raise ConfigError(f"profile {self.name!r}: attract and satisfy need a chance for each of {LEVELS}")


AVERAGE = Profile()
PROFILES = (
    AVERAGE,
    Profile("thrifty", "Counts every penny: of two products that do, takes the cheaper.", price=1.5),
    Profile("quality", "Wants the best: distrusts the cheapest, pays for a good make.", price=-0.5, buy=0.7),
    Profile(
        "hurried",
        "In a hurry: takes the first product that will do, a substitute too.",
        price=0.2,
        satisfy=(0.02, 0.10, 0.50, 0.80),
    ),
    Profile(
        "exacting",
        "Knows exactly what it must be: a substitute will not do.",
        attract=(0.02, 0.05, 0.15, 0.70),
        satisfy=(0.0, 0.0, 0.05, 0.60),
    ),
)


@dataclass(frozen=True, slots=True)
class Biases:
    """RewardRank's habits besides position. run: share of the click lost for each product of the same brand, or of
    the same colour, directly above. rubbish: chance to leave after an irrelevant product among the first `top`."""

    run: float = 0.15
    rubbish: float = 0.2
    top: int = 3

    def __post_init__(self) -> None:
        if not (0 <= self.run <= 1 and 0 <= self.rubbish <= 1 and self.top >= 0):
            raise ConfigError(f"{self}: run and rubbish must be chances in [0, 1], top a number of products")


class ModelShopper:
    """A shopper (qr_env/common/types.py) that is computed, from a judge's grades: see the module docstring.

    Args:
        shop: whose prices, brands and colours are read.
        profiles: who shops; several share the lists evenly.
        model: how a list is gone through, of `MODELS` or your own.
        biases: None: none but position.
    """

    name = "model"

    def __init__(
        self,
        shop: Shop,
        profiles: Sequence[Profile] = (AVERAGE,),
        model: ClickModel = MODELS["dbn"],
        biases: Biases | None = None,
    ) -> None:
        if not profiles:
            raise ConfigError("a shopper needs at least one profile")
        self.profiles, self.model, self.biases = tuple(profiles), model, biases
        self.price_P = relative_price(shop)
        brands, self._brand_P = brand_codes(shop)
        self._color_P = _codes(shop.products["color"])[1]
        self._taste_RP = [taste(profile, self.price_P, brands, self._brand_P) for profile in self.profiles]

    def engage(self, queries: Sequence[Query], rows_NK: RowArray, grades: Grades) -> Engagement:
        """Exact chances for N lists; the queries are not read: the grades know them."""
        found_NK = rows_NK >= 0
        stay_NK = self._stay(grades, found_NK)
        given = [self.given(n, rows_NK, grades) for n in range(len(self.profiles))]
        examined = [self.model.examine(given_NK4, stay_NK) for given_NK4 in given]
        some_N3 = np.mean([self.model.some(given_NK4, stay_NK) for given_NK4 in given], axis=0)
        events = [e_NK[..., None] * g_NK4[..., EVENTS] for e_NK, g_NK4 in zip(examined, given, strict=True)]
        chance_NK4 = np.concatenate([np.mean(examined, axis=0)[..., None], np.mean(events, axis=0)], axis=2)
        chance_NK4[~found_NK] = np.nan
        examine, click, cart, purchase = np.moveaxis(chance_NK4.astype(np.float32), 2, 0)
        return Engagement(examine, click, cart, purchase, some_N3.astype(np.float32))

    def sample(
        self, queries: Sequence[Query], rows_NK: RowArray, grades: Grades, generator: np.random.Generator
    ) -> npt.NDArray[np.int8]:
        """One visit to each list by one of the profiles, (N, K): 0 nothing, 1 click, 2 satisfied, 3 cart, 4 purchase.

        Raises ValueError where a product is not graded.
        """
        stay_NK = self._stay(grades, rows_NK >= 0)
        visitor_N = generator.integers(len(self.profiles), size=len(rows_NK))
        done_NK = np.zeros(rows_NK.shape, np.int8)
        for n in range(len(self.profiles)):
            mine = visitor_N == n
            given_NK4 = self.given(n, rows_NK[mine], Grades(grades.probs_NK4[mine]))
            done_NK[mine] = self.model.sample(given_NK4, generator, None if stay_NK is None else stay_NK[mine])
        return done_NK

    def given(self, profile: int, rows_NK: RowArray, grades: Grades) -> Floats:
        """Chances of click, satisfaction, cart and purchase once looked at, (N, K, 4); 0 on padding, NaN missing."""
        given_NK4 = given_examined(self.profiles[profile], self._taste_RP[profile][rows_NK], grades)
        if self.biases is not None:
            given_NK4 *= self._freshness(rows_NK)[..., None]
        return np.where(rows_NK[..., None] >= 0, given_NK4, 0.0)

    def _freshness(self, rows_NK: RowArray) -> Floats:
        """What repetition leaves of a click: the longer of the two runs counts."""
        assert self.biases is not None
        runs_NK = np.maximum(run_before(self._brand_P[rows_NK]), run_before(self._color_P[rows_NK]))
        return (1.0 - self.biases.run) ** runs_NK

    def _stay(self, grades: Grades, found_NK: npt.NDArray[np.bool_]) -> Floats | None:
        """Chance to go on after each product, whatever its click."""
        if self.biases is None:
            return None
        near_top_NK = found_NK & (np.arange(found_NK.shape[1]) < self.biases.top)
        return np.where(near_top_NK, 1.0 - self.biases.rubbish * grades.probs_NK4[..., IRRELEVANT], 1.0)


def given_examined(profile: Profile, taste_NK: Floats, grades: Grades) -> Floats:
    """The formulas of the module docstring, (N, K, 4) float64; NaN where a grade is missing."""
    click_NKL = attraction(profile, taste_NK)
    probs_NKL = grades.probs_NK4.astype(np.float64)
    given_NK4 = np.empty((*taste_NK.shape, 4))
    given_NK4[..., CLICK] = (probs_NKL * click_NKL).sum(axis=2)
    given_NK4[..., SATISFIED] = (probs_NKL * click_NKL * profile.satisfy).sum(axis=2)
    given_NK4[..., CART] = given_NK4[..., SATISFIED] * profile.cart
    given_NK4[..., PURCHASE] = given_NK4[..., CART] * profile.buy
    return given_NK4


def attraction(profile: Profile, taste_NK: Floats) -> Floats:
    """a_l for every level, (N, K, 4), written without logarithms: σ(logit A + t) = A e^t / (A e^t + 1 − A)."""
    liked_NKL = np.array(profile.attract) * np.exp(taste_NK)[..., None]
    return liked_NKL / (liked_NKL + (1.0 - np.array(profile.attract)))


def taste(profile: Profile, price_P: Floats, brands: Sequence[str], brand_P: Ints) -> Floats:
    """t of every product, (P,), within ±`TASTE_LIMIT` logits."""
    by_brand = np.array([*(profile.brands.get(brand, 0.0) for brand in brands), 0.0])
    return np.clip(by_brand[brand_P] - profile.price * price_P, -TASTE_LIMIT, TASTE_LIMIT)


def relative_price(shop: Shop) -> Floats:
    """log(price / median price of the product's category), (P,); 0 where the price is unknown or not positive."""
    price_P = shop.products["price"].to_numpy()
    known_P = price_P > 0
    category_P = _codes(shop.products["category"], blank=None)[1]
    median_C = np.ones(int(category_P.max(initial=-1)) + 1)
    order = np.flatnonzero(known_P)[np.lexsort((price_P[known_P], category_P[known_P]))]
    held, first_C, count_C = np.unique(category_P[order], return_index=True, return_counts=True)
    middle_2C = first_C + np.array([(count_C - 1) // 2, count_C // 2])
    median_C[held] = price_P[order][middle_2C].mean(axis=0)
    relative_P = np.zeros(len(price_P))
    relative_P[known_P] = np.log(price_P[known_P] / median_C[category_P[known_P]])
    return relative_P


def run_before(code_NK: Ints) -> Ints:
    """How many products directly above are of the same kind, (N, K); -1 (unknown) is like no other."""
    position_K = np.arange(code_NK.shape[1])
    new_NK = np.ones(code_NK.shape, np.bool_)
    new_NK[:, 1:] = (code_NK[:, 1:] != code_NK[:, :-1]) | (code_NK[:, 1:] < 0)
    return position_K - np.maximum.accumulate(np.where(new_NK, position_K, 0), axis=1)


def brand_codes(shop: Shop) -> tuple[list[str], Ints]:
    """Brands, and each product's place among them, (P,); -1 where the brand is unknown."""
    return _codes(shop.products["brand"])


def _codes(column: pa.ChunkedArray, blank: str | None = "") -> tuple[list[str], Ints]:
    """Distinct values, and each row's place among them; `blank` is no value: -1."""
    encoded = column.combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    code_P = encoded.indices.to_numpy().astype(np.int64)
    return values, (np.where(code_P == values.index(blank), -1, code_P) if blank in values else code_P)
