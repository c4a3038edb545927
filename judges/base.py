"""The protocols of judges: grade retrieved products for the shopper's ORIGINAL query, in batch.

Two kinds. A `Judge` grades rows of a shop and is what environments and evaluations ask. A `PairJudge` reads texts: it
knows no shop, its verdict depends on nothing but the two texts, and so it can be kept in a store
(`judges/verdict_store/store.py`). `judges.verdict_store.stored.ShopJudge(shop, pair_judge, store)` makes a `Judge` of a `PairJudge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from qr_env.common.types import FloatArray, Grades, Query, RowArray
from qr_env.shop.shop import Shop


class Judge(Protocol):
    """Simulated human feedback on products. `name` goes into logs, caches and reports."""

    name: str

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """Grade product rows_NK[n, k] for queries[n].

        Args:
            queries: N queries as the shopper typed them (never rewrites).
            rows_NK: int32 product rows of the shop that the judge was made for; -1 is padding.

        Returns:
            Grades, probs_NK4: NaN where a verdict is missing, and on padding.
        """
        ...


class PairJudge(Protocol):
    """A judge of texts. `fingerprint` names everything a verdict depends on besides the texts: judge, model, revision
    of its weights, prompt version, options. Two judges with one fingerprint share verdicts in a store."""

    name: str

    @property
    def fingerprint(self) -> str:
        """Key of its verdicts in a store."""
        ...

    def product_texts(self, shop: Shop) -> list[str]:
        """What the judge reads of each of the shop's products, by row."""
        ...

    def grade_pairs(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """(M, 4) float32 probabilities over `LEVELS` of M distinct (query text, product text) pairs, NaN where missing.

        Pairs of one query come together, so that a shared prompt prefix is computed once. Raises JudgeError only when
        the judge cannot be used at all; a single failure is a missing verdict, counted in `stats`.
        """
        ...

    def stats(self) -> dict[str, float]:
        """Counts since it was made, by name, for logs: asked, missing, missing/<reason>, tokens, seconds, cost …"""
        ...
