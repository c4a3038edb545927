"""What logged clicks and purchases say of products: the evidence that `qr online --feedback LOG` learns from.

    feedback = product_feedback([read_ubi("events/")], shop)
    shop = with_feedback(shop, feedback)          # its train queries have these purchases now, beside their own

A product that was shown for a query at rank k was looked at with probability θ_k (the position-based click model,
`judges/shoppers/click_models.py`), in a list that the log served with probability p. With y the deepest event (click
`CLICK`, cart `CART`, purchase 1), the rate of a query q and a product d is

    r(q, d) = ( Σ w y + m r̄ ) / ( Σ w θ + m ),        w = min(1 / p, `MOST_WEIGHT`) / mean of these,

inverse propensity weighted (Joachims, Swaminathan and Schnabel, WSDM 2017), with the log's mean rate r̄ counted as
`PRIOR` looks, so that one click decides nothing. d counts as bought for q where r ≥ `LIFT` r̄ and it was bought, or
clicked `CLICKS` times. This is evidence of products, not of rewrites: a rewrite that nobody served yet earns by it what
it finds.

Queries of the dev and test split give nothing: they are held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from judges.shoppers.click_models import PositionBased
from qr_env.common.errors import DataError
from qr_env.common.messages import print_message
from qr_env.common.text_keys import text_key
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import PURCHASE_SCHEMA, Shop
from qr_env.traffic.ubi import ServedQuery, UbiLog, read_ubi

CLICK, CART, PURCHASE = 0.2, 0.5, 1.0  # worth of an event as evidence; ours
MOST_WEIGHT = 20.0
PRIOR = 3.0  # looks
LIFT = 2.0
CLICKS = 2
WORTH = {"none": 0.0, "click": CLICK, "cart": CART, "purchase": PURCHASE}


@dataclass(frozen=True)
class Feedback:
    """Products that count as bought for queries."""

    query_rows: list[int]
    """Rows of train queries, one for each pair."""
    product_rows: list[int]
    """Rows of products, one for each pair."""
    rates: list[float]
    """r(q, d) of each pair."""
    searches: int
    """Searches of train queries that were read."""
    held_out: int
    """Searches of dev and test queries, which are not used."""
    unknown: int
    """Searches of queries that the shop does not have."""
    unknown_products: int
    """Products shown that the shop does not have."""
    mean_rate: float
    """r̄."""

    def __str__(self) -> str:
        text = f"{self.searches:,} searches of train queries, {len(self.rates):,} products count as bought"
        left_out = {"held out": self.held_out, "of unknown queries": self.unknown}
        left = ", ".join(f"{count:,} {name}" for name, count in left_out.items() if count)
        return f"{text}; left out: {left}" if left else text


def read_feedback(folders: Sequence[Path], shop: Shop, options: ReadOptions | None = None) -> Feedback:
    """The feedback of logs.

    Raises:
        DataError: a folder holds no log, or none of the logs has a train query of the shop.
        BadRowError: an invalid line that options do not skip.
    """
    logs = [read_ubi(folder, options) for folder in folders]
    for folder, log in zip(folders, logs, strict=True):
        log.report.warn(folder.name)
    feedback = product_feedback(logs, shop)
    if not feedback.searches:
        others = feedback.unknown + feedback.held_out
        raise DataError(
            f"feedback={', '.join(map(str, folders))}: none of its {others:,} searches is a train query of {shop!r}; "
            "name the log of this shop"
        )
    if all(one.propensity == 1 for log in logs for one in log.queries):
        print_message(
            "note: every logged probability is 1: rewrites that were not served left no trace; log with explore"
        )
    return feedback


def product_feedback(logs: Sequence[UbiLog], shop: Shop) -> Feedback:
    """Rates of products by query, by the formula of the module docstring."""
    rows = {text_key(query.text): query for query in reversed(shop.all_queries)}
    products = {one: row for row, one in enumerate(shop.products["product_id"].to_pylist())}
    counts = {"held out": 0, "unknown": 0, "products": 0}
    served: list[tuple[int, ServedQuery]] = []
    for log in logs:
        for one in log.queries:
            query = rows.get(text_key(one.query))
            if query is None or query.split != "train":
                counts["unknown" if query is None else "held out"] += 1
            else:
                served.append((query.row, one))
    weight_N = np.minimum(1 / np.array([one.propensity for _, one in served] or [1.0]), MOST_WEIGHT)
    weight_N /= weight_N.mean()
    worth, clicks = _events(logs)
    theta = PositionBased().by_rank(max((len(one.product_ids) for _, one in served), default=1))
    sums: dict[tuple[int, int], list[float]] = {}
    for (query_row, one), weight in zip(served, weight_N[: len(served)].tolist(), strict=True):
        for rank, name in enumerate(one.product_ids):
            if name not in products:
                counts["products"] += 1
                continue
            pair = sums.setdefault((query_row, products[name]), [0.0, 0.0, 0.0, 0.0])
            pair[0] += weight * worth.get((one.query_id, name), 0.0)
            pair[1] += weight * float(theta[rank])
            pair[2] += clicks.get((one.query_id, name), 0)
            pair[3] += worth.get((one.query_id, name), 0.0) == PURCHASE
    return _chosen(sums, len(served), counts)


def _events(logs: Sequence[UbiLog]) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], int]]:
    """(query id, product id) → worth of the deepest event, and number of clicks."""
    worth: dict[tuple[str, str], float] = {}
    clicks: dict[tuple[str, str], int] = {}
    for log in logs:
        for event in log.events:
            key = event.query_id, event.product_id
            worth[key] = max(worth.get(key, 0.0), WORTH[event.action])
            clicks[key] = clicks.get(key, 0) + (event.action == "click")
    return worth, clicks


def _chosen(sums: dict[tuple[int, int], list[float]], searches: int, counts: dict[str, int]) -> Feedback:
    total = np.sum(list(sums.values()), axis=0) if sums else np.zeros(4)
    mean = float(total[0] / total[1]) if total[1] else 0.0
    found: list[tuple[int, int, float]] = []
    for (query_row, product_row), (earned, looks, clicked, bought) in sums.items():
        rate = (earned + PRIOR * mean) / (looks + PRIOR)
        if rate >= LIFT * mean and (bought or clicked >= CLICKS):
            found.append((query_row, product_row, rate))
    found.sort()
    return Feedback(
        query_rows=[query for query, _, _ in found],
        product_rows=[product for _, product, _ in found],
        rates=[rate for _, _, rate in found],
        searches=searches,
        held_out=counts["held out"],
        unknown=counts["unknown"],
        unknown_products=counts["products"],
        mean_rate=mean,
    )


def with_feedback(shop: Shop, feedback: Feedback) -> Shop:
    """The shop with the feedback's pairs as further purchases; a pair that it has is not repeated."""
    query_N, product_N = shop.purchase_rows()
    known = set(zip(query_N.tolist(), product_N.tolist(), strict=True))
    pairs = [pair for pair in zip(feedback.query_rows, feedback.product_rows, strict=True) if pair not in known]
    added = pa.table(
        {
            "query_id": [shop.all_queries[query].id for query, _ in pairs],
            "product_id": [shop.products["product_id"][product].as_py() for _, product in pairs],
            "source": ["search"] * len(pairs),
        },
        schema=PURCHASE_SCHEMA,
    )
    purchases = pa.concat_tables([shop.purchases.select(PURCHASE_SCHEMA.names).cast(PURCHASE_SCHEMA), added])
    return replace(shop, purchases=purchases)


def without_purchases(shop: Shop) -> Shop:
    """The shop as if nothing had been bought."""
    return replace(shop, purchases=shop.purchases[:0])
