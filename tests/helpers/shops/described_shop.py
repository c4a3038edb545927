"""A shop in which only descriptions say what a product is."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from qr_env.shop.shop import PURCHASE_SCHEMA, Shop


def described_shop(count: int = 60) -> Shop:
    """Products whose type stands in the description alone; the title holds a model name."""
    types = ("kettle", "toaster", "blender", "juicer", "grinder")
    products = pa.table({
        "product_id": [f"p{n}" for n in range(count)],
        "title": [f"model x{n}" for n in range(count)],
        "description": [f"this {types[n % 5]} is number {n}" for n in range(count)],
    })  # fmt: skip
    queries = pa.table({"query_id": [str(n) for n in range(20)], "query": [types[n % 5] for n in range(20)]})
    exact = np.equal.outer(np.arange(20) % 5, np.arange(count) % 5)
    qrels = sp.csr_matrix(np.where(exact, 4, 0).astype(np.int8))
    return Shop("described", products, queries, qrels, PURCHASE_SCHEMA.empty_table(), qrels_complete=True)
