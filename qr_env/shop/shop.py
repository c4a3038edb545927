"""`Shop`: products, queries, graded relevance and purchases, validated at construction.

Tables are Arrow tables, compact for millions of products; all other code addresses products and queries by row.

    shop = load_shop("my_folder")          # sources/files.py reads CSV, JSONL, Parquet and TREC files
    shop.products["title"][7].as_py(), shop.split("test")[:3], shop.qrels[shop.split("test")[0].row]

`qr shop my_folder` describes a shop at the terminal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from qr_env.common.errors import DataError
from qr_env.common.hashing import sha256_text
from qr_env.common.types import Product, Query
from qr_env.language.codes import language
from qr_env.language.tokenize import Tokenizer, tokenizer
from qr_env.shop.readers.load_report import LoadReport

Rows = npt.NDArray[np.int64]
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
# Lines of a queries file that were joined with another line of the same text.
JOINED_SCHEMA = pa.schema([("id", pa.string()), ("query_id", pa.string())])


def split_of(text: str) -> str:
    """Split by a hash of the query's text, 80 / 10 / 10: equal texts get the same split in every shop."""
    bucket = int(sha256_text(text.strip().lower(), digits=8), 16) % 10
    return "test" if bucket == 9 else "dev" if bucket == 8 else "train"


@dataclass(frozen=True)
class Shop:
    """A shop's data. Load one with `qr_env.shop.load_shop`.

    Missing optional columns of the tables are filled; nulls become "" or NaN.

    Raises:
        DataError: a column is missing or unknown, or qrels or a slice does not have the shape of the tables.
        ConfigError: an unknown language.
    """

    name: str
    """Name of the source, for reports; no part of the hash."""
    products: pa.Table
    """Columns of `PRODUCT_SCHEMA`; text is "" and price NaN where unknown."""
    queries: pa.Table
    """Columns of `QUERY_SCHEMA`; frequency in searches."""
    qrels: sp.csr_matrix
    """(queries, products) int8, level + 1 of each graded pair (1 Irrelevant … 4 Exact), 0 ungraded."""
    purchases: pa.Table
    """Columns of `PURCHASE_SCHEMA`, one row per purchase."""
    qrels_complete: bool = False
    """Whether every pair is graded, and a pair that is not stored is Irrelevant (the generated shop)."""
    oracle: dict[str, str] = field(default_factory=dict)
    """Query id → the best rewrite by construction (the generated shop only)."""
    slices: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    """Slice name → (queries,) bool: groups of queries to report on, such as "typo" or "held-out words"."""
    language: str = "en"
    """Code of the language of its texts (`qr_env.language.codes`), "mul" for several: it decides which words are
    equal (`tokenizer`)."""
    joined_ids: pa.Table = field(default_factory=JOINED_SCHEMA.empty_table, compare=False)
    """`id` of a line of the queries file, and `query_id` of the query of the same text that it was joined with."""
    report: LoadReport | None = field(default=None, compare=False)
    """Rows and columns that the loader read, left out and renamed; None for a shop built in memory."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "language", language(self.language).code)
        for name, schema in (("products", PRODUCT_SCHEMA), ("queries", QUERY_SCHEMA), ("purchases", PURCHASE_SCHEMA)):
            object.__setattr__(self, name, conform(getattr(self, name), schema, name))
        shape = (len(self.queries), len(self.products))
        object.__setattr__(self, "qrels", _canonical(self.qrels, shape))
        for name, mask in self.slices.items():
            if mask.shape != shape[:1]:
                raise DataError(f"slice {name!r} has shape {mask.shape}, but there are {shape[0]} queries")

    def __repr__(self) -> str:
        return f"Shop({self.name!r}, {len(self.products):,} products, {len(self.queries):,} queries)"

    @cached_property
    def hash(self) -> str:
        """SHA-256 over products, queries, qrels and purchases: the key of caches and runs.

        It depends on the order of products and queries, since rows are addresses. It does not depend on the order of
        columns, qrels or purchases, on chunking, or on the file format that the shop was read from.
        """
        digest = hashlib.sha256(self.products_hash.encode())
        _hash_table(digest, self.queries, QUERY_SCHEMA)
        for part, dtype in ((self.qrels.indptr, "<i8"), (self.qrels.indices, "<i8"), (self.qrels.data, "<i1")):
            digest.update(np.ascontiguousarray(part, dtype=dtype).data)
        digest.update(bytes([self.qrels_complete]))
        purchases = self.purchases.sort_by([(name, "ascending") for name in PURCHASE_SCHEMA.names])
        _hash_table(digest, purchases, PURCHASE_SCHEMA)
        return digest.hexdigest()

    @cached_property
    def products_hash(self) -> str:
        """SHA-256 over the products alone, in row order, and their language: the key of indexes."""
        digest = hashlib.sha256(b"" if self.language == "en" else self.language.encode())
        _hash_table(digest, self.products, PRODUCT_SCHEMA)
        return digest.hexdigest()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Words and index terms of the shop's texts, by its language."""
        return tokenizer(self.language)

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

    def purchase_rows(self, source: str | None = None, split: str | None = None) -> tuple[Rows, Rows]:
        """(query row, product row) of every purchase with a known query and product, in log order.

        source: only "search" or only "outside" purchases. split: only purchases for queries of this split.
        """
        log = self.purchases
        if source is not None:
            log = log.filter(pa.compute.equal(log["source"], source))
        query_N = _places(log["query_id"], self.queries["query_id"])
        product_N = _places(log["product_id"], self.products["product_id"])
        known_N = (query_N >= 0) & (product_N >= 0)
        if split is not None:
            in_split = np.append(np.asarray(self.queries["split"].to_pylist()) == split, False)  # [-1]: no query
            known_N &= in_split[query_N]
        return query_N[known_N], product_N[known_N]

    def purchases_of(self, queries: Sequence[Query]) -> tuple[Rows, Rows]:
        """(position in `queries`, product row) of every purchase for one of these queries, in log order."""
        query_N, product_N = self.purchase_rows()
        position = np.full(len(self.queries), -1, np.int64)  # query row → position in `queries`
        position[[query.row for query in queries if query.row >= 0]] = [
            at for at, query in enumerate(queries) if query.row >= 0
        ]
        wanted_N = position[query_N] >= 0
        return position[query_N[wanted_N]], product_N[wanted_N]

    def product(self, row: int) -> Product:
        """The product at `row`, as an object."""
        values = self.products.slice(row, 1).to_pylist()[0]
        return Product(row=row, id=values.pop("product_id"), **values)

    def levels(self, query_rows_N: Sequence[int] | npt.NDArray[np.int_], rows_NK: npt.NDArray[np.int32]) -> np.ndarray:
        """Level of each pair, (N, K) int8: 0 Irrelevant … 3 Exact, -1 where ungraded or padding.

        Raises:
            IndexError: a query row or product row is out of range. ValueError: not one query row per list.
        """
        from qr_env.shop import levels_kernel  # noqa: PLC0415 - loads numba

        query_N = np.asarray(query_rows_N, np.int64).reshape(-1)
        rows_NK = np.ascontiguousarray(rows_NK, np.int32)
        if len(query_N) != len(rows_NK):
            raise ValueError(f"{len(query_N)} query rows for {len(rows_NK)} lists of products")
        self._check_rows(query_N, rows_NK)
        levels_NK = np.empty(rows_NK.shape, np.int8)
        levels_kernel.fill_levels(*self._labels, query_N, rows_NK, 0 if self.qrels_complete else -1, levels_NK)
        return levels_NK

    @cached_property
    def _labels(self) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
        """indptr, indices and data of `qrels`, in the dtypes of the compiled loop."""
        matrix = self.qrels
        return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32, copy=False), matrix.data

    def _check_rows(self, query_rows: npt.NDArray[np.int64], rows: npt.NDArray[np.int32]) -> None:
        for what, values, size in (("query", query_rows, len(self.queries)), ("product", rows, len(self.products))):
            if values.size and values.max() >= size:
                raise IndexError(
                    f"{what} row {values.max()} is out of range, the shop has {size:,}: is it of another shop?"
                )


def _places(names: pa.ChunkedArray, among: pa.ChunkedArray) -> Rows:
    """Position of each name in `among`, -1 where it is absent."""
    at = pa.compute.index_in(names, value_set=among.combine_chunks())
    return np.asarray(pa.compute.fill_null(at, -1).to_numpy()).astype(np.int64)


def conform(table: pa.Table, schema: pa.Schema, what: str = "table") -> pa.Table:
    """The table with the columns and types of the schema, without nulls; missing optional columns are filled.

    Raises:
        DataError: the first column (the key) is missing, or there is an unknown column.
    """
    if unknown := set(table.column_names) - set(schema.names):
        raise DataError(f"{what}: unknown columns {sorted(unknown)}; known are {schema.names}")
    if schema.names[0] not in table.column_names:
        raise DataError(f"{what}: no column {schema.names[0]!r}; there are {table.column_names}")
    return pa.table([_conform_column(table, field) for field in schema], schema=schema)


_DEFAULTS: dict[str, str | float] = {"frequency": 1.0, "price": float("nan"), "source": "search"}


def _conform_column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    default = pa.scalar(_DEFAULTS.get(field.name, ""), field.type)
    if field.name not in table.column_names:
        return pa.chunked_array([pa.repeat(default, len(table))], field.type)
    column = table[field.name].cast(field.type)
    return column.fill_null(default) if column.null_count else column


def _canonical(qrels: sp.spmatrix, shape: tuple[int, int]) -> sp.csr_matrix:
    """Sorted int8 CSR without explicit zeros or duplicates."""
    if qrels.shape != shape:
        raise DataError(f"qrels have shape {qrels.shape}, but the shop has {shape[0]} queries × {shape[1]} products")
    matrix = sp.csr_matrix(qrels, dtype=np.int8)
    if not matrix.has_canonical_format or (matrix.nnz and matrix.data.min() <= 0):
        matrix = matrix.copy()
        matrix.eliminate_zeros()
        matrix.sort_indices()
    if not matrix.has_canonical_format or (matrix.nnz and (matrix.data.min() < 1 or matrix.data.max() > 4)):
        raise DataError("qrels must hold each pair once, as level + 1: 1 Irrelevant … 4 Exact")
    return matrix


def _hash_table(digest: hashlib._Hash, table: pa.Table, schema: pa.Schema) -> None:
    for name in schema.names:
        digest.update(f"\0{name}:{len(table)}:".encode())
        if pa.types.is_floating(table[name].type):
            _hash_numbers(digest, table[name])
        else:
            _hash_texts(digest, table[name])


def _hash_numbers(digest: hashlib._Hash, column: pa.ChunkedArray) -> None:
    """Eight bytes a value; every NaN is the same NaN and −0 is 0."""
    values = column.to_numpy().astype("<f8") + 0.0
    digest.update(np.where(np.isnan(values), np.nan, values).data)


def _hash_texts(digest: hashlib._Hash, column: pa.ChunkedArray) -> None:
    """First the lengths of all values, then all bytes, so that moving a character between cells changes the hash.

    Reads Arrow's buffers in place, with the offsets of slices, chunk after chunk.
    """
    for chunk in column.chunks:
        digest.update(np.ascontiguousarray(np.diff(_offsets(chunk)), dtype="<i8").data)
    for chunk in column.chunks:
        offsets, data = _offsets(chunk), chunk.buffers()[2]
        if data is not None and offsets[-1] > offsets[0]:
            digest.update(memoryview(data)[offsets[0] : offsets[-1]])


def _offsets(chunk: pa.StringArray) -> npt.NDArray[np.int32]:
    """(len + 1,) offsets of the values in the chunk's data buffer."""
    if not len(chunk):
        return np.zeros(1, np.int32)
    return np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
