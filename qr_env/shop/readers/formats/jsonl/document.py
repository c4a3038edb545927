"""Find the rows of a JSON document: a list of objects, one such list inside an object, or objects over several lines.

for line, value in document_values(path, '{"products": [\\n{"id": 1, "title": "sofa"}]}', naming):
    print(line, value)      # 2 {'id': 1, 'title': 'sofa'}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from qr_env.common.errors import DataError
from qr_env.shop.readers.chunks import Naming
from qr_env.shop.readers.formats.jsonl.judgments import nested_grades
from qr_env.shop.readers.formats.jsonl.search_dump import HITS, unwrapped
from qr_env.shop.readers.formats.jsonl.shapes import ERRORS, empty_list, error_in, rows_of

MAX_DEPTH = 4  # of the list inside objects, as in {"hits": {"hits": [...]}}
Found = list[tuple[int, object]]  # position in the text and value of each element
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


def document_values(path: Path, text: str, naming: Naming) -> Iterator[tuple[int, object]] | None:
    """(line, value) of each row of a document; None if the text is no JSON document, but perhaps JSON Lines.

    Raises:
        DataError: a list breaks off, or the document holds several lists of objects or columns instead of rows.
    """
    start = _skip(text, 0)
    if text[start] == "[":
        found = _elements(path, text, start)
        after = _skip(text, found[1])
        return _with_lines(text, found[0]) if after == len(text) else None
    try:
        values = _sequence(text)
    except (ValueError, RecursionError):
        return None
    if len(values) > 1 or _is_row(values[0][1], naming):
        return _with_lines(text, values)
    return _with_lines(text, _only_list(path, text, start, values[0][1], naming))


def _is_row(value: object, naming: Naming) -> bool:
    """Whether the keys of an object are columns of the table that is read."""
    value = unwrapped(value)
    if not isinstance(value, dict):
        return True
    try:
        naming(list(value))
    except DataError:
        return False
    return not rows_of(value, naming) and not all(isinstance(cells, dict) for cells in value.values())


def _only_list(path: Path, text: str, start: int, document: object, naming: Naming) -> Found:
    """The elements of the one list of objects in an object, or the rows that its columns make."""
    if rows := rows_of(document, naming) or nested_grades(document):
        return [(start, row) for row in rows]
    lists = dict(_lists(path, text, start, "", 0))
    outer = {name.split(".")[0].lower() for name in lists}
    if outer <= set(ERRORS) and (error := error_in(document)):
        raise DataError(f"{path}: this is a server's answer with an error, no table: {error}; download it again")
    if not lists and (name := empty_list(document)):
        raise DataError(f"{path}: no rows in this JSON, its list {name!r} is empty")
    if not lists and isinstance(document, dict) and all(isinstance(cells, dict) for cells in document.values()):
        raise DataError(f"{path}: no rows in this JSON; pandas writes rows with to_json(orient='records')")
    if not lists:
        return [(start, document)]
    if HITS in lists:
        return lists[HITS]
    if "schema.fields" in lists and "data" in lists:  # pandas, orient="table"
        return lists["data"]
    if len(lists) > 1:
        raise DataError(
            f"{path}: this JSON holds several lists of objects ({', '.join(lists)}); keep the one that is meant"
        )
    return next(iter(lists.values()))


def _lists(path: Path, text: str, start: int, name: str, depth: int) -> Iterator[tuple[str, Found]]:
    """Name and elements of each list of objects within the object that begins at `start`."""
    at = _skip(text, start + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        inner = f"{name}.{key}".strip(".")
        if text[at] == "[":
            elements, end = _elements(path, text, at)
            if any(isinstance(value, dict) for _, value in elements):
                yield inner, elements
            at = end
        else:
            if text[at] == "{" and depth < MAX_DEPTH:
                yield from _lists(path, text, at, inner, depth + 1)
            _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at


def _elements(path: Path, text: str, start: int) -> tuple[Found, int]:
    """The elements of the list that begins at `start`, and where it ends."""
    found: Found = []
    at = _skip(text, start + 1)
    while text[at : at + 1] != "]":
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise _broken(path, text, at, getattr(error, "msg", "too deep")) from None
        found.append((at, value))
        at = _skip(text, end)
        if text[at : at + 1] not in (",", "]"):
            raise _broken(path, text, at, "a comma or the end of the list is missing")
        at = _skip(text, at + 1) if text[at] == "," else at
    return found, at + 1


def _broken(path: Path, text: str, at: int, why: str) -> DataError:
    line = text.count("\n", 0, at) + 1
    return DataError(f"{path}:{line}: broken JSON ({why}); the rest of the list cannot be read: write the file again")


def _sequence(text: str) -> Found:
    """JSON values one after the other."""
    found: Found = []
    at = _skip(text, 0)
    while at < len(text):
        value, end = _DECODER.raw_decode(text, at)
        found.append((at, value))
        at = _skip(text, end)
    return found


def _with_lines(text: str, found: Found) -> Iterator[tuple[int, object]]:
    line, before = 1, 0
    for at, value in found:
        line += text.count("\n", before, at)
        before = at
        yield line, value


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
