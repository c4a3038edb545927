"""What customers mention, as shops print it under a product: shoppers' words, mostly about other things.

    reviews = Reviews(vocabulary, random.Random(0))
    reviews.about(number)       # "couch, charcoal, living room"

A real catalogue holds the words of its shoppers, but in the wrong places. So does this one: without reviews nearly
every other word for a thing would be unknown to the index, and an engine would never be led astray by it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from qr_env.shop.generated import phrases
from qr_env.shop.generated.sizes import shopper_sizes
from qr_env.shop.generated.vocabulary import TypeWords, Vocabulary

Card = tuple[int, str]  # number of the type that a phrase is about, the phrase


class Reviews:
    """Deals the shoppers' phrases of each department over the products of its other types."""

    def __init__(self, vocabulary: Vocabulary, draw: random.Random) -> None:
        self._draw = draw
        self._department = [one.department for one in vocabulary.types]
        self._tables = (vocabulary.colors, vocabulary.materials)
        self._aliases = [name for table in self._tables for alias in table.values() for name in alias.shopper]
        self._cards: dict[tuple[str, str], list[Card]] = {}
        self._left: dict[tuple[str, str], list[Card]] = {}
        for number, one in enumerate(vocabulary.types):
            for kind, said in _phrases(one).items():
                self._cards.setdefault((one.department, kind), []).extend((number, phrase) for phrase in said)

    def about(self, number: int) -> str:
        """What customers mention about a product of type `number`, in words that are seldom about it."""
        draw = self._draw
        said = [self._part(self._deal(number, "name"))]
        if draw.random() < 0.4:
            said.append(draw.choice(self._aliases))
        kind = draw.choices(("purpose", "feature", "size", "generic"), (3, 4, 3, 1))[0]
        if kind == "generic":
            said.append(draw.choice(phrases.REVIEWS))
        elif kind == "size":
            said.append(self._deal(number, kind))
        else:
            said.append(self._part(self._deal(number, kind)))
        draw.shuffle(said)
        return ", ".join(part for part in said if part)

    def _part(self, phrase: str) -> str:
        """One or two neighbouring words of a phrase: no two customers say the same sentence."""
        words = phrase.split()
        length = self._draw.choice((1, 2))
        at = self._draw.randrange(max(1, len(words) - length + 1))
        return " ".join(words[at : at + length])

    def _deal(self, number: int, kind: str) -> str:
        """The next phrase of this kind from the department, about another type where there is one."""
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
    sizes = [said for value in one.size.values for said in shopper_sizes(one.size, value)] if one.size else []
    return {
        "name": one.shopper,
        "purpose": one.purposes,
        "feature": [phrase for feature in one.features for phrase in feature.shopper],
        "size": sizes,
    }
