"""The shop that a run learns from: one with too little to learn from gets a query log made from its catalogue."""

from __future__ import annotations

import numpy as np

from qr_env.common.messages import print_message
from qr_env.shop.load import load_shop
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop
from qr_env.synthetic.likeness import QueryProfiler
from qr_env.synthetic.queries import with_catalogue_queries

CATALOGUE_QUERIES = 8_000
CATALOGUE_QUERIES_SEED = 0
MEASURABLE_QUERIES = 50  # real train queries from which on made ones are chosen to look like them
ENOUGH_QUERIES = 500  # real train queries from which a student that sees suggestions learns without made ones


def load_training_shop(
    source: str, data: str | None = None, options: ReadOptions | None = None, suggestions: bool = False
) -> Shop:
    """The shop called `source`, with queries to learn from.

    Args:
        source: a shop's name or folder.
        data: folder of a named source's files.
        options: how files are read.
        suggestions: whether the student may see suggestions; it then learns from the shop's own train queries without
            any purchase, if there are `ENOUGH_QUERIES`.
    """
    shop = load_shop(source, data=data, options=options)
    if suggestions and not has_purchases(shop) and len(shop.split("train")) >= ENOUGH_QUERIES:
        return shop
    return with_query_log(shop)


def has_purchases(shop: Shop) -> bool:
    """Whether anything was bought for the shop's train queries."""
    train_ids = {query.id for query in shop.split("train")}
    return any(query_id in train_ids for query_id in shop.purchases["query_id"].to_pylist())


def has_made_queries(shop: Shop) -> bool:
    """Whether queries of the shop were made from its catalogue."""
    return bool(shop.slices.get("generated", np.zeros(0, bool)).any())


def with_query_log(shop: Shop) -> Shop:
    """The shop, with queries made from its catalogue if nothing was bought for its train queries.

    Where there are `MEASURABLE_QUERIES`, the made ones have their lengths, unknown words and full matches.

    Their seed is fixed, as is that of the generated shop: a run's seed draws what is learned in a shop, not the shop,
    so that seeds can be pooled and all stages of a recipe learn in one shop.
    """
    if has_purchases(shop):
        return shop
    real = [query.text for query in shop.split("train")]
    like = real if len(real) >= MEASURABLE_QUERIES else []
    extended = with_catalogue_queries(shop, CATALOGUE_QUERIES, CATALOGUE_QUERIES_SEED, like)
    made = extended.queries["query"].to_pylist()[len(shop.queries) :]
    print_message(f"no purchases to learn from: {len(made):,} queries made from the catalogue")
    if like:
        profiler = QueryProfiler(shop)
        print_message(f"  made: {profiler.profile(made)}\n  log:  {profiler.profile(like)}")
    return extended
