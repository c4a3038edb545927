"""Read JSON Lines: one object per line, whose keys are the columns.

rows = json_rows(Path("products.jsonl"), lambda keys: {"sku": "product_id", "name": "title"})
names = next(rows)  # our name of each column; then (line, fields or the reason, value) a row
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from qr_env.common.errors import DataError
from qr_env.shop.readers.chunks import Fields, Naming, excerpt, open_text


def json_rows(path: Path, naming: Naming) -> Iterator[Any]:
    """One JSON object per line; the columns are the keys of the first 1,000 objects."""
    with open_text(path, newline="\n") as handle:
        head = list(islice(handle, 1000))
        keys = list(dict.fromkeys(key for line in head for key in _keys(line)))
        if not keys:
            raise DataError(f"{path}: no JSON object in its first {len(head)} lines; JSONL has one object per line")
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
        return f"broken JSON ({getattr(error, 'msg', 'too deep')})", excerpt(line)
    if not isinstance(value, dict):
        return "not a JSON object", excerpt(line)
    fields: Fields = []
    for key, name in names.items():
        field = value.get(key)
        text = field if isinstance(field, str) or field is None else _json_text(field, name)
        if text is None and field is not None:
            return f"{name} has the wrong type ({type(field).__name__})", excerpt(json.dumps(field))
        fields.append(text)
    return fields, ""


def _json_text(value: object, name: str) -> str | None:
    """Numbers as text; attribute lists and objects as flat text; None for other types."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    if name != "attributes":
        return None
    if isinstance(value, dict):
        return " | ".join(f"{key}: {item}" for key, item in value.items())
    return " | ".join(map(str, value)) if isinstance(value, list) else None
