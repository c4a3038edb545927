"""The protocol of every judge: grade retrieved products for the shopper's ORIGINAL query, in batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from qr_env.types import Grades, Query, RowArray


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
