"""The `model` shopper: clicks, carts and purchases from grades, prices and tastes, in closed form or sampled.

    shopper = ModelShopper(shop)                                     # the average shopper, dynamic Bayesian
    shopper = ModelShopper(shop, PROFILES, MODELS["position"], Biases())
    engagement = shopper.engage(queries, hits.rows_NK, grades)      # exact; Engagement in qr_env/common/types.py
    depth_NK = shopper.sample(queries, hits.rows_NK, grades, np.random.default_rng(0))

For an examined product of level l and a shopper with taste t,

    click      a_l = σ(logit A_l + t)                                A: `Profile.attract`, judged from the list
    satisfied  a_l · S_l                                             S: `Profile.satisfy`, judged after the click
    cart       a_l · S_l · `Profile.cart`;  purchase = cart · `Profile.buy`
    t          = −price · log(price / median price of its category) + brands[brand]      0 where unknown

For a soft grade each is the expectation over P(level). `judges/shoppers/click_models.py` gives the probability that a
product is examined. Several profiles share the lists evenly: their probabilities are averaged.

`Biases` adds two biases of RewardRank's shopper (Bhatt et al. 2025): fewer clicks within runs of one brand or colour,
and leaving when the top holds irrelevant products. The paper gives no sizes: the sizes are ours, and so are the
probabilities of every profile. `fit_taste` (judges/shoppers/fidelity.py) learns price and brands from purchases.
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
TASTE_LIMIT = 4.0  # logits: bounds the effect of a price that is wrong by a factor of 1,000


@dataclass(frozen=True)
class Profile:
    """A kind of shopper. Four-tuples are probabilities by level, Irrelevant … Exact."""

    name: str = "average"
    """For reports and store keys."""
    about: str = "An ordinary shopper: wants what was asked for, at a fair price."
    """Description in the prompt of a language model that plays this shopper."""
    price: float = 0.5
    """Logits of attraction lost where the price is e times its category's median; negative prefers high prices."""
    brands: Mapping[str, float] = field(default_factory=dict)
    """Logits of attraction by brand; 0 for the others."""
    attract: tuple[float, float, float, float] = (0.05, 0.15, 0.35, 0.70)
    """Probability that an examined product is clicked, by level; in (0, 1)."""
    satisfy: tuple[float, float, float, float] = (0.02, 0.05, 0.25, 0.60)
    """Probability that a clicked product satisfies, by level."""
    cart: float = 0.6
    """Probability that a product that satisfies is put into the cart."""
    buy: float = 0.6
    """Probability that a product in the cart is bought."""

    def __post_init__(self) -> None:
        if not all(0 < value < 1 for value in self.attract):
            raise ConfigError(f"profile {self.name!r}: attract={self.attract} must be four probabilities in (0, 1)")
        if not all(0 <= value <= 1 for value in (*self.satisfy, self.cart, self.buy)):
            raise ConfigError(f"profile {self.name!r}: satisfy, cart and buy must be probabilities in [0, 1]")
        if not len(self.attract) == len(self.satisfy) == len(LEVELS):
            raise ConfigError(f"profile {self.name!r}: attract and satisfy need a probability for each of {LEVELS}")


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
    """RewardRank's biases besides position."""

    repetition: float = 0.15
    """Share of the click lost for each product of the same brand, or of the same colour, directly above."""
    leave_irrelevant: float = 0.2
    """Probability of leaving after an irrelevant product among the first `top`."""
    top: int = 3
    """Number of products at the top for which `leave_irrelevant` counts."""

    def __post_init__(self) -> None:
        if not (0 <= self.repetition <= 1 and 0 <= self.leave_irrelevant <= 1 and self.top >= 0):
            raise ConfigError(
                f"{self}: repetition and leave_irrelevant must be probabilities in [0, 1], top a number of products"
            )


class ModelShopper:
    """A `qr_env.common.protocols.Shopper` computed from a judge's grades: see the module docstring.

    Args:
        shop: gives prices, brands and colours.
        profiles: kinds of shoppers; several share the lists evenly.
        model: click model, one of `MODELS` or your own.
        biases: None: no bias but position.
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
        self.price_C = relative_price(shop)
        brands, self._brand_C = brand_codes(shop)
        self._color_C = _codes(shop.products["color"])[1]
        self._taste_RC = [taste(profile, self.price_C, brands, self._brand_C) for profile in self.profiles]

    def engage(self, queries: Sequence[Query], rows_NK: RowArray, grades: Grades) -> Engagement:
        """Exact probabilities for N lists. The queries are not read: the grades depend on them."""
        found_NK = rows_NK >= 0
        stay_NK = self._stay(grades, found_NK)
        given = [self.event_probs(n, rows_NK, grades) for n in range(len(self.profiles))]
        examined = [self.model.examine(given_NK4, stay_NK) for given_NK4 in given]
        some_N3 = np.mean([self.model.any_event(given_NK4, stay_NK) for given_NK4 in given], axis=0)
        events = [e_NK[..., None] * g_NK4[..., EVENTS] for e_NK, g_NK4 in zip(examined, given, strict=True)]
        prob_NK4 = np.concatenate([np.mean(examined, axis=0)[..., None], np.mean(events, axis=0)], axis=2)
        prob_NK4[~found_NK] = np.nan
        examine, click, cart, purchase = np.moveaxis(prob_NK4.astype(np.float32), 2, 0)
        return Engagement(examine, click, cart, purchase, some_N3.astype(np.float32))

    def sample(
        self, queries: Sequence[Query], rows_NK: RowArray, grades: Grades, generator: np.random.Generator
    ) -> npt.NDArray[np.int8]:
        """One sampled visit to each list by one of the profiles.

        Returns (N, K) int8: 0 nothing, 1 click, 2 satisfied, 3 cart, 4 purchase.

        Raises ValueError where a product is not graded.
        """
        stay_NK = self._stay(grades, rows_NK >= 0)
        profile_N = generator.integers(len(self.profiles), size=len(rows_NK))
        depth_NK = np.zeros(rows_NK.shape, np.int8)
        for n in range(len(self.profiles)):
            mine = profile_N == n
            given_NK4 = self.event_probs(n, rows_NK[mine], Grades(grades.probs_NK4[mine]))
            depth_NK[mine] = self.model.sample(given_NK4, generator, None if stay_NK is None else stay_NK[mine])
        return depth_NK

    def event_probs(self, profile: int, rows_NK: RowArray, grades: Grades) -> Floats:
        """P(click, satisfaction, cart, purchase | examined), (N, K, 4); 0 on padding, NaN where missing."""
        given_NK4 = event_probs(self.profiles[profile], self._taste_RC[profile][rows_NK], grades)
        if self.biases is not None:
            runs_NK = np.maximum(run_length_before(self._brand_C[rows_NK]), run_length_before(self._color_C[rows_NK]))
            given_NK4 *= ((1.0 - self.biases.repetition) ** runs_NK)[..., None]
        return np.where(rows_NK[..., None] >= 0, given_NK4, 0.0)

    def _stay(self, grades: Grades, found_NK: npt.NDArray[np.bool_]) -> Floats | None:
        """Probability of going on after each product, whether it was clicked or not; None: always."""
        if self.biases is None:
            return None
        near_top_NK = found_NK & (np.arange(found_NK.shape[1]) < self.biases.top)
        return np.where(near_top_NK, 1.0 - self.biases.leave_irrelevant * grades.probs_NK4[..., IRRELEVANT], 1.0)


def event_probs(profile: Profile, taste_NK: Floats, grades: Grades) -> Floats:
    """The formulas of the module docstring given examination, (N, K, 4) float64; NaN where a grade is missing."""
    click_NK4 = attraction(profile, taste_NK)
    probs_NK4 = grades.probs_NK4.astype(np.float64)
    given_NK4 = np.empty((*taste_NK.shape, 4))
    given_NK4[..., CLICK] = (probs_NK4 * click_NK4).sum(axis=2)
    given_NK4[..., SATISFIED] = (probs_NK4 * click_NK4 * profile.satisfy).sum(axis=2)
    given_NK4[..., CART] = given_NK4[..., SATISFIED] * profile.cart
    given_NK4[..., PURCHASE] = given_NK4[..., CART] * profile.buy
    return given_NK4


def attraction(profile: Profile, taste_NK: Floats) -> Floats:
    """a_l for every level, (N, K, 4), written without logarithms: σ(logit A + t) = A e^t / (A e^t + 1 − A)."""
    odds_NK4 = np.array(profile.attract) * np.exp(taste_NK)[..., None]
    return odds_NK4 / (odds_NK4 + (1.0 - np.array(profile.attract)))


def taste(profile: Profile, price_C: Floats, brands: Sequence[str], brand_C: Ints) -> Floats:
    """t of every product, (C,), within ±`TASTE_LIMIT` logits."""
    by_brand = np.array([*(profile.brands.get(brand, 0.0) for brand in brands), 0.0])
    return np.clip(by_brand[brand_C] - profile.price * price_C, -TASTE_LIMIT, TASTE_LIMIT)


def relative_price(shop: Shop) -> Floats:
    """log(price / median price of the product's category), (C,); 0 where the price is unknown or not positive."""
    price_C = shop.products["price"].to_numpy()
    known_C = price_C > 0
    category_C = _codes(shop.products["category"], blank=None)[1]
    median = np.ones(int(category_C.max(initial=-1)) + 1)
    order = np.flatnonzero(known_C)[np.lexsort((price_C[known_C], category_C[known_C]))]
    present, first, count = np.unique(category_C[order], return_index=True, return_counts=True)
    middle = first + np.array([(count - 1) // 2, count // 2])
    median[present] = price_C[order][middle].mean(axis=0)
    relative_C = np.zeros(len(price_C))
    relative_C[known_C] = np.log(price_C[known_C] / median[category_C[known_C]])
    return relative_C


def run_length_before(code_NK: Ints) -> Ints:
    """Number of products directly above with the same code, (N, K); -1 (unknown) equals no other."""
    position_K = np.arange(code_NK.shape[1])
    new_NK = np.ones(code_NK.shape, np.bool_)
    new_NK[:, 1:] = (code_NK[:, 1:] != code_NK[:, :-1]) | (code_NK[:, 1:] < 0)
    return position_K - np.maximum.accumulate(np.where(new_NK, position_K, 0), axis=1)


def brand_codes(shop: Shop) -> tuple[list[str], Ints]:
    """Brands, and each product's index in them, (C,); -1 where the brand is unknown."""
    return _codes(shop.products["brand"])


def _codes(column: pa.ChunkedArray, blank: str | None = "") -> tuple[list[str], Ints]:
    """Distinct values, and each row's index in them; -1 for `blank`."""
    encoded = column.combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    code_C = encoded.indices.to_numpy().astype(np.int64)
    return values, (np.where(code_C == values.index(blank), -1, code_C) if blank in values else code_C)
