"""Planted products in the searched catalogue itself: does a policy that is paid by a judge learn to show them?

    planted = plant(shop, 200, seed=0)       # the shop with 200 more products, ids "planted/KIND/NUMBER"
    shown(planted_kinds(planted), hits.rows_NK)      # {"all": 0.04, "query": 0.03, …}, share of the lists that show one

Each planted product is a copy of a random product, with its title rewritten for one query in one of the ways of
`probes.py` (`KINDS`, in turn). The queries are the shop's most frequent ones. A planted product answers no query: it
has no grade where people graded a part of the pairs, and is Irrelevant where every pair is known.
"""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from judges.validation.probes import KINDS, planted_title
from qr_env.common.errors import ConfigError
from qr_env.common.types import RowArray
from qr_env.shop.shop import Shop

PREFIX = "planted"
TOP = 10  # first products of a list that a shopper sees


def plant(shop: Shop, count: int, seed: int = 0) -> Shop:
    """The shop with `count` planted products after its own; rows of its own products stay.

    Raises ConfigError for a negative number, or a shop without queries or products.
    """
    if count < 0:
        raise ConfigError(f"plant={count}: a number of products, 0 or more")
    if not count:
        return shop
    if not shop.all_queries or not len(shop.products):
        raise ConfigError(f"plant={count}: {shop!r} needs queries and products to plant more")
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(shop.all_queries)).tolist()  # which of equally frequent queries is drawn
    asked = sorted((shop.all_queries[row] for row in shuffled), key=attrgetter("frequency"), reverse=True)
    copies = shop.products.take(pa.array(rng.integers(len(shop.products), size=count)))
    brands = shop.products["brand"].take(pa.array(rng.integers(len(shop.products), size=count))).to_pylist()
    titles, ids = [], []
    for number, (title, brand) in enumerate(zip(copies["title"].to_pylist(), brands, strict=True)):
        kind, query = KINDS[number % len(KINDS)], asked[number // len(KINDS) % len(asked)]
        titles.append(planted_title(kind, title, query.text, brand, number))
        ids.append(f"{PREFIX}/{kind}/{number}")
    for name, values in (("product_id", ids), ("title", titles)):
        copies = copies.set_column(copies.column_names.index(name), name, pa.array(values, pa.string()))
    ungraded = sp.csr_matrix((len(shop.queries), count), dtype=np.int8)
    return replace(
        shop,
        products=pa.concat_tables([shop.products, copies]),
        qrels=sp.hstack([shop.qrels, ungraded], format="csr"),
    )


def planted_kinds(shop: Shop) -> dict[str, RowArray]:
    """Kind → rows of the planted products of this kind; {} for a shop without any."""
    kinds: dict[str, list[int]] = {}
    for row, name in enumerate(shop.products["product_id"].to_pylist()):
        prefix, _, rest = name.partition("/")
        if prefix == PREFIX and rest:
            kinds.setdefault(rest.partition("/")[0], []).append(row)
    return {kind: np.array(rows, np.int32) for kind, rows in kinds.items()}


def shown(kinds: dict[str, RowArray], rows_NK: RowArray) -> dict[str, float]:
    """Share of the N lists whose first ten hold a planted product, of any kind ("all") and by kind; NaN for no list."""
    top_NK = rows_NK[:, :TOP]
    by_kind = {"all": np.concatenate(list(kinds.values()))} | kinds if kinds else {}
    if not len(top_NK):
        return dict.fromkeys(by_kind, float("nan"))
    return {kind: float(np.isin(top_NK, rows).any(axis=1).mean()) for kind, rows in by_kind.items()}
