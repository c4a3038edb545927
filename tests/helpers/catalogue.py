"""Shops of given titles, and a random catalogue with a skewed vocabulary, for the tests of retrieval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from qr_env.shop.shop import PRODUCT_SCHEMA, PURCHASE_SCHEMA, QUERY_SCHEMA, Shop


def shop_of(titles: Sequence[str], **columns: Sequence[str]) -> Shop:
    """A shop without queries: product p0, p1, … with these titles and other text columns."""
    count = len(titles)
    values: dict[str, Sequence[object]] = {name: [""] * count for name in PRODUCT_SCHEMA.names}
    values |= {"product_id": [f"p{n}" for n in range(count)], "title": titles, "price": [float("nan")] * count}
    return Shop(
        name="titles",
        products=pa.table({**values, **columns}, schema=PRODUCT_SCHEMA),
        queries=QUERY_SCHEMA.empty_table(),
        qrels=sp.csr_matrix((0, count), dtype=np.int8),
        purchases=PURCHASE_SCHEMA.empty_table(),
    )


def random_titles(count: int, seed: int = 0, vocabulary: int = 300, longest: int = 12) -> list[str]:
    """`count` titles of 1 to `longest` made-up words, word n drawn in proportion to 1 / (n + 1)."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, vocabulary + 1)
    lengths = rng.integers(1, longest + 1, count)
    drawn = rng.choice(vocabulary, size=lengths.sum(), p=shares / shares.sum())
    names = ["zq" + "".join(chr(97 + (n // 20**place) % 20) for place in range(3)) + "x" for n in range(vocabulary)]
    return [" ".join(names[n] for n in part) for part in np.split(drawn, np.cumsum(lengths)[:-1])]
