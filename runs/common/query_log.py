"""The shop that a run learns from, with a past: where nothing was bought, queries are made from its catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qr_env.common.messages import print_message

if TYPE_CHECKING:
    from qr_env.shop.shop import Shop
    from runs.online.args import Args

CATALOGUE_QUERIES = 8_000
PAST_SEED = 0  # of the made-up queries


def read_shop(args: Args) -> Shop:
    """The shop; one without train purchases gets queries made from its catalogue, since nothing else can teach."""
    from qr_env.shop.load import load_shop

    return with_past(load_shop(args.shop, data=args.data, seed=0, on_bad_row=args.on_bad_row))


def with_past(shop: Shop) -> Shop:
    """The shop, with queries made from its catalogue if nothing was bought for its train queries.

    They are always the same ones, as the generated shop is always that of seed 0: a run's seed draws what is learned in
    a shop, not the shop, so that seeds can be pooled and all stages of a recipe learn in one shop.
    """
    train = {query.id for query in shop.split("train")}
    if any(name in train for name in shop.purchases["query_id"].to_pylist()):
        return shop
    from qr_env.synthetic.queries import with_catalogue_queries

    made = with_catalogue_queries(shop, CATALOGUE_QUERIES, PAST_SEED)
    count = len(made.queries) - len(shop.queries)
    print_message(f"no purchases to learn from: {count:,} queries made from the catalogue")
    return made
