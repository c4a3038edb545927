"""Read CSV, TSV, JSON, Parquet and TREC files as chunks of text columns with line numbers.

    for chunk in read_chunks(Path("products.jsonl"), lambda keys: {"sku": "product_id", "name": "title"}, LoadReport()):
        print(chunk.columns["title"][0], chunk.lines[0])

Each format has a folder or a file: `delimited`, `jsonl`, `parquet.py`, `trec_qrels.py`; `opening` unpacks and decodes.
Only unreadable rows are reported here: bytes of another encoding, a wrong number of fields, an unclosed quote, broken
JSON. `rows.py` validates values.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qr_env.common.errors import DataError
from qr_env.shop.readers.chunks import Chunk, Naming
from qr_env.shop.readers.formats.delimited.rows import csv_rows
from qr_env.shop.readers.formats.jsonl.rows import json_rows
from qr_env.shop.readers.formats.opening.table_file import TableFile, open_table, table_name
from qr_env.shop.readers.formats.opening.undecoded import Undecoded
from qr_env.shop.readers.formats.parquet import parquet_chunks
from qr_env.shop.readers.formats.row_block import RowBlock
from qr_env.shop.readers.formats.trec_qrels import SUFFIXES as TREC
from qr_env.shop.readers.formats.trec_qrels import is_trec, trec_rows
from qr_env.shop.readers.load_report import LoadReport

DELIMITED = (".csv", ".tsv", ".tab", ".psv")
JSON = (".jsonl", ".ndjson", ".json")
TABLE_SUFFIXES = (".parquet", *DELIMITED, *JSON, ".txt")
QRELS_SUFFIXES = (*TABLE_SUFFIXES, ".trec", ".qrels")


def read_chunks(path: Path, naming: Naming, report: LoadReport, table: str = "") -> Iterator[Chunk]:
    """Read a file by its suffix, unpacked if it is packed.

    Args:
        path: the file.
        naming: its header → the columns to read and our names.
        report: has the encoding, and takes notes.
        table: name of the table, which chooses among the files of a zip archive.

    Raises:
        ConfigError: unknown encoding.
        DataError: no such file, an unknown suffix, no table, no header, or a file that is damaged.
    """
    file = open_table(path, report.options.encoding, table)
    report.note(file.note)
    if file.suffix in TREC or (table == "qrels" and file.suffix in (".txt", ".tsv") and is_trec(file)):
        rows = trec_rows(file, naming)
    elif file.suffix in (*DELIMITED, ".txt"):
        rows = csv_rows(file, naming, report)
    elif file.suffix in JSON:
        rows = json_rows(file, naming)
    elif file.suffix == ".parquet":
        yield from parquet_chunks(file, naming)
        return
    else:
        raise DataError(
            f"{path}: unknown format {file.suffix!r}; known are .csv .tsv .txt .jsonl .json .parquet, "
            "each also as .gz or .zip, and .trec for qrels"
        )
    yield from _text_chunks(file, rows, report)


def files_of(folder: Path, table: str, suffixes: tuple[str, ...] = TABLE_SUFFIXES) -> list[Path]:
    """The files of a folder that are named like a table, packed or not, sorted."""
    return sorted(path for path in folder.iterdir() if path.is_file() and _is_named(path, table, suffixes))


def _is_named(path: Path, table: str, suffixes: tuple[str, ...]) -> bool:
    stem, suffix = table_name(path)
    return stem.lower() == table and suffix in (*suffixes, ".zip")


def _text_chunks(file: TableFile, rows: Iterator[Any], report: LoadReport) -> Iterator[Chunk]:
    """The chunks of an iterator over first our column names, then blocks of rows, one at least."""
    names: list[str] = next(rows)
    undecoded = Undecoded(file)
    first = 0
    while True:
        with _garbage_collection_off():
            block: RowBlock | None = next(rows, None)
            chunk = block.to_chunk(names, first, undecoded) if block else None
        if chunk is None:
            break
        yield chunk
        first += chunk.rows
    report.note(undecoded.note())


@contextmanager
def _garbage_collection_off() -> Iterator[None]:
    """Lists of rows trigger the cycle collector often, without any cycles; off, a large CSV takes 40 % less time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
