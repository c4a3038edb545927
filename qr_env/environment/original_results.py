"""Cache of the original queries' results: their hits, the hits' grades, and products bought for them outside search.

    cache = OriginalResultsCache(shop, k=10, capacity=16_384)
    slots_P = cache.slots(queries)              # -1 where a query must first be searched and graded
    cache.add(fresh, hits, grades)              # from the one retrieval and judge call of the step
    cache.hits(slots_P), cache.grades(slots_P), cache.bought(slots_P)

Popular queries come back often, so the last `capacity` distinct queries are kept in arrays that a batch indexes by slot
(axis S). An entry with a missing verdict serves one step only: at its next use the query is graded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError
from qr_env.common.types import EXACT, LEVELS, Grades, Hits, Query, RowArray
from qr_env.reward.feedback import Bought
from qr_env.shop.shop import Shop

MAX_BOUGHT = 10  # products bought outside search that count in a query's hitrate: the first ten
CONTEXT_TITLES = 5
QUERY_CHARS, TITLE_CHARS = 512, 160
CONTEXT_CHARS = CONTEXT_TITLES * (TITLE_CHARS + 3)
Slots = npt.NDArray[np.int64]


class OriginalResultsCache:
    """The last `capacity` distinct queries with their results; the least recently used is evicted.

    Args:
        shop: whose queries these are; for a free text (`Query.row` -1) nothing was bought.
        k: products a list.
        capacity: number of queries, at least four times those of one batch.
    """

    def __init__(self, shop: Shop, k: int, capacity: int) -> None:
        # Cleaned once: the observation of every step is built from them.
        self._titles = [clean(title, TITLE_CHARS) for title in shop.titles]
        self.bought_PM = bought_outside(shop)
        self._slot: dict[tuple[int, str], int] = {}  # in order of last use
        self._incomplete: set[tuple[int, str]] = set()  # searched and graded again before the next use
        self._on_sale_C: npt.NDArray[np.bool_] | None = None
        self.queries: list[Query] = [Query(-1, "", "")] * capacity
        self.text: list[str] = [""] * capacity  # the query as the observation shows it
        self.context: list[str] = [""] * capacity  # the titles of its hits
        width = self.bought_PM.shape[1]
        self._rows_SK = np.full((capacity, k), -1, np.int32)
        self._scores_SK = np.full((capacity, k), -np.inf, np.float32)
        self._probs_SK4 = np.full((capacity, k, len(LEVELS)), np.nan, np.float32)
        self._bought_SM = np.full((capacity, width), -1, np.int32)
        self._bought_relevance_SM = np.full((capacity, width), np.nan, np.float32)

    def slots(self, queries: Iterable[Query]) -> list[int]:
        """Slot of each query, -1 where it is not cached; marks the cached ones as used."""
        return [self._use((query.row, query.text)) for query in queries]

    def _use(self, key: tuple[int, str]) -> int:
        """Slot of a query, now the most recently used one; -1 where it is missing or has a missing verdict."""
        slot = self._slot.pop(key, -1)
        if slot >= 0:
            self._slot[key] = slot
        return -1 if key in self._incomplete else slot

    def expire(self, on_sale_C: npt.NDArray[np.bool_]) -> None:
        """The assortment changed: every entry is searched and graded again before its next use.

        Args:
            on_sale_C: (products,) bool; products bought outside search count only where it is True.
        """
        self._incomplete.update(self._slot)
        self._on_sale_C = on_sale_C

    def missing(self, queries: Sequence[Query]) -> list[Query]:
        """The distinct queries among these that must be searched and graded."""
        slots = self.slots(queries)
        return list({(q.row, q.text): q for q, slot in zip(queries, slots, strict=True) if slot < 0}.values())

    def rows_to_grade(self, queries: Sequence[Query], hits: Hits) -> RowArray:
        """(N, k + M) product rows: the queries' hits, then the products bought for them outside search."""
        return np.concatenate([hits.rows_NK, self._bought_rows(queries)], axis=1)

    def add(self, queries: Sequence[Query], hits: Hits, grades: Grades) -> None:
        """Cache N distinct queries; `grades` are of `rows_to_grade`, (N, k + M, 4)."""
        if not queries:
            return
        k = self._rows_SK.shape[1]
        slots_N = np.array([self._assign_slot(query) for query in queries])
        self._rows_SK[slots_N], self._scores_SK[slots_N] = hits.rows_NK, hits.scores_NK
        self._probs_SK4[slots_N] = grades.probs_NK4[:, :k]
        bought_NM = self._bought_SM[slots_N] = self._bought_rows(queries)
        self._bought_relevance_SM[slots_N] = grades.relevance_NK[:, k:]
        wanted_NK = np.concatenate([hits.rows_NK, bought_NM], axis=1) >= 0
        incomplete_N: npt.NDArray[np.bool_] = np.any(np.isnan(grades.probs_NK4[..., 0]) & wanted_NK, axis=1)
        contexts = self.contexts(hits)
        for query, slot, incomplete, context in zip(
            queries, slots_N.tolist(), incomplete_N.tolist(), contexts, strict=True
        ):
            self.text[slot], self.context[slot] = clean(query.text, QUERY_CHARS), context
            key = (query.row, query.text)
            if incomplete:
                self._incomplete.add(key)
            else:
                self._incomplete.discard(key)

    def _assign_slot(self, query: Query) -> int:
        """A slot for the query: its own, a free one, or that of the least recently used query."""
        key = (query.row, query.text)
        slot = self._slot.pop(key, -1)
        if slot < 0 and len(self._slot) < len(self.queries):
            slot = len(self._slot)
        elif slot < 0:
            oldest = next(iter(self._slot))
            self._incomplete.discard(oldest)
            slot = self._slot.pop(oldest)
        self._slot[key] = slot
        self.queries[slot] = query
        return slot

    def slots_of(self, queries: Sequence[Query]) -> Slots:
        """Slots of cached queries, (P,)."""
        return np.array([self._slot[query.row, query.text] for query in queries], np.int64)

    def hits(self, slots_N: Slots) -> Hits:
        """Hits of each original query, (N, k)."""
        return Hits(self._rows_SK[slots_N], self._scores_SK[slots_N])

    def grades(self, slots_N: Slots) -> Grades:
        """Verdicts of `hits`."""
        return Grades(self._probs_SK4[slots_N])

    def bought(self, slots_N: Slots) -> Bought:
        """Products bought for each query outside search, and their relevance."""
        return Bought(self._bought_SM[slots_N], self._bought_relevance_SM[slots_N])

    def contexts(self, hits: Hits) -> list[str]:
        """Context of N observations: the first `CONTEXT_TITLES` titles of each result list, joined by " | "."""
        titles = self._titles
        tops = hits.rows_NK[:, :CONTEXT_TITLES].tolist()
        return [" | ".join([titles[row] for row in rows if row >= 0]) for rows in tops]

    def _bought_rows(self, queries: Sequence[Query]) -> RowArray:
        """(N, M) product rows; only padding for a query that is not of the shop."""
        rows_N = np.fromiter((query.row for query in queries), np.int64, len(queries))
        if not len(self.bought_PM):
            return np.full((len(queries), self.bought_PM.shape[1]), -1, np.int32)
        bought_NM = np.where(rows_N[:, None] >= 0, self.bought_PM[rows_N], np.int32(-1))
        return bought_NM if self._on_sale_C is None else np.where(self._on_sale_C[bought_NM], bought_NM, np.int32(-1))


def clean(text: str, limit: int) -> str:
    """The text as the observation space allows it: at most `limit` printable characters of the basic plane."""
    text = text[:limit]
    if text.isprintable() and (text.isascii() or max(text) <= "\uffff"):
        return text
    return "".join(c if c.isprintable() and c <= "\uffff" else " " if c.isspace() else "\ufffd" for c in text)


def excellent_products(shop: Shop, split: str | None = None) -> npt.NDArray[np.bool_] | None:
    """BEQUE's excellent products, (products,) bool: bought, or graded Exact, for any query; None if there are none.

    Args:
        split: for queries of this split only. Training uses "train": labels and purchases of held-out queries must not
            enter a reward.
    """
    is_excellent_C = np.zeros(len(shop.products), np.bool_)
    chosen_P = np.asarray(shop.queries["split"].to_pylist()) == split if split else np.ones(len(shop.queries), np.bool_)
    is_chosen = np.repeat(chosen_P, np.diff(shop.qrels.indptr))
    is_excellent_C[shop.qrels.indices[(shop.qrels.data == EXACT + 1) & is_chosen]] = True
    is_excellent_C[shop.purchase_rows(split=split)[1]] = True
    return is_excellent_C if is_excellent_C.any() else None


def bought_outside(shop: Shop, limit: int = MAX_BOUGHT) -> RowArray:
    """(queries, M) int32: rows of the first `limit` products bought for each query outside search, -1 padding."""
    query_N, product_N = shop.purchase_rows("outside")
    order_N = np.argsort(query_N, kind="stable")
    query_N, product_N = query_N[order_N], product_N[order_N]
    place_N = np.arange(len(query_N)) - np.searchsorted(query_N, query_N)
    width = min(int(place_N.max(initial=-1)) + 1, limit)
    rows_PM = np.full((len(shop.queries), width), -1, np.int32)
    rows_PM[query_N[place_N < width], place_N[place_N < width]] = product_N[place_N < width]
    return rows_PM


def check_capacity(capacity: int, blocks: int) -> None:
    """Raise ConfigError if the cache could evict a query of the current batch."""
    if capacity < 4 * blocks:
        raise ConfigError(
            f"the cache holds {capacity} queries: too few for batches of {blocks}; give it at least {4 * blocks}"
        )
