"""Read Parquet files as chunks of text columns with row numbers.

for chunk in parquet_chunks(open_table(Path("products.parquet")), lambda header: {"sku": "product_id"}):
    print(chunk.columns["product_id"][0], chunk.rows)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from qr_env.common.errors import DataError
from qr_env.shop.readers.chunks import CHUNK_ROWS, Chunk, Naming
from qr_env.shop.readers.flatten import column_text
from qr_env.shop.readers.formats.opening.table_file import TableFile


def parquet_chunks(table: TableFile, naming: Naming) -> Iterator[Chunk]:
    """Yield at least one chunk; values that are no text become text (`flatten.py`); DataError for a damaged file."""
    path = table.path
    try:
        file = _open(table)
        names = naming(file.schema_arrow.names)
        first = 0
        schema = pa.schema([file.schema_arrow.field(name) for name in names])
        empty = [] if file.metadata.num_rows else [pa.RecordBatch.from_pylist([], schema)]
        for batch in chain(empty, file.iter_batches(CHUNK_ROWS, columns=list(names))):
            yield _parquet_chunk(batch.rename_columns([names[name] for name in batch.schema.names]), first)
            first += len(batch)
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None


def _open(table: TableFile) -> pq.ParquetFile:
    if table.path.suffix.lower() == ".parquet":
        return pq.ParquetFile(table.path, memory_map=True)
    with table.binary() as handle:
        return pq.ParquetFile(pa.BufferReader(handle.read()))


def _parquet_chunk(batch: pa.RecordBatch, first: int) -> Chunk:
    columns, problems = {}, []
    for name in batch.schema.names:
        columns[name], bad = column_text(batch.column(name), name)
        problems += [(first + row + 1, reason, value) for row, reason, value in bad]
    ordinals = np.arange(first, first + len(batch), dtype=np.int64)
    if problems:
        keep = np.isin(ordinals + 1, [line for line, _, _ in problems], invert=True)
        columns = {name: values.filter(pa.array(keep)) for name, values in columns.items()}
        ordinals = ordinals[keep]
    return Chunk(columns, ordinals + 1, ordinals, problems, len(batch))
