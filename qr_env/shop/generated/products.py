"""The products of the generated shop as numeric columns, from which titles and relevance are derived.

    stock = draw_stock(vocabulary, n_products=24_000, rng=np.random.default_rng(0))
    stock.rows_of_type[3], stock.color_C[:5]

Every type has about the same number of products; 12 % of all products are accessories, which belong to a type but are
not instances of it. Rows are shuffled, so that the order of the catalogue carries no information.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qr_env.shop.generated.vocabulary import TypeWords, Vocabulary

ACCESSORY_SHARE = 0.12
FEATURE_RATE = 0.4  # probability that a product has a feature of its type
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Names:
    """Names behind numeric ids: an id is the position in one of these tuples."""

    brands: tuple[str, ...]
    """Brand names."""
    colors: tuple[str, ...]
    """Merchants' colour names."""
    materials: tuple[str, ...]
    """Merchants' material names."""
    features: tuple[str, ...]
    """Merchants' feature phrases; two types that share a phrase share the feature."""


@dataclass(frozen=True)
class Stock:
    """All products as columns over the catalogue, C products; -1 or NaN where a property does not apply."""

    names: Names
    """Names behind the ids."""
    type_C: IntArray
    """(C,) number of the product type in the vocabulary."""
    accessory_C: IntArray
    """(C,) number of the accessory in its type's list; -1 for products of the type itself."""
    brand_C: IntArray
    """(C,) brand id."""
    color_C: IntArray
    """(C,) colour id."""
    material_C: IntArray
    """(C,) material id."""
    size_C: npt.NDArray[np.float64]
    """(C,) size in the unit of the type."""
    features_CF: npt.NDArray[np.bool_]
    """(C, features) whether the product has the feature."""
    price_C: npt.NDArray[np.float64]
    """(C,) price."""
    rows_of_type: tuple[IntArray, ...]
    """For each type, the ascending rows of its products, without accessories."""
    accessories_of_type: tuple[IntArray, ...]
    """For each type, the ascending rows of its accessories."""


def names_of(vocabulary: Vocabulary) -> Names:
    """Names of brands, colours, materials and features, in the order of the vocabulary."""
    return Names(
        brands=tuple(dict.fromkeys(brand for one in vocabulary.types for brand in one.brands)),
        colors=tuple(vocabulary.colors),
        materials=tuple(vocabulary.materials),
        features=tuple(dict.fromkeys(feature.merchant for one in vocabulary.types for feature in one.features)),
    )


def draw_stock(vocabulary: Vocabulary, n_products: int, rng: np.random.Generator) -> Stock:
    """Draw `n_products` products over all types."""
    names = names_of(vocabulary)
    n_accessories = int(n_products * ACCESSORY_SHARE)
    type_C = np.concatenate(
        [
            _main_types(n_products - n_accessories, len(vocabulary.types), rng),
            _accessory_types(vocabulary, n_accessories),
        ]
    )
    is_main_C = np.arange(n_products) < n_products - n_accessories
    order_C = rng.permutation(n_products)
    type_C, is_main_C = type_C[order_C], is_main_C[order_C]
    columns = _empty_columns(n_products, len(names.features))
    rows_of_type, accessories_of_type = [], []
    for number, one in enumerate(vocabulary.types):
        rows = np.flatnonzero((type_C == number) & is_main_C).astype(np.int32)
        accessories = np.flatnonzero((type_C == number) & ~is_main_C).astype(np.int32)
        _fill_main(columns, rows, one, names, rng)
        _fill_accessories(columns, accessories, one, names, rng)
        rows_of_type.append(rows)
        accessories_of_type.append(accessories)
    return Stock(
        names, type_C, **columns, rows_of_type=tuple(rows_of_type), accessories_of_type=tuple(accessories_of_type)
    )


def _main_types(n: int, parts: int, rng: np.random.Generator) -> IntArray:
    """Type of each of n main products: all types about equally frequent, the largest about twice the smallest."""
    share = rng.uniform(0.7, 1.3, parts)
    ends = np.round(np.cumsum(share) / share.sum() * n)
    return np.searchsorted(ends, np.arange(n), side="right").astype(np.int32)


def _accessory_types(vocabulary: Vocabulary, n: int) -> IntArray:
    """Type of each accessory, round-robin over the types that have accessories."""
    with_accessories = [number for number, one in enumerate(vocabulary.types) if one.accessories]
    return np.resize(np.array(with_accessories, np.int32), n) if with_accessories else np.zeros(n, np.int32)


def _empty_columns(n: int, n_features: int) -> dict[str, npt.NDArray]:
    ids = ("accessory_C", "brand_C", "color_C", "material_C")
    return {
        **{name: np.full(n, -1, np.int32) for name in ids},
        "size_C": np.full(n, np.nan),
        "features_CF": np.zeros((n, n_features), np.bool_),
        "price_C": np.full(n, np.nan),
    }


def _choice_shares(count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Probabilities of `count` choices, ∝ 1/√rank, in random order."""
    weight = 1.0 / np.sqrt(1.0 + np.arange(count))
    return rng.permutation(weight / weight.sum())


def _draw_ids(ids: list[int], n: int, rng: np.random.Generator) -> IntArray:
    return rng.choice(np.array(ids, np.int32), n, p=_choice_shares(len(ids), rng))


def _fill_main(
    columns: dict[str, npt.NDArray], rows: IntArray, one: TypeWords, names: Names, rng: np.random.Generator
) -> None:
    n = len(rows)
    columns["brand_C"][rows] = _draw_ids([names.brands.index(brand) for brand in one.brands], n, rng)
    if one.colors:
        columns["color_C"][rows] = _draw_ids([names.colors.index(name) for name in one.colors], n, rng)
    if one.materials:
        columns["material_C"][rows] = _draw_ids([names.materials.index(name) for name in one.materials], n, rng)
    if one.size:
        columns["size_C"][rows] = np.array(one.size.values)[_draw_ids(list(range(len(one.size.values))), n, rng)]
    for feature in one.features:
        columns["features_CF"][rows, names.features.index(feature.merchant)] = rng.random(n) < FEATURE_RATE
    columns["price_C"][rows] = _prices(*one.price, n, rng)


def _fill_accessories(
    columns: dict[str, npt.NDArray], rows: IntArray, one: TypeWords, names: Names, rng: np.random.Generator
) -> None:
    n = len(rows)
    if n:
        columns["accessory_C"][rows] = rng.integers(len(one.accessories), size=n)
        columns["brand_C"][rows] = rng.choice([names.brands.index(brand) for brand in one.brands], n)
        columns["price_C"][rows] = _prices(max(2.0, one.price[0] * 0.1), max(4.0, one.price[0] * 0.6), n, rng)


def _prices(low: float, high: float, n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Prices log-uniform in [low, high], ending in .99."""
    prices = np.exp(rng.uniform(np.log(low), np.log(high), n))
    return np.round(np.maximum(np.floor(prices), 1) - 0.01, 2)
