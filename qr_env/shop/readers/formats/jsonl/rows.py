"""Read JSON Lines, and JSON documents that hold one list of objects; the columns are the keys of the objects.

rows = json_rows(open_table(Path("products.jsonl")), lambda keys: {"sku": "product_id", "name": "title"})
names = next(rows)  # our name of each column; then blocks of rows

A document is a list of objects, an object with one such list at any depth, or objects that take several lines each;
search engines' dumps are unwrapped by `search_dump.py`.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterator
from itertools import chain, islice
from typing import IO, Any

from qr_env.common.errors import DataError
from qr_env.shop.readers.chunks import Fields, Naming, excerpt
from qr_env.shop.readers.flatten import cell_text
from qr_env.shop.readers.formats.jsonl.document import document_values
from qr_env.shop.readers.formats.jsonl.judgments import expanded
from qr_env.shop.readers.formats.jsonl.search_dump import Value, documents
from qr_env.shop.readers.formats.jsonl.shapes import error_in, inner_key
from qr_env.shop.readers.formats.opening.table_file import TableFile, table_name
from qr_env.shop.readers.formats.opening.undecoded import check_decoded
from qr_env.shop.readers.formats.row_block import in_blocks

HEAD_ROWS = 1_000  # objects whose keys are the columns


class Broken:
    """A line that is no JSON: why, and what stands there."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason, self.text = reason, text


def json_rows(file: TableFile, naming: Naming) -> Iterator[Any]:
    """First our column names, then blocks of rows. DataError where there is no object, or several lists of them."""
    with file.text(newline=None) as handle:
        values = documents(expanded(_values(file, handle, naming)))
        head = list(islice(values, HEAD_ROWS))
        keys = dict.fromkeys(key for _, value in head if isinstance(value, dict) for key in value)
        if not keys:
            raise DataError(
                f"{file.path}: no JSON object in its first {len(head)} lines; JSONL has one object per line"
            )
        check_decoded(file, list(keys))
        try:
            names, inner = naming(list(keys)), ""
        except DataError:
            objects = [value for _, value in head]
            if not (inner := inner_key(objects, naming)):
                if len(head) == 1 and (error := error_in(objects[0])):
                    raise DataError(
                        f"{file.path}: this is a server's answer with an error, no table: {error}; download it again"
                    ) from None
                naming(list(keys))  # its message is about the outer keys
            found = (value[inner] for value in objects if isinstance(value, dict))
            names = naming(list(dict.fromkeys(key for value in found for key in value or ())))
        yield list(names.values())
        yield from in_blocks((line, *_json_fields(value, names, inner)) for line, value in chain(head, values))


def _values(file: TableFile, handle: IO[str], naming: Naming) -> Iterator[Value]:
    """The objects of the file, one a line, or those of a document; a `Broken` where a line is no JSON."""
    first = next((line for line in handle if line.strip()), "")
    if first.lstrip()[:1] not in ("{", "["):
        raise DataError(
            f"{file.path}: this is not JSON, it begins with {excerpt(first)}; "
            f"if it is a table with separators, name it {table_name(file.path)[0]}.csv"
        )
    alone = _parse(first)
    second = next((line for line in handle if line.strip()), "") if not isinstance(alone, Broken) else ""
    handle.seek(0)
    if isinstance(alone, Broken) or not second:
        values = document_values(file.path, handle.read(), naming)
        if values is not None:
            return values
        handle.seek(0)
    return _lines(handle)


def _lines(handle: IO[str]) -> Iterator[Value]:
    return ((number, _parse(line)) for number, line in enumerate(handle, start=1) if line.strip())


def _parse(line: str) -> object:
    """The value of a line, which may end in the comma of a list or be written as Python writes dictionaries."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        text = line.strip().removesuffix(",")
        if text.startswith("{'"):
            return _parse_python(text)
        if text != line.strip():
            return _parse(text)
        return Broken(f"broken JSON ({getattr(error, 'msg', 'too deep')})", excerpt(line))


def _parse_python(text: str) -> object:
    """A dictionary of constants as Python writes it, as in older metadata of Amazon; no code is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on odd backslashes in the text
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return Broken("broken JSON (a Python dictionary that is not closed)", excerpt(text))


def _json_fields(value: object, names: dict[str, str], inner: str) -> tuple[Fields | str, str]:
    """The cells of an object, or of the one that it holds under the key `inner`; else the reason and an excerpt."""
    if isinstance(value, Broken):
        return value.reason, value.text
    if inner and isinstance(value, dict):
        value = value.get(inner)
    if not isinstance(value, dict):
        return "not a JSON object", excerpt(json.dumps(value, default=str))
    fields = [value.get(key) for key in names]
    for at, (field, name) in enumerate(zip(fields, names.values(), strict=True)):
        if field is None or isinstance(field, str):
            continue
        fields[at] = cell_text(field, name)
        if fields[at] is None:
            return f"{name} has the wrong type ({type(field).__name__})", excerpt(json.dumps(field, default=str))
    return fields, ""
