"""What a report must say of queries that were made up from the catalogue (`qr_env.synthetic.queries`).

typed_queries(shop, shop.split("dev"))                      # those that a shopper typed
made_up_note(40, 40, "dev", MADE_UP_GRADES)                 # "Made-up queries and grades: no shopper typed these …"
"""

from __future__ import annotations

from collections.abc import Sequence

from qr_env.common.types import Query
from qr_env.shop.shop import Shop
from qr_env.synthetic.queries import GENERATED

MADE_UP_GRADES = "made-up grades"
MADE_UP_SHARE = "eval/made-up queries"  # metric of a run: share of the graded dev queries that were made up
MIXED_GRADES = "labels, and made-up grades of made-up queries"


def typed_queries(shop: Shop, queries: Sequence[Query]) -> list[Query]:
    """Those of the queries that a shopper typed: all but the ones that were made from the catalogue."""
    made_up_N = shop.slices.get(GENERATED)
    return list(queries) if made_up_N is None else [query for query in queries if not made_up_N[query.row]]


def source_of_grades(made_up: float, queries: float) -> str:
    """Name of a shop's own grades where `made_up` of the queries that have them were made up."""
    if not made_up:
        return "labels"
    return MADE_UP_GRADES if made_up == queries else MIXED_GRADES


def made_up_note(made_up: int, queries: int, split: str, by: str) -> str:
    """The first sentences of a report on queries of which `made_up` were made up, graded by `by`; "" where none was."""
    if not made_up:
        return ""
    graded_too = by in (MADE_UP_GRADES, MIXED_GRADES)
    who = (
        f"these {queries:,} {split} queries"
        if made_up == queries
        else f"{made_up:,} of these {queries:,} {split} queries"
    )
    return (
        f"Made-up queries{' and grades' if graded_too else ''}: no shopper typed {who}; they were composed from the "
        f"catalogue{', and so was what counts as right for them' if graded_too else f' and graded by {by}'}. Their "
        "figures prove nothing about shoppers."
    )
