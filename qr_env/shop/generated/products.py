"""The stock of the generated shop: what is for sale as columns of numbers, from which titles and relevance follow.

    stock = draw_stock(vocabulary, n_products=24_000, rng=np.random.default_rng(0))
    stock.rows_of_type[3], stock.color_N[:5]

Every type gets about the same number of products; some of the shop are accessories, which belong to a type but are
not of it. Rows are shuffled, so that the order of the catalogue says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qr_env.shop.generated.vocabulary import TypeWords, Vocabulary

ACCESSORY_SHARE = 0.12
FEATURE_RATE = 0.4  # of the features of its type that a product has
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Names:
    """The numbers of brands, colours, materials and features: ids are positions in these tuples."""

    brands: tuple[str, ...]
    colors: tuple[str, ...]
    materials: tuple[str, ...]
    features: tuple[str, ...]
    """Merchants' phrases: two types that share a phrase share the feature."""


@dataclass(frozen=True)
class Stock:
    """Products as columns, (N,) each; -1 and NaN where a product has no such thing. Ids are those of `names`."""

    names: Names
    type_N: IntArray
    accessory_N: IntArray  # which accessory of its type a product is, -1 for the type's own products
    brand_N: IntArray
    color_N: IntArray
    material_N: IntArray
    size_N: npt.NDArray[np.float64]
    features_NF: npt.NDArray[np.bool_]
    price_N: npt.NDArray[np.float64]
    rows_of_type: tuple[IntArray, ...]  # ascending rows of the type's own products
    accessories_of_type: tuple[IntArray, ...]


def names_of(vocabulary: Vocabulary) -> Names:
    """Number everything that a product can have, in the order of the vocabulary."""
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
    type_N = np.concatenate(
        [_spread(n_products - n_accessories, len(vocabulary.types), rng), _accessory_types(vocabulary, n_accessories)]
    )
    own_N = np.arange(n_products) < n_products - n_accessories
    order_N = rng.permutation(n_products)
    type_N, own_N = type_N[order_N], own_N[order_N]
    columns = _empty_columns(n_products, len(names.features))
    rows_of_type, accessories_of_type = [], []
    for number, one in enumerate(vocabulary.types):
        rows = np.flatnonzero((type_N == number) & own_N).astype(np.int32)
        extras = np.flatnonzero((type_N == number) & ~own_N).astype(np.int32)
        _fill_own(columns, rows, one, names, rng)
        _fill_accessories(columns, extras, one, names, rng)
        rows_of_type.append(rows)
        accessories_of_type.append(extras)
    return Stock(
        names, type_N, **columns, rows_of_type=tuple(rows_of_type), accessories_of_type=tuple(accessories_of_type)
    )


def _spread(n: int, parts: int, rng: np.random.Generator) -> IntArray:
    """Type of each of n products: every type about equally often, the largest about twice the smallest."""
    share = rng.uniform(0.7, 1.3, parts)
    ends = np.round(np.cumsum(share) / share.sum() * n)
    return np.searchsorted(ends, np.arange(n), side="right").astype(np.int32)


def _accessory_types(vocabulary: Vocabulary, n: int) -> IntArray:
    """Type of each accessory, in turn over the types that have any."""
    having = [number for number, one in enumerate(vocabulary.types) if one.accessories]
    return np.resize(np.array(having, np.int32), n) if having else np.zeros(n, np.int32)


def _empty_columns(n: int, n_features: int) -> dict[str, npt.NDArray]:
    nothing = ("accessory_N", "brand_N", "color_N", "material_N")
    return {
        **{name: np.full(n, -1, np.int32) for name in nothing},
        "size_N": np.full(n, np.nan),
        "features_NF": np.zeros((n, n_features), np.bool_),
        "price_N": np.full(n, np.nan),
    }


def _favoured(count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Shares of `count` choices, the common ones about three times the rare ones, in random order."""
    weight = 1.0 / np.sqrt(1.0 + np.arange(count))
    return rng.permutation(weight / weight.sum())


def _drawn(ids: list[int], n: int, rng: np.random.Generator) -> IntArray:
    return rng.choice(np.array(ids, np.int32), n, p=_favoured(len(ids), rng))


def _fill_own(
    columns: dict[str, npt.NDArray], rows: IntArray, one: TypeWords, names: Names, rng: np.random.Generator
) -> None:
    n = len(rows)
    columns["brand_N"][rows] = _drawn([names.brands.index(brand) for brand in one.brands], n, rng)
    if one.colors:
        columns["color_N"][rows] = _drawn([names.colors.index(name) for name in one.colors], n, rng)
    if one.materials:
        columns["material_N"][rows] = _drawn([names.materials.index(name) for name in one.materials], n, rng)
    if one.size:
        columns["size_N"][rows] = np.array(one.size.values)[_drawn(list(range(len(one.size.values))), n, rng)]
    for feature in one.features:
        columns["features_NF"][rows, names.features.index(feature.merchant)] = rng.random(n) < FEATURE_RATE
    columns["price_N"][rows] = _prices(*one.price, n, rng)


def _fill_accessories(
    columns: dict[str, npt.NDArray], rows: IntArray, one: TypeWords, names: Names, rng: np.random.Generator
) -> None:
    n = len(rows)
    if n:
        columns["accessory_N"][rows] = rng.integers(len(one.accessories), size=n)
        columns["brand_N"][rows] = rng.choice([names.brands.index(brand) for brand in one.brands], n)
        columns["price_N"][rows] = _prices(max(2.0, one.price[0] * 0.1), max(4.0, one.price[0] * 0.6), n, rng)


def _prices(low: float, high: float, n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Log-uniform in [low, high], ending on .99 like prices do."""
    drawn = np.exp(rng.uniform(np.log(low), np.log(high), n))
    return np.round(np.maximum(np.floor(drawn), 1) - 0.01, 2)
