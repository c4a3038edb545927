"""`Shop`: products, queries, graded relevance and purchases, checked once and hashed.

Columns are Arrow tables, so a million products stay small; everything else addresses products and queries by row.

    shop = read_shop("my_folder")          # qr_env/shops/files.py reads CSV, JSONL, Parquet and TREC files
    shop.products["title"][7].as_py(), shop.split("test")[:3], shop.qrels[shop.split("test")[0].row]
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute  # noqa: F401  (makes pa.compute available)
import scipy.sparse as sp

from qr_env.types import Product, Query

SPLITS = ("train", "dev", "test")

PRODUCT_SCHEMA = pa.schema(
    [
        ("product_id", pa.string()),
        ("title", pa.string()),
        ("description", pa.string()),
        ("brand", pa.string()),
        ("category", pa.string()),
        ("color", pa.string()),
        ("price", pa.float64()),
        ("attributes", pa.string()),
    ]
)
QUERY_SCHEMA = pa.schema(
    [("query_id", pa.string()), ("query", pa.string()), ("frequency", pa.float64()), ("split", pa.string())]
)
# `source` is "search" (bought from a result list of this query) or "outside" (bought elsewhere for the same need).
PURCHASE_SCHEMA = pa.schema([("query_id", pa.string()), ("product_id", pa.string()), ("source", pa.string())])


def split_of(text: str) -> str:
    """80 / 10 / 10 by a hash of the query's text: the same text is in the same split in every shop and session."""
    bucket = int.from_bytes(hashlib.sha256(text.strip().lower().encode()).digest()[:4], "big") % 10
    return "test" if bucket == 9 else "dev" if bucket == 8 else "train"


@dataclass(frozen=True)
class Shop:
    """A shop as the rest of the project sees it. Build one with a loader of `qr_env.shops`.

    name: where it came from, for reports.
    products, queries, purchases: Arrow tables with the schemas above; text is "" and price NaN where unknown.
    qrels: (queries, products) CSR matrix of int8, level + 1 of each graded pair (1 Irrelevant … 4 Exact), 0 ungraded.
    qrels_complete: every pair is graded and what is not stored is Irrelevant (the generated shop).
    oracle: query id → the rewrite that the construction knows to be best (the generated shop only).
    slices: slice name → (queries,) bool, groups of queries to report on, such as "typo" or "held-out words".
    """

    name: str
    products: pa.Table
    queries: pa.Table
    qrels: sp.csr_matrix
    purchases: pa.Table
    qrels_complete: bool = False
    oracle: dict[str, str] = field(default_factory=dict)
    slices: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Shop({self.name!r}, {len(self.products):,} products, {len(self.queries):,} queries)"

    @cached_property
    def hash(self) -> str:
        """SHA-256 over products, queries, qrels and purchases: indexes, caches and runs are keyed by it."""
        digest = hashlib.sha256()
        for table in (self.products, self.queries, self.purchases):
            for name in table.column_names:
                digest.update(name.encode())
                _hash_column(digest, table[name])
        for part in (self.qrels.indptr, self.qrels.indices, self.qrels.data):
            digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(bytes([self.qrels_complete]))
        return digest.hexdigest()

    @cached_property
    def products_hash(self) -> str:
        """SHA-256 over the products alone: what an index depends on."""
        digest = hashlib.sha256()
        for name in self.products.column_names:
            digest.update(name.encode())
            _hash_column(digest, self.products[name])
        return digest.hexdigest()

    @cached_property
    def titles(self) -> list[str]:
        """Title of every product, by row."""
        return self.products["title"].to_pylist()

    @cached_property
    def product_row(self) -> dict[str, int]:
        """Product id → row."""
        return {name: row for row, name in enumerate(self.products["product_id"].to_pylist())}

    @cached_property
    def all_queries(self) -> list[Query]:
        """Every query, by row."""
        columns = (self.queries[name].to_pylist() for name in ("query_id", "query", "frequency", "split"))
        return [Query(row, *values) for row, values in enumerate(zip(*columns, strict=True))]

    def split(self, name: str) -> list[Query]:
        """The queries of one split: "train", "dev" or "test"."""
        return [query for query in self.all_queries if query.split == name]

    def product(self, row: int) -> Product:
        """The product at `row`, as an object."""
        values = self.products.slice(row, 1).to_pylist()[0]
        return Product(row=row, id=values.pop("product_id"), **values)

    def levels(self, query_rows_N: Sequence[int] | npt.NDArray[np.int_], rows_NK: npt.NDArray[np.int32]) -> np.ndarray:
        """Known level of each pair, (N, K) int8: 0 Irrelevant … 3 Exact, -1 where nobody graded it or no product."""
        query_rows_N = np.asarray(query_rows_N)
        if rows_NK.size == 0 or self.qrels.shape[1] == 0:
            return np.full(rows_NK.shape, -1, np.int8)
        safe_NK = np.maximum(rows_NK, 0)
        known_N = np.maximum(query_rows_N, 0)
        flat = self.qrels[np.repeat(known_N, rows_NK.shape[1]), safe_NK.ravel()]
        stored_NK = np.asarray(flat).reshape(rows_NK.shape).astype(np.int8)
        levels_NK = stored_NK - 1
        if self.qrels_complete:
            levels_NK = np.maximum(levels_NK, 0)
        return np.where((rows_NK >= 0) & (query_rows_N >= 0)[:, None], levels_NK, np.int8(-1))


def _hash_column(digest: hashlib._Hash, column: pa.ChunkedArray) -> None:
    """Feed one column's values, independent of chunking and of buffer offsets."""
    values = column.combine_chunks()
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        lengths = pa.compute.binary_length(values).fill_null(0)
        digest.update(np.asarray(lengths).astype(np.int64).tobytes())
        for start in range(0, len(values), 65536):
            digest.update("".join(text or "" for text in values.slice(start, 65536).to_pylist()).encode())
        return
    digest.update(np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).tobytes())
