"""What shoppers want: a type and up to three constraints that at least a few products meet.

intents = Intents(vocabulary, stock, random.Random(0))
intents.draw(number, kinds=("color", "size"))    # of type `number`
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qr_env.shops.world_products import Stock
from qr_env.shops.world_vocabulary import Vocabulary

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
        self._features = [
            [stock.names.features.index(feature.merchant) for feature in one.features] for one in vocabulary.types
        ]

    def draw(self, number: int, kinds: tuple[str, ...]) -> Intent:
        """A need for type `number` with the given kinds of constraint, as one product of the type meets them.

        Kinds that the product does not have are left out, then the last ones until `MIN_EXACT` products fit.
        """
        rows = self._stock.rows_of_type[number]
        model = int(rows[self._draw.randrange(len(rows))])
        intent, fits = Intent(number), np.ones(len(rows), np.bool_)
        for kind in kinds:
            value = self._value(kind, number, model)
            if value is None:
                continue
            narrower = fits & self._meets(kind, value, rows)
            if narrower.sum() >= MIN_EXACT:
                intent, fits = replace(intent, **{kind: value}), narrower
        return intent

    def _value(self, kind: str, number: int, row: int) -> float | int | None:
        """What the product at `row` is in this respect; None where there is nothing to ask for."""
        stock = self._stock
        if kind in ("wants", "refuses"):
            has = stock.features_NF[row]
            features = [one for one in self._features[number] if has[one] == (kind == "wants")]
            return self._draw.choice(features) if features else None
        if kind == "size":
            value = float(stock.size_N[row])
            return value if value == value else None
        ids = {"color": stock.color_N, "material": stock.material_N, "brand": stock.brand_N}[kind]
        return int(ids[row]) if ids[row] >= 0 else None

    def _meets(self, kind: str, value: float, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        stock = self._stock
        if kind in ("wants", "refuses"):
            return stock.features_NF[rows, int(value)] == (kind == "wants")
        columns = {"color": stock.color_N, "material": stock.material_N, "brand": stock.brand_N, "size": stock.size_N}
        met: npt.NDArray[np.bool_] = columns[kind][rows] == value
        return met
