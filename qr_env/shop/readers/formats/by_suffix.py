"""Read CSV, TSV, JSON, Parquet and TREC files as chunks of text columns with line numbers.

    for chunk in read_chunks(Path("products.jsonl"), lambda keys: {"sku": "product_id", "name": "title"}, LoadReport()):
        print(chunk.columns["title"][0], chunk.lines[0])

Each format has a file: `delimited.py`, `json_rows.py`, `parquet.py`, `trec_qrels.py`; `table_file.py` unpacks and
decodes. Only unreadable rows are reported here: bytes of another encoding, a wrong number of fields, an unclosed quote,
broken JSON. `rows.py` validates values.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from qr_env.common.errors import DataError
from qr_env.shop.readers.chunks import CHUNK_ROWS, Chunk, Fields, Naming, Row
from qr_env.shop.readers.formats.delimited import csv_rows
from qr_env.shop.readers.formats.json_rows import json_rows
from qr_env.shop.readers.formats.parquet import parquet_chunks
from qr_env.shop.readers.formats.table_file import TableFile, open_table, table_name
from qr_env.shop.readers.formats.trec_qrels import SUFFIXES as TREC
from qr_env.shop.readers.formats.trec_qrels import is_trec, trec_rows
from qr_env.shop.readers.formats.undecoded import Undecoded
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


# -- Text formats: an iterator over first our column names, then a `Row` for each row -----------------------


def _text_chunks(file: TableFile, rows: Iterator[Any], report: LoadReport) -> Iterator[Chunk]:
    """At least one chunk, which is empty when the file has a header only."""
    names: list[str] = next(rows)
    undecoded = Undecoded(file)
    first, more = 0, True
    while more:
        with _garbage_collection_off():
            block = list(islice(rows, CHUNK_ROWS))
            more = len(block) == CHUNK_ROWS
            chunk = _text_chunk(names, block, first, undecoded) if block or not first else None
        if chunk is not None:
            yield chunk
        first += len(block)
    if note := undecoded.note():
        report.note(note)


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


def _text_chunk(names: list[str], block: list[Row], first: int, undecoded: Undecoded) -> Chunk:
    good = [(line, fields, at) for at, (line, fields, _) in enumerate(block, first) if isinstance(fields, list)]
    problems = [(line, fields, value) for line, fields, value in block if isinstance(fields, str)]
    try:
        columns = _to_arrow(names, [fields for _, fields, _ in good])
    except UnicodeEncodeError:
        broken = [_not_encodable(fields) for _, fields, _ in good]
        problems += [
            (line, undecoded.reason(text), ascii(text)) for (line, _, _), text in zip(good, broken, strict=True) if text
        ]
        good = [row for row, text in zip(good, broken, strict=True) if not text]
        columns = _to_arrow(names, [fields for _, fields, _ in good])
    lines = np.array([row[0] for row in good], np.int64)
    return Chunk(columns, lines, np.array([row[2] for row in good], np.int64), problems, len(block))


def _to_arrow(names: list[str], rows: list[Fields]) -> dict[str, pa.Array]:
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return {name: pa.array(values, pa.string()) for name, values in zip(names, columns, strict=True) if name}


def _not_encodable(fields: Fields) -> str:
    """An excerpt of the first field that is not valid Unicode; "" if all are valid."""
    for field in fields:
        try:
            (field or "").encode()
        except UnicodeEncodeError as error:
            start = max(0, error.start - 30)
            return (field or "")[start : error.start + 10]
    return ""
