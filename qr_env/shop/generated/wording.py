"""How a shopper words a need: the name of the thing, each constraint, the order, and what the merchant would say.

words = Wording(vocabulary, stock.names, random.Random(0))
text, marks = words.shopper(intent, heldout=False)
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

ALTER_RATE = 0.65  # of the constraints of a shopper's query that are said in other words
# How shoppers' queries name the thing: in 25, so many by another name, by what it is for, and as merchants do.
WAYS = ("shopper",) * 18 + ("purposes",) * 5 + ("noun",) * 2
Marks = set[str]

# Where the parts of a query stand; the rarer orders are the later ones.
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
    """Draws from lists so that every card comes equally often: a deck is dealt to its end before it is shuffled."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._left: dict[Hashable, list[str]] = {}

    def deal(self, key: Hashable, cards: Sequence[str]) -> str:
        """The next card of the deck `key`."""
        left = self._left.setdefault(key, [])
        if not left:
            left.extend(cards)
            self._draw.shuffle(left)
        return left.pop()


class Wording:
    """Turns needs into words; a split that has its own hears every word equally often."""

    def __init__(self, vocabulary: Vocabulary, names: Names, draw: random.Random) -> None:
        self._vocabulary = vocabulary
        self._names = names
        self._draw = draw
        self._decks = Decks(draw)
        self._features: list[dict[str, Feature]] = [
            {feature.merchant: feature for feature in one.features} for one in vocabulary.types
        ]

    def oracle(self, intent: Intent) -> str:
        """The merchants' words for the need: constraints, every noun of the type. What is refused is left out."""
        said = self._merchant_parts(intent)
        said["name"] = _without_repeats(" ".join(self._type(intent).noun))
        return _line(said, ("brand", "color", "material", "size", "name", "wants"))

    def merchant(self, intent: Intent) -> str:
        """A well-formed query in the merchants' own words."""
        said = self._merchant_parts(intent)
        said["name"] = self._deal(intent, "noun", self._type(intent).noun)
        return _line(said, self._order())

    def shopper(self, intent: Intent, heldout: bool) -> tuple[str, Marks]:
        """A query in other words, and which slices it belongs to; `heldout` uses the words kept for the test."""
        marks: Marks = set()
        said = self._merchant_parts(intent)
        held = self._held(intent) if heldout else ""
        said["name"] = self._name(intent, held, marks)
        for kind in KINDS:
            if intent.has(kind) and (kind == held or self._draw.random() < ALTER_RATE):
                said[kind] = self._altered(kind, intent, kind == held, said[kind], marks)
        if held:
            marks.add("held-out words")
        order = _PURPOSE_FIRST if "purpose" in marks else self._order()
        return _line(said, order), marks

    def _type(self, intent: Intent) -> TypeWords:
        return self._vocabulary.types[intent.type]

    def _deal(self, intent: Intent, kind: str, cards: Sequence[str]) -> str:
        return self._decks.deal((kind, intent.type), cards)

    def _order(self) -> tuple[str, ...]:
        return self._draw.choices(_ORDERS, _ORDER_WEIGHTS)[0]

    def _merchant_parts(self, intent: Intent) -> dict[str, str]:
        """Each constraint as merchants write it, by kind."""
        names, size = self._names, self._type(intent).size
        said = {}
        if intent.has("color"):
            said["color"] = names.colors[intent.color]
        if intent.has("material"):
            said["material"] = names.materials[intent.material]
        if intent.has("brand"):
            said["brand"] = names.brands[intent.brand].lower()
        if size and intent.has("size"):
            said["size"] = merchant_size(size.unit, intent.size).lower()
        if intent.has("wants"):
            said["wants"] = names.features[intent.wants]
        if intent.has("refuses"):
            said["refuses"] = f"{self._draw.choice(phrases.NEGATIONS)} {names.features[intent.refuses]}"
        return said

    def _held(self, intent: Intent) -> str:
        """Which part of the query takes a held-out word: "shopper", "purpose", "color", "material", or "" for none."""
        one = self._type(intent)
        colors, materials = self._vocabulary.colors, self._vocabulary.materials
        fitting = ["shopper"] * 5 * bool(one.heldout) + ["purpose"] * 2 * bool(one.heldout_purposes)
        if intent.has("color") and colors[self._names.colors[intent.color]].heldout:
            fitting += ["color"] * 3
        if intent.has("material") and materials[self._names.materials[intent.material]].heldout:
            fitting += ["material"] * 4
        return self._draw.choice(fitting) if fitting else ""

    def _name(self, intent: Intent, held: str, marks: Marks) -> str:
        """The thing itself: another word for it, what it is for, or (with the rest said otherwise) its noun."""
        one = self._type(intent)
        if held == "shopper":
            marks.add("synonym")
            return self._deal(intent, "heldout", one.heldout)
        if held == "purpose":
            return self._purpose(intent, "heldout_purposes", one.heldout_purposes, marks)
        way = self._deal(intent, "way", WAYS)
        if way == "noun" and intent.constraints:
            return self._deal(intent, "noun", one.noun)
        if way == "purposes":
            return self._purpose(intent, "purposes", one.purposes, marks)
        marks.add("synonym")
        return self._deal(intent, "shopper", one.shopper)

    def _purpose(self, intent: Intent, kind: str, cards: Sequence[str], marks: Marks) -> str:
        marks.add("purpose")
        opening = self._draw.choice(phrases.PURPOSE_OPENINGS) if self._draw.random() < 0.5 else ""
        return f"{opening} {self._deal(intent, kind, cards)}".strip()

    def _altered(self, kind: str, intent: Intent, held: bool, said: str, marks: Marks) -> str:
        """One constraint in other words; as it is where there are none."""
        if kind in ("color", "material"):
            table = self._vocabulary.colors if kind == "color" else self._vocabulary.materials
            alias = table[said]
            cards = alias.heldout if held else alias.shopper
            if not cards:
                return said
            marks.add("colour/material")
            return self._decks.deal((kind, held, said), cards)
        if kind == "size":
            size = self._type(intent).size
            assert size is not None
            marks.add("unit")
            return self._draw.choice(shopper_sizes(size, intent.size))
        if kind == "brand":
            marks.add("brand misspelt")
            return noise.misspelt(said, self._draw)
        return self._feature(kind, intent, said)

    def _feature(self, kind: str, intent: Intent, said: str) -> str:
        merchant = self._names.features[getattr(intent, kind)]
        feature = self._features[intent.type][merchant]
        if not feature.shopper:
            return said
        words = self._deal(intent, merchant, feature.shopper)
        return words if kind == "wants" else said.replace(merchant, words)


def _line(said: dict[str, str], order: Sequence[str]) -> str:
    return " ".join(said[kind] for kind in order if said.get(kind))


def _without_repeats(text: str) -> str:
    return " ".join(dict.fromkeys(text.split()))
