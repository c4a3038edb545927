"""How many of a query's first results hold all its words: where many do, the query needs no further words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from qr_env.common.types import Hits
from qr_env.query_text.repair import Repair
from qr_env.shop.shop import Shop

CACHE_SIZE = 1 << 17  # titles whose stems stay in memory

Stems = frozenset[str]


class FullMatches:
    """Counts the products whose title holds every word of a query, as typed or as repaired, by stem."""

    def __init__(self, shop: Shop, repair: Repair) -> None:
        self._titles, self._repair, self._tokenizer = shop.titles, repair, shop.tokenizer
        self._title_stems = lru_cache(CACHE_SIZE)(self._stems_of_row)

    def count(self, queries: Sequence[str], hits: Hits) -> npt.NDArray[np.int64]:
        """(P,) number of products of each of P result lists that hold every word of their query.

        A query without a word has no such product.
        """
        lists = zip(queries, hits.rows_NK.tolist(), strict=True)
        return np.array([self._count(query, rows_K) for query, rows_K in lists], np.int64)

    def _count(self, query: str, rows_K: list[int]) -> int:
        units = self._needed(query)
        return sum(_holds(self._title_stems(row), units) for row in rows_K if row >= 0) if units else 0

    def _needed(self, query: str) -> list[tuple[Stems, Stems]]:
        """For each unit of the query its typed and its repaired stems; units of stop words alone are left out."""
        units = [
            (self._terms(unit.typed), self._terms(unit.repaired or unit.typed)) for unit in self._repair.units(query)
        ]
        return [unit for unit in units if any(unit)]

    def _stems_of_row(self, row: int) -> Stems:
        return frozenset(self._tokenizer.terms(self._titles[row]))

    def _terms(self, words: Sequence[str]) -> Stems:
        return frozenset(term for word in words for term in self._tokenizer.terms_of(word))


def _holds(title: Stems, units: list[tuple[Stems, Stems]]) -> bool:
    return all(typed <= title or repaired <= title for typed, repaired in units)
