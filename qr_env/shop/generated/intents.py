"""What shoppers want: a type and up to three constraints that at least a few products meet.

intents = Intents(vocabulary, stock, random.Random(0))
intents.draw(number, kinds=("color", "size"))    # of type `number`
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qr_env.shop.generated.products import Stock
from qr_env.shop.generated.vocabulary import Vocabulary

MIN_EXACT = 3
KINDS = ("color", "material", "size", "brand", "wants", "refuses")


@dataclass(frozen=True, slots=True)
class Intent:
    """A need: ids as in `Stock`, -1 or NaN where the shopper does not care."""

    type: int
    color: int = -1
    material: int = -1
    size: float = float("nan")
    brand: int = -1
    wants: int = -1
    refuses: int = -1

    def has(self, kind: str) -> bool:
        """Whether the need says anything about a kind of constraint, one of `KINDS`."""
        value = getattr(self, kind)
        return value == value and value != -1

    @property
    def constraints(self) -> int:
        """How many constraints there are."""
        return sum(map(self.has, KINDS))


class Intents:
    """Draws needs from what is really on sale."""

    def __init__(self, vocabulary: Vocabulary, stock: Stock, draw: random.Random) -> None:
        self._stock = stock
        self._draw = draw
        self._masks: dict[tuple[str, float, int], npt.NDArray[np.bool_]] = {}
        self._features = [
            [stock.names.features.index(feature.merchant) for feature in one.features] for one in vocabulary.types
        ]

    def draw(self, number: int, kinds: tuple[str, ...]) -> Intent:
        """A need for type `number` with the given kinds of constraint, as one product of the type meets them.

        Kinds that the product does not have are left out, and so is what would leave fewer than `MIN_EXACT` products.
        """
        rows = self._stock.rows_of_type[number]
        model = int(rows[self._draw.randrange(len(rows))])
        said: dict[str, Any] = {}
        fits = np.ones(len(rows), np.bool_)
        for kind in kinds:
            value = self._value(kind, number, model)
            if value is None:
                continue
            narrower = fits & self._meets(kind, value, number)
            if np.count_nonzero(narrower) >= MIN_EXACT:
                said[kind], fits = value, narrower
        return Intent(number, **said)

    def _value(self, kind: str, number: int, row: int) -> float | int | None:
        """What the product at `row` is in this respect; None where there is nothing to ask for."""
        stock = self._stock
        if kind in ("wants", "refuses"):
            has = stock.features_NF[row]
            features = [one for one in self._features[number] if has[one] == (kind == "wants")]
            return self._draw.choice(features) if features else None
        if kind == "size":
            size = float(stock.size_N[row])
            return size if size == size else None
        value = int(getattr(stock, f"{kind}_N")[row])
        return value if value >= 0 else None

    def _meets(self, kind: str, value: float, number: int) -> npt.NDArray[np.bool_]:
        """Which of the type's products meet one constraint."""
        mask = self._masks.get((kind, value, number))
        if mask is None:
            stock, rows = self._stock, self._stock.rows_of_type[number]
            if kind in ("wants", "refuses"):
                mask = stock.features_NF[rows, int(value)] == (kind == "wants")
            else:
                mask = getattr(stock, f"{kind}_N")[rows] == value
            self._masks[kind, value, number] = mask
        return mask
