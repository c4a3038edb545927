"""Word an intent as a query: product name, constraints and word order, in merchants' or shoppers' words.

words = Wording(vocabulary, stock.names, random.Random(0))
text, flags = words.shopper(intent, heldout=False)
words.merchant(intent), words.oracle(intent)
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence

from qr_env.shop.generated import noise, phrases
from qr_env.shop.generated.intents import KINDS, Intent
from qr_env.shop.generated.products import Names
from qr_env.shop.generated.sizes import merchant_size, shopper_sizes
from qr_env.shop.generated.vocabulary import Feature, TypeWords, Vocabulary

ALTER_RATE = 0.65  # probability that a constraint of a shopper's query is worded differently
# How shoppers' queries name the product, of 25: by another name, by purpose, by the merchants' noun.
NAMINGS = ("shopper",) * 18 + ("purposes",) * 5 + ("noun",) * 2
Flags = set[str]  # names of the slices that a query belongs to

# Orders of the parts of a query, with their weights below.
_ORDERS = (
    ("brand", "color", "material", "name", "size", "wants", "refuses"),
    ("size", "color", "material", "brand", "name", "wants", "refuses"),
    ("color", "size", "material", "name", "brand", "wants", "refuses"),
    ("name", "size", "material", "color", "brand", "wants", "refuses"),
    ("wants", "name", "color", "brand", "size", "material", "refuses"),
    ("name", "wants", "refuses", "brand", "material", "color", "size"),
)
_PURPOSE_FIRST = ("name", "size", "material", "color", "wants", "brand", "refuses")
_ORDER_WEIGHTS = (30, 20, 20, 16, 7, 7)


class Decks:
    """Draws from lists without replacement, so that all items are equally frequent; an empty list is refilled."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._left: dict[Hashable, list[str]] = {}

    def deal(self, key: Hashable, cards: Sequence[str]) -> str:
        """The next item of the list `key`."""
        left = self._left.setdefault(key, [])
        if not left:
            left.extend(cards)
            self._draw.shuffle(left)
        return left.pop()


class Wording:
    """Turns intents into query texts; with one instance per split, all words are equally frequent in each split."""

    def __init__(self, vocabulary: Vocabulary, names: Names, draw: random.Random) -> None:
        self._vocabulary = vocabulary
        self._names = names
        self._draw = draw
        self._decks = Decks(draw)
        self._features: list[dict[str, Feature]] = [
            {feature.merchant: feature for feature in one.features} for one in vocabulary.types
        ]

    def oracle(self, intent: Intent) -> str:
        """The oracle rewrite: constraints in merchants' words and every noun of the type, no refused feature."""
        parts = self._merchant_parts(intent)
        parts["name"] = _without_repeats(" ".join(self._type(intent).noun))
        return _line(parts, ("brand", "color", "material", "size", "name", "wants"))

    def merchant(self, intent: Intent) -> str:
        """A well-formed query in the merchants' own words."""
        parts = self._merchant_parts(intent)
        parts["name"] = self._deal(intent, "noun", self._type(intent).noun)
        return _line(parts, self._order())

    def shopper(self, intent: Intent, heldout: bool) -> tuple[str, Flags]:
        """A query in shoppers' words, and its slices; `heldout` uses a held-out word."""
        flags: Flags = set()
        parts = self._merchant_parts(intent)
        held = self._held(intent) if heldout else ""
        parts["name"] = self._name(intent, held, flags)
        for kind in KINDS:
            if intent.has(kind) and (kind == held or self._draw.random() < ALTER_RATE):
                parts[kind] = self._altered(kind, intent, kind == held, parts[kind], flags)
        if held:
            flags.add("held-out words")
        order = _PURPOSE_FIRST if "purpose" in flags else self._order()
        return _line(parts, order), flags

    def _type(self, intent: Intent) -> TypeWords:
        return self._vocabulary.types[intent.type]

    def _deal(self, intent: Intent, kind: str, cards: Sequence[str]) -> str:
        return self._decks.deal((kind, intent.type), cards)

    def _order(self) -> tuple[str, ...]:
        return self._draw.choices(_ORDERS, _ORDER_WEIGHTS)[0]

    def _merchant_parts(self, intent: Intent) -> dict[str, str]:
        """Kind → constraint in the merchants' words."""
        names, size = self._names, self._type(intent).size
        parts = {}
        if intent.has("color"):
            parts["color"] = names.colors[intent.color]
        if intent.has("material"):
            parts["material"] = names.materials[intent.material]
        if intent.has("brand"):
            parts["brand"] = names.brands[intent.brand].lower()
        if size and intent.has("size"):
            parts["size"] = merchant_size(size.unit, intent.size).lower()
        if intent.has("wants"):
            parts["wants"] = names.features[intent.wants]
        if intent.has("refuses"):
            parts["refuses"] = f"{self._draw.choice(phrases.NEGATIONS)} {names.features[intent.refuses]}"
        return parts

    def _held(self, intent: Intent) -> str:
        """The part that gets a held-out word: "shopper", "purpose", "color", "material", or "" for none."""
        one = self._type(intent)
        colors, materials = self._vocabulary.colors, self._vocabulary.materials
        fitting = ["shopper"] * 5 * bool(one.heldout) + ["purpose"] * 2 * bool(one.heldout_purposes)
        if intent.has("color") and colors[self._names.colors[intent.color]].heldout:
            fitting += ["color"] * 3
        if intent.has("material") and materials[self._names.materials[intent.material]].heldout:
            fitting += ["material"] * 4
        return self._draw.choice(fitting) if fitting else ""

    def _name(self, intent: Intent, held: str, flags: Flags) -> str:
        """The name of the product: a shopper's name, a purpose, or (if there are constraints) the merchants' noun."""
        one = self._type(intent)
        if held == "shopper":
            flags.add("synonym")
            return self._deal(intent, "heldout", one.heldout)
        if held == "purpose":
            return self._purpose(intent, "heldout_purposes", one.heldout_purposes, flags)
        way = self._deal(intent, "way", NAMINGS)
        if way == "noun" and intent.constraints:
            return self._deal(intent, "noun", one.noun)
        if way == "purposes":
            return self._purpose(intent, "purposes", one.purposes, flags)
        flags.add("synonym")
        return self._deal(intent, "shopper", one.shopper)

    def _purpose(self, intent: Intent, kind: str, cards: Sequence[str], flags: Flags) -> str:
        flags.add("purpose")
        opening = self._draw.choice(phrases.PURPOSE_OPENINGS) if self._draw.random() < 0.5 else ""
        return f"{opening} {self._deal(intent, kind, cards)}".strip()

    def _altered(self, kind: str, intent: Intent, held: bool, text: str, flags: Flags) -> str:
        """One constraint in other words; unchanged where there are none."""
        if kind in ("color", "material"):
            table = self._vocabulary.colors if kind == "color" else self._vocabulary.materials
            alias = table[text]
            cards = alias.heldout if held else alias.shopper
            if not cards:
                return text
            flags.add("colour/material")
            return self._decks.deal((kind, held, text), cards)
        if kind == "size":
            size = self._type(intent).size
            assert size is not None
            flags.add("unit")
            return self._draw.choice(shopper_sizes(size, intent.size))
        if kind == "brand":
            flags.add("brand misspelt")
            return noise.misspelt(text, self._draw)
        return self._feature(kind, intent, text)

    def _feature(self, kind: str, intent: Intent, text: str) -> str:
        merchant = self._names.features[getattr(intent, kind)]
        feature = self._features[intent.type][merchant]
        if not feature.shopper:
            return text
        words = self._deal(intent, merchant, feature.shopper)
        return words if kind == "wants" else text.replace(merchant, words)


def _line(parts: dict[str, str], order: Sequence[str]) -> str:
    return " ".join(parts[kind] for kind in order if parts.get(kind))


def _without_repeats(text: str) -> str:
    return " ".join(dict.fromkeys(text.split()))
