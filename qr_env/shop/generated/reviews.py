"""Review snippets in the product attributes: shoppers' words, mostly about other product types.

    reviews = Reviews(vocabulary, random.Random(0))
    reviews.about(number)       # "couch, charcoal, living room"

As in a real catalogue, shoppers' words occur in it, but on the wrong products: without reviews nearly every synonym
would be unknown to the index, and the engine would have no false matches for it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from qr_env.shop.generated import phrases
from qr_env.shop.generated.sizes import shopper_sizes
from qr_env.shop.generated.vocabulary import TypeWords, Vocabulary

Card = tuple[int, str]  # number of the type that a phrase is about, the phrase


class Reviews:
    """Distributes the shoppers' phrases of each department over products of its other types."""

    def __init__(self, vocabulary: Vocabulary, draw: random.Random) -> None:
        self._draw = draw
        self._department = [one.department for one in vocabulary.types]
        self._tables = (vocabulary.colors, vocabulary.materials)
        self._aliases = [name for table in self._tables for alias in table.values() for name in alias.shopper]
        self._cards: dict[tuple[str, str], list[Card]] = {}
        self._left: dict[tuple[str, str], list[Card]] = {}
        for number, one in enumerate(vocabulary.types):
            for kind, texts in _phrases(one).items():
                self._cards.setdefault((one.department, kind), []).extend((number, phrase) for phrase in texts)

    def about(self, number: int) -> str:
        """A review snippet for a product of type `number`, mostly with phrases about other types."""
        draw = self._draw
        parts = [self._part(self._deal(number, "name"))]
        if draw.random() < 0.4:
            parts.append(draw.choice(self._aliases))
        kind = draw.choices(("purpose", "feature", "size", "generic"), (3, 4, 3, 1))[0]
        if kind == "generic":
            parts.append(draw.choice(phrases.REVIEWS))
        elif kind == "size":
            parts.append(self._deal(number, kind))
        else:
            parts.append(self._part(self._deal(number, kind)))
        draw.shuffle(parts)
        return ", ".join(part for part in parts if part)

    def _part(self, phrase: str) -> str:
        """One or two neighbouring words of a phrase."""
        words = phrase.split()
        length = self._draw.choice((1, 2))
        at = self._draw.randrange(max(1, len(words) - length + 1))
        return " ".join(words[at : at + length])

    def _deal(self, number: int, kind: str) -> str:
        """The next phrase of this kind from the department, about another type if possible."""
        key = (self._department[number], kind)
        cards = self._cards.get(key)
        if not cards:
            return ""
        for _ in range(3):
            left = self._left.setdefault(key, [])
            if not left:
                left.extend(cards)
                self._draw.shuffle(left)
            if left[-1][0] != number:
                return left.pop()[1]
            left.insert(self._draw.randrange(len(left)), left.pop())
        return self._draw.choice(cards)[1]


def _phrases(one: TypeWords) -> dict[str, Sequence[str]]:
    """The shoppers' phrases about a type, by kind."""
    sizes = [text for value in one.size.values for text in shopper_sizes(one.size, value)] if one.size else []
    return {
        "name": one.shopper,
        "purpose": one.purposes,
        "feature": [phrase for feature in one.features for phrase in feature.shopper],
        "size": sizes,
    }
