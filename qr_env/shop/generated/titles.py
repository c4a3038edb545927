"""Titles, descriptions and attributes in the merchants' words, from the product columns.

    table = write_products(vocabulary, stock, random.Random(0))   # pyarrow, columns of PRODUCT_SCHEMA

A title states each of colour, material and size with probability `STATED`, and half of the features; `attributes`
states all. Product names come from `noun` alone, so that shoppers' other names match no title.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

import pyarrow as pa

from qr_env.shop.generated import phrases
from qr_env.shop.generated.products import Stock
from qr_env.shop.generated.reviews import Reviews
from qr_env.shop.generated.sizes import merchant_size
from qr_env.shop.generated.vocabulary import TypeWords, Vocabulary
from qr_env.shop.shop import PRODUCT_SCHEMA

STATED = 0.75  # probability that a title states a fact
FEATURE_STATED = 0.5  # probability that a title states a feature
REVIEWED = 0.45  # probability that the attributes contain a review snippet
Facts = dict[str, str]


def write_products(vocabulary: Vocabulary, stock: Stock, draw: random.Random) -> pa.Table:
    """The products table of the shop, in the row order of `stock`."""
    columns: dict[str, list] = {name: [] for name in PRODUCT_SCHEMA.names}
    reviews = Reviews(vocabulary, draw)
    facts_C = _facts(stock, vocabulary)
    accessory_of = stock.accessory_C.tolist()
    for row, (number, facts, features) in enumerate(zip(stock.type_C.tolist(), facts_C, _features(stock), strict=True)):
        one = vocabulary.types[number]
        if accessory_of[row] >= 0:
            title, description, attributes = _accessory_texts(
                one, one.accessories[accessory_of[row]], facts["brand"], draw
            )
            category = f"Accessories for {one.department.lower()}"
        else:
            title, description, attributes = _main_texts(one, facts, features, draw)
            category = one.category
            if draw.random() < REVIEWED:
                attributes += f" | customers mention: {reviews.about(number)}"
        values = (f"P{row:06d}", title, description, facts["brand"], category, facts["color"], 0.0, attributes)
        for name, value in zip(PRODUCT_SCHEMA.names, values, strict=True):
            columns[name].append(value)
    columns["price"] = stock.price_C.tolist()
    return pa.table(columns, schema=PRODUCT_SCHEMA)


def _facts(stock: Stock, vocabulary: Vocabulary) -> list[Facts]:
    """Brand, colour, material and size of each product in the merchants' words; "" where not applicable."""
    names = stock.names
    units = [one.size.unit if one.size else "" for one in vocabulary.types]
    columns = (stock.type_C, stock.brand_C, stock.color_C, stock.material_C, stock.size_C)
    return [
        {
            "brand": names.brands[brand] if brand >= 0 else "",
            "color": names.colors[color] if color >= 0 else "",
            "material": names.materials[material] if material >= 0 else "",
            "size": merchant_size(units[number], size) if size == size else "",  # NaN is not itself
        }
        for number, brand, color, material, size in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _features(stock: Stock) -> list[list[str]]:
    """The features of each product, in the merchants' words."""
    found: list[list[str]] = [[] for _ in range(len(stock.type_C))]
    rows, features = stock.features_CF.nonzero()
    for row, feature in zip(rows.tolist(), features.tolist(), strict=True):
        found[row].append(stock.names.features[feature])
    return found


def _main_texts(one: TypeWords, facts: Facts, features: list[str], draw: random.Random) -> tuple[str, str, str]:
    """Title, description and attributes of a product of the type."""
    chance = draw.random
    noun = one.noun[0] if len(one.noun) == 1 or chance() < 0.65 else one.noun[1]
    stated = {key: value if chance() < STATED else "" for key, value in facts.items()}
    stated["brand"] = facts["brand"] if chance() < 0.85 else ""
    stated["noun"] = noun
    stated["features"] = [feature for feature in features if chance() < FEATURE_STATED]  # type: ignore[assignment]
    title = draw.choice(_TEMPLATES)(stated, draw)
    listed = {"type": noun, "material": facts["material"], "colour": facts["color"], "features": ", ".join(features)}
    if one.size:
        listed[one.size.label] = facts["size"]
    attributes = " | ".join(f"{key}: {value}" for key, value in listed.items() if value)
    detail = f"With {' and '.join(features[:2])}." if features else "A plain model without extras."
    description = draw.choice(phrases.DESCRIPTIONS).format(noun=noun, brand=facts["brand"], detail=detail)
    return title, description, attributes


def _accessory_texts(one: TypeWords, name: str, brand: str, draw: random.Random) -> tuple[str, str, str]:
    """Title, description and attributes of an accessory of the type."""
    pack = draw.choice(phrases.PACKS)
    heads = (f"{brand} {_title(name)}", f"{_title(name)} by {brand}", f"{brand} {_model(draw)} {_title(name)}")
    tail = pack if draw.random() < 0.5 else f"for {one.noun[0]}" if draw.random() < 0.2 else ""
    attributes = f"contents: {pack} | {' | '.join(draw.sample(phrases.ACCESSORY_NOTES, 2))}"
    description = draw.choice(phrases.ACCESSORY_DESCRIPTIONS).format(brand=brand)
    return _joined(draw.choice(heads), tail), description, attributes


@cache
def _title(text: str) -> str:
    """Title Case; words that start with a capital, such as units, are unchanged."""
    return " ".join(word if word[:1].isupper() else word[:1].upper() + word[1:] for word in text.split())


def _model(draw: random.Random) -> str:
    """A model name: a series, or letters with a number."""
    if draw.random() < 0.5:
        return draw.choice(phrases.SERIES)
    letters = "".join(draw.choice("BCDHJKNPRSTX") for _ in range(2))
    return f"{letters}-{draw.randrange(101, 999)}"


def _joined(*parts: str, by: str = ", ") -> str:
    return by.join(part for part in parts if part)


def _words(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _marketing(draw: random.Random, rate: float = 0.4) -> str:
    return draw.choice(phrases.MARKETING) if draw.random() < rate else ""


def _brand_first(stated: Facts, draw: random.Random) -> str:
    head = _words(stated["brand"], _model(draw), _title(stated["noun"]))
    return _joined(head, stated["size"], stated["color"], stated["material"], *stated["features"])


def _listed(stated: Facts, draw: random.Random) -> str:
    head = _words(_title(stated["material"]), _title(stated["noun"]), stated["size"])
    return _joined(
        _words(_marketing(draw), head), _title(stated["color"]), *stated["features"], stated["brand"], by=" - "
    )


def _sentence(stated: Facts, draw: random.Random) -> str:
    head = _words(stated["brand"], _marketing(draw, 0.3), _title(stated["material"]), _title(stated["noun"]))
    color = f"in {_title(stated['color'])}" if stated["color"] else ""
    return _joined(_words(head, color, stated["size"]), *stated["features"])


def _noun_first(stated: Facts, draw: random.Random) -> str:
    head = _joined(_title(stated["noun"]), stated["size"], *stated["features"])
    tail = f"({stated['color']})" if stated["color"] else ""
    return _words(head, tail, stated["material"], stated["brand"], _model(draw))


def _bars(stated: Facts, draw: random.Random) -> str:
    head = _words(_title(stated["color"]), _title(stated["noun"]), f"by {stated['brand']}" if stated["brand"] else "")
    return _joined(
        _words(_marketing(draw, 0.6), head), stated["material"], stated["size"], *stated["features"], by=" | "
    )


_TEMPLATES: tuple[Callable[[Facts, random.Random], str], ...] = (_brand_first, _listed, _sentence, _noun_first, _bars)
