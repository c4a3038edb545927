"""CSV, TSV, JSONL, Parquet and TREC files as chunks of text columns, with the line of every row.

Nothing is judged here except what makes a row unreadable: bytes that are not UTF-8, a wrong number of fields, a
quote that is never closed, broken JSON. `rows.py` judges the values.
"""

from __future__ import annotations

import csv
import gc
import json
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qr_env.errors import DataError

CHUNK_ROWS = 65_536
BLOCK = 8 * 1024 * 1024  # characters of CSV that are parsed at once
FIELD_LIMIT = 2 * 1024 * 1024  # characters; longer fields are a quote that was never closed, or no text for a shop

Problem = tuple[int, str, str]  # line, reason, value
Fields = list[str | None]
# Given the file's header, says which column has which name here; columns that are not named are not read.
Naming = Callable[[list[str]], dict[str, str]]


@dataclass
class Chunk:
    """Some rows of a file.

    columns: our name → (N,) strings. lines: (N,) int64, where each row begins, from 1. ordinals: (N,) int64, number
    of the data row from 0, dirty rows counted. problems: rows that could not be read. rows: all of them.
    """

    columns: dict[str, pa.Array]
    lines: npt.NDArray[np.int64]
    ordinals: npt.NDArray[np.int64]
    problems: list[Problem]
    rows: int


def read_chunks(path: Path, naming: Naming) -> Iterator[Chunk]:
    """Read a file by its suffix.

    Raises:
        DataError: no such file, an unknown suffix, no header, or a Parquet file that is damaged.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if suffix in (".csv", ".tsv"):
        yield from _text_chunks(_csv_rows(path, naming))
    elif suffix in (".jsonl", ".ndjson"):
        yield from _text_chunks(_jsonl_rows(path, naming))
    elif suffix in (".trec", ".txt", ".qrels"):
        yield from _text_chunks(_trec_rows(path, naming))
    elif suffix == ".parquet":
        yield from _parquet_chunks(path, naming)
    else:
        raise DataError(f"{path}: unknown format {suffix!r}; known are .csv .tsv .jsonl .parquet and .trec for qrels")


# -- text formats: an iterator whose first item is our column names, then (line, fields or the reason, value) a row ---

Row = tuple[int, Fields | str, str]


def _text_chunks(rows: Iterator[Any]) -> Iterator[Chunk]:
    """At least one chunk, which is empty when the file has a header only."""
    names: list[str] = next(rows)
    first, more = 0, True
    while more:
        with _no_garbage_hunt():
            block = list(islice(rows, CHUNK_ROWS))
            more = len(block) == CHUNK_ROWS
            chunk = _text_chunk(names, block, first) if block or not first else None
        if chunk is not None:
            yield chunk
        first += len(block)


@contextmanager
def _no_garbage_hunt() -> Iterator[None]:
    """Lists of rows make Python look for cycles again and again: none exist. Saves 40 % of a big CSV's time."""
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
        broken = {line: _broken(fields) for line, fields, _ in good}
        problems += [(line, "not UTF-8", value) for line, value in broken.items() if value]
        good = [row for row in good if not broken[row[0]]]
        columns = _to_arrow(names, [fields for _, fields, _ in good])
    lines = np.array([row[0] for row in good], np.int64)
    return Chunk(columns, lines, np.array([row[2] for row in good], np.int64), problems, len(block))


def _to_arrow(names: list[str], rows: list[Fields]) -> dict[str, pa.Array]:
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return {name: pa.array(values, pa.string()) for name, values in zip(names, columns, strict=True) if name}


def _broken(fields: Fields) -> str:
    """The first field that is not Unicode, with its bad bytes escaped; "" when all are."""
    for field in fields:
        try:
            (field or "").encode()
        except UnicodeEncodeError as error:
            start = max(0, error.start - 30)
            return ascii((field or "")[start : error.start + 10])
    return ""


def _open_text(path: Path, newline: str) -> IO[str]:
    """Text in which undecodable bytes survive as lone surrogates, so that the row can be named later."""
    with path.open("rb") as handle:
        start = handle.read(4)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: this is UTF-16; save it as UTF-8")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline)


@contextmanager
def _field_limit(limit: int) -> Iterator[None]:
    """csv's limit is global: set it while a file is read, and put it back."""
    before = csv.field_size_limit(limit)
    try:
        yield
    finally:
        csv.field_size_limit(before)


class _Lines:
    """Physical lines of a file; the lines of the record being read can be put back."""

    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle
        self._back: deque[str] = deque()
        self.record: list[str] = []
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._back.popleft() if self._back else next(self._handle)
        self.number += 1
        self.record.append(line)
        return line

    def put_back(self, lines: list[str]) -> None:
        """Make the last lines that were taken the next ones again."""
        self.number -= len(lines)
        self._back.extendleft(reversed(lines))

    def take_block(self) -> list[str]:
        """The next lines, about `BLOCK` characters of them; [] at the end of the file."""
        block = list(self._back) or self._handle.readlines(BLOCK)
        self._back.clear()
        self.number += len(block)
        return block


def _csv_rows(path: Path, naming: Naming) -> Iterator[Any]:
    with _field_limit(FIELD_LIMIT), _open_text(path, newline="") as handle:
        delimiter = _delimiter(path, handle)
        lines = _Lines(handle)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = _csv_header(path, reader)
        names = naming(header)
        yield [names.get(name, "") for name in header]
        while block := lines.take_block():
            yield from _csv_block(lines, block, delimiter, len(header))


def _csv_block(lines: _Lines, block: list[str], delimiter: str, width: int) -> Iterator[Row]:
    """Rows of a block of lines that was just taken: at once where each line is one good row, else one by one."""
    first, last = lines.number - len(block) + 1, lines.number
    try:
        rows = list(csv.reader(block, delimiter=delimiter, strict=True))
    except csv.Error:
        rows = []
    if len(rows) == len(block) and set(map(len, rows)) == {width}:
        yield from zip(range(first, last + 1), rows, repeat(""))
        return
    lines.put_back(block)
    yield from _csv_records(lines, csv.reader(lines, delimiter=delimiter, strict=True), width, last)


def _delimiter(path: Path, handle: IO[str]) -> str:
    """A comma or a tab by the suffix; a .csv whose first line has no comma may use tabs or semicolons."""
    first = handle.readline()
    handle.seek(0)
    if path.suffix.lower() == ".tsv":
        return "\t"
    return next((mark for mark in (",", "\t", ";") if mark in first), ",")


def _csv_header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise DataError(f"{path}:1: the header cannot be read ({error})") from None
    if not any(header):
        raise DataError(f"{path}: the file is empty; the first line must name the columns")
    return header


def _csv_records(lines: _Lines, reader: Iterator[list[str]], width: int, last: int) -> Iterator[Row]:
    """Rows up to the line `last`. After a row with a broken quote, reading goes on with the next physical line."""
    while lines.number < last:
        lines.record.clear()
        line = lines.number + 1
        try:
            fields: Fields = [*next(reader)]
        except StopIteration:
            return
        except csv.Error:
            yield line, _quote_problem(lines), _start(lines.record[0])
            lines.put_back(lines.record[1:])
            continue
        if len(fields) == width:
            yield line, fields, ""
        elif fields:
            yield line, f"ragged row ({len(fields)} fields, the header has {width})", _start(lines.record[0])


def _quote_problem(lines: _Lines) -> str:
    if len(lines.record) == 1 and len(lines.record[0]) > FIELD_LIMIT:
        return f"a field is too long (the limit is {FIELD_LIMIT:,} characters)"
    return "broken quotes (a quoted field is not closed, or goes on after its closing quote)"


def _start(line: str) -> str:
    return ascii(line.rstrip("\r\n")[:60])


def _jsonl_rows(path: Path, naming: Naming) -> Iterator[Any]:
    """One JSON object a line. The columns are the keys of the first 1,000 objects."""
    with _open_text(path, newline="\n") as handle:
        head = list(islice(handle, 1000))
        keys = list(dict.fromkeys(key for line in head for key in _keys(line)))
        if not keys:
            raise DataError(f"{path}: no JSON object in its first {len(head)} lines; JSONL has one object a line")
        names = naming(keys)
        yield list(names.values())
        handle.seek(0)
        for number, line in enumerate(handle, start=1):
            if line.strip():
                yield number, *_json_fields(line, names)


def _keys(line: str) -> list[str]:
    try:
        value = json.loads(line)
    except ValueError:
        return []
    return list(value) if isinstance(value, dict) else []


def _json_fields(line: str, names: dict[str, str]) -> tuple[Fields | str, str]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"broken JSON ({getattr(error, 'msg', 'too deep')})", _start(line)
    if not isinstance(value, dict):
        return "not a JSON object", _start(line)
    fields: Fields = []
    for key, name in names.items():
        field = value.get(key)
        text = field if isinstance(field, str) or field is None else _json_text(field, name)
        if text is None and field is not None:
            return f"{name} has the wrong type ({type(field).__name__})", _start(json.dumps(field))
        fields.append(text)
    return fields, ""


def _json_text(value: object, name: str) -> str | None:
    """Numbers as text; lists and objects of attributes as a flat text; None for what has the wrong type."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    if name != "attributes":
        return None
    if isinstance(value, dict):
        return " | ".join(f"{key}: {item}" for key, item in value.items())
    return " | ".join(map(str, value)) if isinstance(value, list) else None


def _trec_rows(path: Path, naming: Naming) -> Iterator[Any]:
    """`query_id iteration product_id grade`, separated by white space, as in TREC qrels."""
    names = naming(["query_id", "product_id", "grade"])
    yield [names["query_id"], names["product_id"], names["grade"]]
    with _open_text(path, newline="\n") as handle:
        for number, line in enumerate(handle, start=1):
            fields = line.split()
            if len(fields) == 4:
                yield number, [fields[0], fields[2], fields[3]], ""
            elif fields:
                yield number, f"ragged row ({len(fields)} fields, a TREC qrels line has 4)", _start(line)


# -- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet_chunks(path: Path, naming: Naming) -> Iterator[Chunk]:
    try:
        file = pq.ParquetFile(path, memory_map=True)
        names = naming(file.schema_arrow.names)
        first = 0
        schema = pa.schema([file.schema_arrow.field(name) for name in names])
        empty = [] if file.metadata.num_rows else [pa.RecordBatch.from_pylist([], schema)]
        for batch in chain(empty, file.iter_batches(CHUNK_ROWS, columns=list(names))):
            yield _parquet_chunk(path, batch.rename_columns([names[name] for name in batch.schema.names]), first)
            first += len(batch)
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None


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
    """A column as text, and where its bytes are not UTF-8 (Arrow itself does not look)."""
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
    """Whole numbers only: pandas turns an integer column with a hole into floats, "12.0" is not an id."""
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
