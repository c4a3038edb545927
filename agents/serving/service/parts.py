"""What a service is assembled from. `Loaded` is replaced as a whole when table or model are loaded again."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from agents.serving.rewritten import Rewritten
from qr_env.common.protocols import Retriever
from qr_env.common.types import JsonDict
from qr_env.retrieval.combine import ORIGINAL_WEIGHT, search
from qr_env.shop.shop import Shop
from qr_env.traffic.ubi import ServedQuery, ShopperEvent

RewriteMany = Callable[[Sequence[str]], list[Rewritten]]


class Entry(Protocol):
    """A row of a table."""

    @property
    def rewritten(self) -> Rewritten:
        """The precomputed rewrite."""
        ...

    @property
    def passed(self) -> bool:
        """Whether the guard found it no worse than the query."""
        ...


class Table(Protocol):
    """Precomputed rewrites."""

    @property
    def version(self) -> str:
        """Changes with the content."""
        ...

    def look_up(self, queries: Sequence[str]) -> Sequence[Entry | None]:
        """The entry of each query; None where the table has none."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


class RuleBook(Protocol):
    """What the merchandiser decided."""

    def override(self, query: str) -> Rewritten | None:
        """The answer that a person fixed for this query; None where nobody did."""
        ...

    def apply(self, row: Rewritten, combine: str = "expand") -> Rewritten:
        """The row without what the rules forbid; `combine`: how it is searched."""
        ...


class Chooser(Protocol):
    """Draws one of several candidates of a rewriter."""

    def choose(self, queries: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, float]]:
        """(rewrite, probability with which it was drawn) for each query."""
        ...


class Assigned(Protocol):
    """What a session sees."""

    @property
    def variant(self) -> str:
        """Name of the variant."""
        ...

    @property
    def propensity(self) -> float:
        """Probability of this assignment."""
        ...


class Trial(Protocol):
    """An A/B test on live traffic, with the log of what was served."""

    def assign(self, session_id: str) -> Assigned:
        """The variant of a session; the same for the same session."""
        ...

    @property
    def stage(self) -> str:
        """ "shadow", "canary", "promoted" or "rolled back"."""
        ...

    def state(self) -> JsonDict:
        """Stage, counts and verdict of the test."""
        ...

    def decide(self) -> object:
        """Look at the events and move to the next stage where they suffice."""
        ...


class Recorder(Protocol):
    """A durable log of served queries and events, in the order of the calls."""

    def record_queries(self, queries: Sequence[ServedQuery]) -> Awaitable[None]:
        """Append queries; the result is awaited by who must know that they are on disk."""
        ...

    def record_events(self, events: Sequence[ShopperEvent]) -> Awaitable[None]:
        """Append events; done when they, and all that was recorded before, are on disk."""
        ...

    async def close(self) -> None:
        """Write what is left."""
        ...


@dataclass(frozen=True, eq=False)
class Loaded:
    """One version of table, rules and rewriters, with the engine that their rewrites are for."""

    version: str
    """Of the rewriter."""
    rewriters: dict[str, RewriteMany]
    """Variant → rewriter; "baseline" is there always."""
    shop: Shop
    """The products."""
    retriever: Retriever
    """The engine."""
    combine: str = "expand"
    """How a rewrite meets its query (`qr_env.retrieval.combine`)."""
    weight: float = ORIGINAL_WEIGHT
    """Weight of the query in "expand"."""
    table: Table | None = None
    """Precomputed rewrites of the baseline."""
    table_is_remote: bool = False
    """Whether looking up means waiting for a network: it is then done in a thread, under the deadline."""
    rules: RuleBook | None = None
    """Applied to every rewrite, of every variant."""
    choosers: dict[str, Chooser] = field(default_factory=dict)
    """Variant → what draws its rewrite where the service explores."""
    trial_query: str = "blue sofa"
    """Answered before this version is used."""

    @property
    def table_version(self) -> str:
        """Of the table; "" without one."""
        return self.table.version if self.table is not None else ""

    def products(self, queries: Sequence[str], rewrites: Sequence[str], k: int) -> list[list[JsonDict]]:
        """The first k products of N searches: product_id, title, price (None where unknown), position, score."""
        hits = search(self.retriever, queries, rewrites, self.combine, self.weight, k)
        return [
            [self._product(int(row), float(score), at + 1) for at, (row, score) in enumerate(zip(*pair, strict=True))
             if row >= 0]
            for pair in zip(hits.rows_NK, hits.scores_NK, strict=True)
        ]  # fmt: skip

    def _product(self, row: int, score: float, position: int) -> JsonDict:
        price: Any = self.shop.products["price"][row].as_py()
        return {
            "product_id": self.shop.products["product_id"][row].as_py(),
            "title": self.shop.products["title"][row].as_py(),
            "price": None if price is None or math.isnan(price) else price,
            "position": position,
            "score": score,
        }

    def description(self, product_id: str) -> str:
        """Description of a product."""
        return str(self.shop.products["description"][self._rows[product_id]].as_py() or "")

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {one: row for row, one in enumerate(self.shop.products["product_id"].to_pylist())}
