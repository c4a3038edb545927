"""Read Parquet files as chunks of text columns with row numbers.

for chunk in parquet_chunks(open_table(Path("products.parquet")), lambda header: {"sku": "product_id"}):
    print(chunk.columns["product_id"][0], chunk.rows)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qr_env.common.errors import DataError
from qr_env.shop.readers.chunks import CHUNK_ROWS, Chunk, Naming
from qr_env.shop.readers.formats.table_file import TableFile


def parquet_chunks(table: TableFile, naming: Naming) -> Iterator[Chunk]:
    """Yield at least one chunk; DataError for a damaged file or a nested or boolean column."""
    path = table.path
    try:
        file = _open(table)
        names = naming(file.schema_arrow.names)
        first = 0
        schema = pa.schema([file.schema_arrow.field(name) for name in names])
        empty = [] if file.metadata.num_rows else [pa.RecordBatch.from_pylist([], schema)]
        for batch in chain(empty, file.iter_batches(CHUNK_ROWS, columns=list(names))):
            yield _parquet_chunk(path, batch.rename_columns([names[name] for name in batch.schema.names]), first)
            first += len(batch)
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None


def _open(table: TableFile) -> pq.ParquetFile:
    if table.path.suffix.lower() == ".parquet":
        return pq.ParquetFile(table.path, memory_map=True)
    with table.binary() as handle:
        return pq.ParquetFile(pa.BufferReader(handle.read()))


def _parquet_chunk(path: Path, batch: pa.RecordBatch, first: int) -> Chunk:
    columns, broken = {}, np.zeros(len(batch), bool)
    for name in batch.schema.names:
        columns[name], bad = _parquet_text(path, name, batch.column(name))
        broken |= bad
    ordinals = np.arange(first, first + len(batch), dtype=np.int64)
    problems = [(int(line), "not UTF-8", "") for line in ordinals[broken] + 1]
    if problems:
        keep = pa.array(~broken)
        columns = {name: values.filter(keep) for name, values in columns.items()}
    return Chunk(columns, ordinals[~broken] + 1, ordinals[~broken], problems, len(batch))


def _parquet_text(path: Path, name: str, values: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """A column as text, and a mask of values that are not UTF-8 (Arrow does not check)."""
    good = np.zeros(len(values), bool)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_floating(values.type) and _integral(values):
        values = values.cast(pa.int64())
    if pa.types.is_list(values.type) and name == "attributes":
        values = pc.binary_join(values.cast(pa.list_(pa.string())), " | ")
    if pa.types.is_nested(values.type) or pa.types.is_boolean(values.type):
        raise DataError(f"{path}: the column of {name!r} has type {values.type}; it must hold text or numbers")
    try:
        text = values.cast(pa.string())
        text.validate(full=True)
        return text, good
    except pa.ArrowInvalid:
        rows = values.cast(pa.binary()).to_pylist()
        texts = [_decode(row) for row in rows]
        bad = [text is None and row is not None for text, row in zip(texts, rows, strict=True)]
        return pa.array(texts, pa.string()), np.array(bad, bool)


def _integral(values: pa.Array) -> bool:
    """Whether all values are whole: pandas stores integers with missing values as floats, and "12.0" is not an id."""
    if not len(values) or values.null_count == len(values):
        return False
    try:
        values.cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def _decode(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
