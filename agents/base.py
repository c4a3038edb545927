"""The protocol of every rewriter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Agent(Protocol):
    """Rewrites queries. A rewrite equal to its query, or empty, means "keep the original"."""

    name: str

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """`n` rewrites for each of P queries, best first; n = 1 is the deterministic (greedy) rewrite."""
        ...
