"""The shop that a run learns from: one without purchases gets a query log made from its catalogue."""

from __future__ import annotations

from typing import Literal

from qr_env.common.messages import print_message
from qr_env.shop.load import load_shop
from qr_env.shop.shop import Shop
from qr_env.synthetic.queries import with_catalogue_queries

CATALOGUE_QUERIES = 8_000
CATALOGUE_QUERIES_SEED = 0


def load_training_shop(source: str, data: str | None = None, on_bad_row: Literal["stop", "skip"] = "stop") -> Shop:
    """The shop called `source`, with a query log to learn from."""
    return with_query_log(load_shop(source, data=data, seed=0, on_bad_row=on_bad_row))


def with_query_log(shop: Shop) -> Shop:
    """The shop, with queries made from its catalogue if nothing was bought for its train queries.

    Their seed is fixed, as is that of the generated shop: a run's seed draws what is learned in a shop, not the shop,
    so that seeds can be pooled and all stages of a recipe learn in one shop.
    """
    train_ids = {query.id for query in shop.split("train")}
    if any(query_id in train_ids for query_id in shop.purchases["query_id"].to_pylist()):
        return shop
    extended = with_catalogue_queries(shop, CATALOGUE_QUERIES, CATALOGUE_QUERIES_SEED)
    count = len(extended.queries) - len(shop.queries)
    print_message(f"no purchases to learn from: {count:,} queries made from the catalogue")
    return extended
