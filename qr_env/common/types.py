"""The nouns that flow through the shop. Frozen; every field says its shape and unit.

Batch axes are suffixes: `_N` a flat batch, `_P` queries, `_G` rewrites of one query, `_K` products of one list.
Products are named by their **row** in `Shop.products` (int32); -1 is "no product here".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# ESCI relevance levels, worst first: the index is the level (Reddy et al. 2022, "Shopping Queries Dataset").
LEVELS = ("Irrelevant", "Complement", "Substitute", "Exact")
IRRELEVANT, COMPLEMENT, SUBSTITUTE, EXACT = range(4)
# Gain of each level in nDCG, as in the ESCI paper: I 0, C 0.01, S 0.1, E 1.
GAINS = np.array([0.0, 0.01, 0.1, 1.0], dtype=np.float32)

# What a retriever is asked: a text, or several texts with weights ("expand" searches the original, kept heavy,
# together with the rewrite).
WeightedText = tuple[tuple[str, float], ...]
SearchText = str | WeightedText

JsonDict = dict[str, Any]  # a JSON object, such as a state_dict
FloatArray = npt.NDArray[np.float32]
RowArray = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Product:
    """One thing for sale. `row` is its position in the shop; text fields are "" and price is NaN where unknown."""

    row: int
    id: str
    title: str
    description: str = ""
    brand: str = ""
    category: str = ""
    color: str = ""
    price: float = float("nan")
    attributes: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """What a shopper typed. `row` is its position in `Shop.queries` (-1: not of the shop); `frequency` in searches."""

    row: int
    id: str
    text: str
    frequency: float = 1.0
    split: str = "train"


@dataclass(frozen=True, slots=True)
class Hits:
    """What a retriever found: best first, ghosts dropped, short lists padded on the right.

    rows_NK: int32, product rows, -1 is padding. scores_NK: float32, -inf on padding.
    """

    rows_NK: RowArray
    scores_NK: FloatArray

    def __len__(self) -> int:
        return len(self.rows_NK)

    @property
    def found_NK(self) -> npt.NDArray[np.bool_]:
        """True where there is a product."""
        return self.rows_NK >= 0

    def __getitem__(self, index: slice | Sequence[int] | npt.NDArray[np.int_]) -> Hits:
        return Hits(self.rows_NK[index], self.scores_NK[index])


@dataclass(frozen=True, slots=True)
class Grades:
    """A judge's verdicts: probs_NK4 float32, probability of each of `LEVELS`; NaN where the verdict is missing.

    A missing verdict is never zero: it is masked in the reward and counted in `judge/failed_fraction`.
    """

    probs_NK4: FloatArray

    @property
    def gain_NK(self) -> FloatArray:
        """Expected ESCI gain in [0, 1]; NaN where the verdict is missing."""
        return self.probs_NK4 @ GAINS

    @property
    def relevance_NK(self) -> FloatArray:
        """Probability that the product is Exact or Substitute, in [0, 1]: BEQUE's f(x, z)."""
        return self.probs_NK4[..., SUBSTITUTE] + self.probs_NK4[..., EXACT]


@dataclass(frozen=True, slots=True)
class RewardTerms:
    """One step's reward, term by term. Every value has shape (N,), float32; NaN where a verdict was missing.

    `total` is the reward that the policy is paid; `terms` are its parts by name, already weighted, so that
    `total = sum(terms.values())`.
    """

    total: FloatArray
    terms: dict[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Engagement:
    """What a shopper does with N result lists of K products: probabilities in [0, 1], float32.

    examine_NK, click_NK, cart_NK, purchase_NK: chance that the product is looked at, clicked, put into the cart,
    bought; click ≥ cart ≥ purchase. NaN where unknown (a missing grade, a failed answer), never 0, and on padding.
    some_N3: chance of at least one click, one cart and one purchase in the list (the last is conversion); 0 for an
    empty list, NaN where unknown.
    """

    examine_NK: FloatArray
    click_NK: FloatArray
    cart_NK: FloatArray
    purchase_NK: FloatArray
    some_N3: FloatArray

    def __getitem__(self, index: slice | npt.NDArray[np.int_]) -> Engagement:
        return Engagement(
            self.examine_NK[index],
            self.click_NK[index],
            self.cart_NK[index],
            self.purchase_NK[index],
            self.some_N3[index],
        )
