"""The interfaces between the parts of the project, as `typing.Protocol`: any class with these methods fits.

A suffix such as `_NK` names the axes of an array; the table of the letters is in `qr_env/common/types.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from qr_env.common.types import Engagement, FloatArray, Grades, Hits, Query, RowArray, SearchText


class TextEncoder(Protocol):
    """Maps texts to unit vectors."""

    @property
    def name(self) -> str:
        """Identifies the weights; vectors on disk are keyed by it."""
        ...

    def encode(self, texts: Sequence[str], show_progress: bool = False) -> FloatArray:
        """(N, D) float32 vectors of length 1."""
        ...


class Retriever(Protocol):
    """A search engine over one shop's products."""

    name: str
    """Kind of engine, for logs and reports: "bm25", "dense", "hybrid" or another package's."""

    def search(self, queries: Sequence[SearchText], k: int) -> Hits:
        """The k best products for each of N texts.

        Args:
            queries: N texts, or ((text, weight), …), where a text's terms (bm25) or vector (dense) count by weight > 0.
            k: length of every result list, at least 1; may exceed the number of products.

        Returns:
            Hits of shape (N, k), padded on the right; products that match nothing are left out.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the index to `folder` atomically."""
        ...


class FilteredRetriever(Retriever, Protocol):
    """A retriever that can restrict a search to some products, as a changing assortment needs."""

    def search(self, queries: Sequence[SearchText], k: int, on_sale_C: npt.NDArray[np.bool_] | None = None) -> Hits:
        """`Retriever.search` among the products where on_sale_C, (products,) bool, is True; None searches all."""
        ...


class Judge(Protocol):
    """Grades retrieved products for the shopper's original query: simulated relevance labels."""

    name: str
    """For logs, caches and reports."""

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """Grade product rows_NK[n, k] for queries[n].

        Args:
            queries: N queries as the shopper typed them (never rewrites).
            rows_NK: int32 product rows of the shop that the judge was made for; -1 is padding.

        Returns:
            Grades, probs_NK4: NaN where a verdict is missing, and on padding.
        """
        ...


class Shopper(Protocol):
    """A user model: what a shopper does with a result list.

    `judges/shoppers/model.py` computes it from grades, `judges/shoppers/llm.py` asks a language model.
    """

    name: str
    """For logs and reports."""

    def engage(self, queries: Sequence[Query], rows_NK: RowArray, grades: Grades) -> Engagement:
        """Probabilities of examination, click, cart and purchase for the list rows_NK[n] shown for queries[n].

        Args:
            queries: N queries as typed.
            rows_NK: int32 product rows; -1 is padding.
            grades: a judge's verdicts on the same lists; a shopper may use them, or read the products themselves.
        """
        ...


class Agent(Protocol):
    """A query rewriter. A rewrite that equals its query, or is empty, keeps the original query."""

    name: str
    """For logs and reports."""

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """`n` rewrites for each of P queries, best first; n = 1 is the deterministic (greedy) rewrite."""
        ...


class Stream(Protocol):
    """A source of queries for an environment, resumable."""

    @property
    def taken(self) -> int:
        """Number of queries taken so far; the time axis of drift."""
        ...

    def take(self, n: int) -> list[Query]:
        """The next n queries."""
        ...

    def reseed(self, seed: int) -> None:
        """Restart, as if the stream had been made with this seed."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that determines the queries to come, as JSON values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken; raises IndexMismatchError for another stream's state."""
        ...
