"""Read CSV, TSV, JSONL, Parquet and TREC files as chunks of text columns with line numbers.

    for chunk in read_chunks(Path("products.jsonl"), lambda keys: {"sku": "product_id", "name": "title"}):
        print(chunk.columns["title"][0], chunk.lines[0])

CSV and TSV are read in `delimited.py`, JSONL in `json_rows.py`, Parquet in `parquet.py`, TREC here. Only unreadable
rows are reported here: bytes that are not UTF-8, a wrong number of fields, an unclosed quote, broken JSON. `rows.py`
validates values.
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
from qr_env.shop.readers.chunks import CHUNK_ROWS, Chunk, Fields, Naming, Row, excerpt, open_text
from qr_env.shop.readers.formats.delimited import csv_rows
from qr_env.shop.readers.formats.json_rows import json_rows
from qr_env.shop.readers.formats.parquet import parquet_chunks


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
    if file.suffix in DELIMITED:
        rows = csv_rows(file, naming, report)
    elif file.suffix in JSON:
        rows = json_rows(file, naming)
    elif file.suffix in TREC:
        rows = trec_rows(file, naming) if is_trec(file) else csv_rows(file, naming, report)
    elif file.suffix == ".parquet":
        yield from parquet_chunks(file, naming)
        return
    else:
        raise DataError(
            f"{path}: unknown format {file.suffix!r}; known are .csv .tsv .txt .jsonl .json .parquet (also packed as .gz "
            "or .zip), and .trec for qrels"
        )
    yield from _text_chunks(rows, NotDecoded(file, report))


def files_of(folder: Path, table: str) -> list[Path]:
    """The files of a folder that are named like a table, packed or not, in the order of their names."""
    return sorted(path for path in folder.iterdir() if path.is_file() and _names(path, table))


def _names(path: Path, table: str) -> bool:
    stem, suffix = table_name(path)
    return stem.lower() == table and suffix in (*SUFFIXES, ".zip")


# -- Text formats: an iterator over first our column names, then a `Row` for each row -----------------------


def _text_chunks(rows: Iterator[Any]) -> Iterator[Chunk]:
    """At least one chunk, which is empty when the file has a header only."""
    names: list[str] = next(rows)
    first, more = 0, True
    while more:
        with _garbage_collection_off():
            block = list(islice(rows, CHUNK_ROWS))
            more = len(block) == CHUNK_ROWS
            chunk = _text_chunk(names, block, first) if block or not first else None
        if chunk is not None:
            yield chunk
        first += len(block)


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


def _text_chunk(names: list[str], block: list[Row], first: int) -> Chunk:
    good = [(line, fields, at) for at, (line, fields, _) in enumerate(block, first) if isinstance(fields, list)]
    problems = [(line, fields, value) for line, fields, value in block if isinstance(fields, str)]
    try:
        columns = _to_arrow(names, [fields for _, fields, _ in good])
    except UnicodeEncodeError:
        broken = {line: _invalid_unicode(fields) for line, fields, _ in good}
        problems += [(line, "not UTF-8", value) for line, value in broken.items() if value]
        good = [row for row in good if not broken[row[0]]]
        columns = _to_arrow(names, [fields for _, fields, _ in good])
    lines = np.array([row[0] for row in good], np.int64)
    return Chunk(columns, lines, np.array([row[2] for row in good], np.int64), problems, len(block))


def _to_arrow(names: list[str], rows: list[Fields]) -> dict[str, pa.Array]:
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return {name: pa.array(values, pa.string()) for name, values in zip(names, columns, strict=True) if name}


def _invalid_unicode(fields: Fields) -> str:
    """An excerpt of the first field that is not valid Unicode, escaped; "" if all are valid."""
    for field in fields:
        try:
            (field or "").encode()
        except UnicodeEncodeError as error:
            start = max(0, error.start - 30)
            return ascii((field or "")[start : error.start + 10])
    return ""


def _trec_rows(path: Path, naming: Naming) -> Iterator[Any]:
    """`query_id iteration product_id grade`, separated by white space, as in TREC qrels."""
    names = naming(["query_id", "product_id", "grade"])
    yield [names["query_id"], names["product_id"], names["grade"]]
    with open_text(path, newline="\n") as handle:
        for number, line in enumerate(handle, start=1):
            fields = line.split()
            if len(fields) == 4:
                yield number, [fields[0], fields[2], fields[3]], ""
            elif fields:
                yield number, f"ragged row ({len(fields)} fields, a TREC qrels line has 4)", excerpt(line)
