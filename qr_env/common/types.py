"""The value types shared by all packages: frozen, with shape and unit of every field.

A suffix names the axes of an array, one letter an axis: `rows_NK` is (N, K). Each letter has one meaning everywhere:

    N  a flat batch of what has no letter of its own: searches, lists, pairs, generated sequences
    P  distinct queries, or searches of one query each
    G  rewrites of one query: one GRPO group
    K  products of one result list, best first
    C  all products of the catalogue
    T  tokens or words of one text, in order, padded; Tp, tokens of its prompt
    D  width of an embedding or hidden state
    M  a subset or a pool taken out of larger axes: graded pairs, sampled tokens, candidates before the best K
    U  distinct values of a larger axis
    L  positions of one packed token sequence
    V  vocabulary: token ids, or words
    F  named columns: figures, features, departments
    B  bins, or points of a grid
    J  judges of an ensemble
    R  repeats of one measurement: bootstrap resamples, seeds, simulated shoppers
    S  slots of a cache

A digit is a fixed size: `probs_NK4` holds the probabilities of the four levels. In a batch of G rewrites of each of P
queries, N = P · G.

Products are identified by their **row** in `Shop.products` (int32); -1 is padding.
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

# Input of a retriever: a text, or several texts with weights (mode "expand" searches the original query, with a high
# weight, together with the rewrite).
WeightedText = tuple[tuple[str, float], ...]
SearchText = str | WeightedText

JsonDict = dict[str, Any]  # a JSON object, such as a state_dict
FloatArray = npt.NDArray[np.float32]
RowArray = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Product:
    """One product. Text fields are "" and the price is NaN where unknown."""

    row: int
    """Row in `Shop.products`."""
    id: str
    """Product id of the catalogue."""
    title: str
    """Title as displayed."""
    description: str = ""
    """Long text."""
    brand: str = ""
    """Brand name."""
    category: str = ""
    """Category, possibly a path with separators."""
    color: str = ""
    """Colour name."""
    price: float = float("nan")
    """Price in the shop's currency."""
    attributes: str = ""
    """Further properties, "name: value | name: value"."""


@dataclass(frozen=True, slots=True)
class Query:
    """A search query."""

    row: int
    """Row in `Shop.queries`; -1 for a text that is not a query of the shop."""
    id: str
    """Query id of the shop."""
    text: str
    """The text that the shopper typed."""
    frequency: float = 1.0
    """Number of searches."""
    split: str = "train"
    """"train", "dev" or "test"."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Result lists of N searches: best product first, short lists padded on the right."""

    rows_NK: RowArray
    """(N, K) int32 product rows; -1 is padding."""
    scores_NK: FloatArray
    """(N, K) float32 retrieval scores; -inf on padding."""

    def __len__(self) -> int:
        return len(self.rows_NK)

    @property
    def found_NK(self) -> npt.NDArray[np.bool_]:
        """(N, K) True where there is a product, False on padding."""
        return self.rows_NK >= 0

    def __getitem__(self, index: slice | Sequence[int] | npt.NDArray[np.int_]) -> Hits:
        return Hits(self.rows_NK[index], self.scores_NK[index])


@dataclass(frozen=True, slots=True)
class Grades:
    """A judge's verdicts on N lists of K products.

    A missing verdict is NaN, never 0: it is masked in the reward and counted in `judge/failed_fraction`.
    """

    probs_NK4: FloatArray
    """(N, K, 4) float32 probability of each of `LEVELS`; NaN where the verdict is missing."""

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
    """The reward of one step and its terms; NaN where a verdict was missing. `total = sum(terms.values())`."""

    total: FloatArray
    """(N,) float32 reward of the policy."""
    terms: dict[str, FloatArray]
    """Name → (N,) float32 weighted term."""


@dataclass(frozen=True, slots=True)
class Engagement:
    """A shopper's behaviour on N result lists of K products: float32 probabilities in [0, 1], click ≥ cart ≥ purchase.

    NaN on padding, and where unknown (a missing grade, a failed answer), never 0.
    """

    examine_NK: FloatArray
    """(N, K) probability that the product is examined."""
    click_NK: FloatArray
    """(N, K) probability of a click."""
    cart_NK: FloatArray
    """(N, K) probability that the product is put into the cart."""
    purchase_NK: FloatArray
    """(N, K) probability of a purchase."""
    some_N3: FloatArray
    """(N, 3) probability of at least one click, cart and purchase (conversion) in the list; 0 for an empty list."""

    def __getitem__(self, index: slice | npt.NDArray[np.int_]) -> Engagement:
        return Engagement(
            self.examine_NK[index],
            self.click_NK[index],
            self.cart_NK[index],
            self.purchase_NK[index],
            self.some_N3[index],
        )
