"""What shoppers want: queries of a shop by frequency, and other queries for the same need."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError
from qr_env.common.types import EXACT, Query
from qr_env.shop.shop import Shop

Ints = npt.NDArray[np.int64]


class Needs:
    """Queries that shoppers type. Two queries are of one need where the same products are Exact for both.

    Args:
        shop: its labels tell needs; without labels every query is a need of its own.
        queries: those that are typed.
        flatten: `SessionSettings.zipf`.

    Raises:
        ConfigError: there is no query.
    """

    def __init__(self, shop: Shop, queries: Sequence[Query], flatten: float = 0.0) -> None:
        if not queries:
            raise ConfigError(f"{shop!r} has no query that shoppers could type in this split")
        self.queries = list(queries)
        frequency_P = np.array([query.frequency for query in queries], np.float64) ** (1 - flatten)
        self._cumulative_P = np.cumsum(frequency_P / frequency_P.sum())
        groups: dict[object, list[int]] = {}
        for at, query in enumerate(queries):
            groups.setdefault(_exact_products(shop, query) or ("alone", at), []).append(at)
        self._same = [np.array(groups_of, np.int64) for groups_of in _group_of_each(groups, len(self.queries))]

    def draw(self, uniform_N: npt.NDArray[np.float64]) -> Ints:
        """Positions in `queries` by frequency, from uniform numbers."""
        found_N: Ints = np.searchsorted(self._cumulative_P, uniform_N, side="right")
        return np.minimum(found_N, len(self.queries) - 1)

    def other_words(self, at_N: Ints, uniform_N: npt.NDArray[np.float64]) -> Ints:
        """Another query for the need of each, −1 where the shop has none."""
        return np.array(
            [
                _pick(self._same[at][self._same[at] != at], uniform)
                for at, uniform in zip(at_N.tolist(), uniform_N.tolist(), strict=True)
            ],
            np.int64,
        )


def _exact_products(shop: Shop, query: Query) -> tuple[int, ...]:
    """Rows of the products that are Exact for the query; () where no label says so."""
    if query.row < 0:
        return ()
    row = shop.qrels[query.row]
    return tuple(row.indices[row.data == EXACT + 1].tolist())


def _group_of_each(groups: dict[object, list[int]], size: int) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(size)]
    for group in groups.values():
        for at in group:
            found[at] = group
    return found


def _pick(choices: Ints, uniform: float) -> int:
    return int(choices[int(uniform * len(choices))]) if len(choices) else -1
