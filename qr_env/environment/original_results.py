"""What is known of a query before any rewrite: its own hits, their grades, and what was bought for it elsewhere.

    store = OriginalResultsCache(shop, k=10, capacity=16_384)
    slots_P = store.slots(queries)              # -1 where a query must first be searched and graded
    store.add(fresh, hits, grades)              # by the one retrieval and judge call of the step
    store.hits(slots_P), store.grades(slots_P), store.bought(slots_P)

A popular query comes back again and again, so the last `capacity` distinct queries are remembered, in arrays that a
batch gathers from by slot. An entry with a missing verdict is used but not reused: next time the judge may answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError
from qr_env.common.types import EXACT, LEVELS, Grades, Hits, Query, RowArray
from qr_env.reward.feedback import Bought
from qr_env.shop.shop import Shop

MAX_BOUGHT = 10  # products bought outside search that a query's hitrate looks for: the first ten
CONTEXT_TITLES = 5
QUERY_CHARS, TITLE_CHARS = 512, 160
CONTEXT_CHARS = CONTEXT_TITLES * (TITLE_CHARS + 3)
Slots = npt.NDArray[np.int64]


class OriginalResultsCache:
    """The last `capacity` distinct queries with their results, least recently asked out first.

    Args:
        shop: whose queries these are; free text (`Query.row` -1) is welcome and has nothing bought.
        k: products a list. capacity: queries remembered, at least four times those of one batch.
    """

    def __init__(self, shop: Shop, k: int, capacity: int) -> None:
        # Cut and cleaned once: the observation of every step is put together from them.
        self._titles = [clean(title, TITLE_CHARS) for title in shop.titles]
        self.bought_PM = bought_outside(shop)
        self._slot: dict[tuple[int, str], int] = {}  # in order of use
        self._incomplete: set[tuple[int, str]] = set()  # must be asked again before they are used again
        self._on_sale_P: npt.NDArray[np.bool_] | None = None
        self.queries: list[Query] = [Query(-1, "", "")] * capacity
        self.text: list[str] = [""] * capacity  # the query, and
        self.context: list[str] = [""] * capacity  # the titles it found, as the observation shows them
        width = self.bought_PM.shape[1]
        self._rows_CK = np.full((capacity, k), -1, np.int32)
        self._scores_CK = np.full((capacity, k), -np.inf, np.float32)
        self._probs_CK4 = np.full((capacity, k, len(LEVELS)), np.nan, np.float32)
        self._bought_CM = np.full((capacity, width), -1, np.int32)
        self._bought_relevance_CM = np.full((capacity, width), np.nan, np.float32)

    def slots(self, queries: Iterable[Query]) -> list[int]:
        """Slot of each query, -1 where it is unknown; the known ones count as used now."""
        return [self._touch((query.row, query.text)) for query in queries]

    def _touch(self, key: tuple[int, str]) -> int:
        slot = self._slot.pop(key, -1)
        if slot >= 0 and key not in self._incomplete:
            self._slot[key] = slot
            return slot
        if slot >= 0:
            self._slot[key] = slot
        return -1

    def expire(self, on_sale_C: npt.NDArray[np.bool_]) -> None:
        """The assortment changed: every entry is searched and graded again before it is used again, since a product
        that came may belong into any list; what was bought counts as far as it is on sale, (products,) bool."""
        self._incomplete.update(self._slot)
        self._on_sale_P = on_sale_C

    def missing(self, queries: Sequence[Query]) -> list[Query]:
        """The distinct queries among these that must be searched and graded."""
        slots = self.slots(queries)
        return list({(q.row, q.text): q for q, slot in zip(queries, slots, strict=True) if slot < 0}.values())

    def rows_to_grade(self, queries: Sequence[Query], hits: Hits) -> RowArray:
        """(N, k + M) product rows: what the queries found, then what was bought for them outside search."""
        return np.concatenate([hits.rows_NK, self._bought_rows(queries)], axis=1)

    def add(self, queries: Sequence[Query], hits: Hits, grades: Grades) -> None:
        """Remember N distinct queries; `grades` are of `rows_to_grade`, (N, k + M, 4)."""
        if not queries:
            return
        k = self._rows_CK.shape[1]
        slots_N = np.array([self._claim(query) for query in queries])
        self._rows_CK[slots_N], self._scores_CK[slots_N] = hits.rows_NK, hits.scores_NK
        self._probs_CK4[slots_N] = grades.probs_NK4[:, :k]
        bought_NM = self._bought_CM[slots_N] = self._bought_rows(queries)
        self._bought_relevance_CM[slots_N] = grades.relevance_NK[:, k:]
        asked_NK = np.concatenate([hits.rows_NK, bought_NM], axis=1) >= 0
        partly_N: npt.NDArray[np.bool_] = np.any(np.isnan(grades.probs_NK4[..., 0]) & asked_NK, axis=1)
        contexts = self.contexts(hits)
        for query, slot, partly, context in zip(queries, slots_N.tolist(), partly_N.tolist(), contexts, strict=True):
            self.text[slot], self.context[slot] = clean(query.text, QUERY_CHARS), context
            (self._incomplete.add if partly else self._incomplete.discard)((query.row, query.text))

    def _claim(self, query: Query) -> int:
        """A slot for the query: its own, a free one, or that of the query asked longest ago."""
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
        """Slots of queries that were just added or found, (P,)."""
        return np.array([self._slot[query.row, query.text] for query in queries], np.int64)

    def hits(self, slots_N: Slots) -> Hits:
        """Own hits of each query, (N, k)."""
        return Hits(self._rows_CK[slots_N], self._scores_CK[slots_N])

    def grades(self, slots_N: Slots) -> Grades:
        """Verdicts of `hits`."""
        return Grades(self._probs_CK4[slots_N])

    def bought(self, slots_N: Slots) -> Bought:
        """What was bought for each query outside search, and how relevant the judge finds it."""
        return Bought(self._bought_CM[slots_N], self._bought_relevance_CM[slots_N])

    def contexts(self, hits: Hits) -> list[str]:
        """The first titles of N result lists, joined by " | ", fit for the observation."""
        titles = self._titles
        tops = hits.rows_NK[:, :CONTEXT_TITLES].tolist()
        return [" | ".join([titles[row] for row in rows if row >= 0]) for rows in tops]

    def _bought_rows(self, queries: Sequence[Query]) -> RowArray:
        """(N, M); nothing for a query that is not of the shop."""
        rows_N = np.fromiter((query.row for query in queries), np.int64, len(queries))
        if not len(self.bought_PM):
            return np.full((len(queries), self.bought_PM.shape[1]), -1, np.int32)
        bought_NM = np.where(rows_N[:, None] >= 0, self.bought_PM[rows_N], np.int32(-1))
        return bought_NM if self._on_sale_P is None else np.where(self._on_sale_P[bought_NM], bought_NM, np.int32(-1))


def clean(text: str, limit: int) -> str:
    """The text as the observation can hold it: printable characters of the basic plane, at most `limit` of them."""
    text = text[:limit]
    if text.isprintable() and (text.isascii() or max(text) <= "\uffff"):
        return text
    return "".join(c if c.isprintable() and c <= "\uffff" else " " if c.isspace() else "\ufffd" for c in text)


def excellent(shop: Shop, split: str | None = None) -> npt.NDArray[np.bool_] | None:
    """BEQUE's excellent products, (products,): bought, or graded Exact, for any query; None where a shop knows none.

    split: for any query of this split only. Whoever learns gives "train": labels and purchases of held-out queries must
    not reach a reward.
    """
    marks = np.zeros(len(shop.products), np.bool_)
    asked_Q = np.asarray(shop.queries["split"].to_pylist()) == split if split else np.ones(len(shop.queries), np.bool_)
    of_query = np.repeat(asked_Q, np.diff(shop.qrels.indptr))
    marks[shop.qrels.indices[(shop.qrels.data == EXACT + 1) & of_query]] = True
    marks[shop.purchase_rows(split=split)[1]] = True
    return marks if marks.any() else None


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
    """ConfigError when the store could forget a query that is being worked on."""
    if capacity < 4 * blocks:
        raise ConfigError(f"the store remembers {capacity} queries: too few for {blocks} at once, give it {4 * blocks}")
