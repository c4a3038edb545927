"""Shoppers' intents: a product type and up to three constraints that at least three products meet.

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
    """The information need behind a query; -1 or NaN where it is unconstrained. Ids are those of `Names`."""

    type: int
    """Number of the wanted product type."""
    color: int = -1
    """Wanted colour id."""
    material: int = -1
    """Wanted material id."""
    size: float = float("nan")
    """Wanted size, in the unit of the type."""
    brand: int = -1
    """Wanted brand id."""
    wants: int = -1
    """Id of a feature that the product must have."""
    refuses: int = -1
    """Id of a feature that the product must not have."""

    def has(self, kind: str) -> bool:
        """Whether there is a constraint of this kind, one of `KINDS`."""
        value = getattr(self, kind)
        return value == value and value != -1

    @property
    def constraints(self) -> int:
        """Number of constraints."""
        return sum(map(self.has, KINDS))


class Intents:
    """Draws intents that products of the shop meet."""

    def __init__(self, vocabulary: Vocabulary, stock: Stock, draw: random.Random) -> None:
        self._stock = stock
        self._draw = draw
        self._masks: dict[tuple[str, float, int], npt.NDArray[np.bool_]] = {}
        self._features = [
            [stock.names.features.index(feature.merchant) for feature in one.features] for one in vocabulary.types
        ]

    def draw(self, number: int, kinds: tuple[str, ...]) -> Intent:
        """An intent for type `number` with constraints of the given kinds, taken from one random product of the type.

        Left out: kinds that the product does not have, and constraints that leave fewer than `MIN_EXACT` products.
        """
        rows = self._stock.rows_of_type[number]
        example = int(rows[self._draw.randrange(len(rows))])
        constraints: dict[str, Any] = {}
        fits = np.ones(len(rows), np.bool_)
        for kind in kinds:
            value = self._value(kind, number, example)
            if value is None:
                continue
            remaining = fits & self._meets(kind, value, number)
            if np.count_nonzero(remaining) >= MIN_EXACT:
                constraints[kind], fits = value, remaining
        return Intent(number, **constraints)

    def _value(self, kind: str, number: int, row: int) -> float | int | None:
        """The constraint of this kind that the product at `row` meets; None if there is none."""
        stock = self._stock
        if kind in ("wants", "refuses"):
            has = stock.features_CF[row]
            features = [one for one in self._features[number] if has[one] == (kind == "wants")]
            return self._draw.choice(features) if features else None
        if kind == "size":
            size = float(stock.size_C[row])
            return size if size == size else None
        value = int(getattr(stock, f"{kind}_C")[row])
        return value if value >= 0 else None

    def _meets(self, kind: str, value: float, number: int) -> npt.NDArray[np.bool_]:
        """Mask over the type's products that meet one constraint; cached."""
        mask = self._masks.get((kind, value, number))
        if mask is None:
            stock, rows = self._stock, self._stock.rows_of_type[number]
            if kind in ("wants", "refuses"):
                mask = stock.features_CF[rows, int(value)] == (kind == "wants")
            else:
                mask = getattr(stock, f"{kind}_C")[rows] == value
            self._masks[kind, value, number] = mask
        return mask
