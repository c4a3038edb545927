"""JSON whose rows are not a list of objects: columns as pandas writes them, objects by id, answers with errors.

rows_of({"id": [1, 2], "name": ["sofa", "lamp"]}, naming)              # [{"id": 1, "name": "sofa"}, …]
rows_of({"p1": {"name": "sofa"}, "p2": {"name": "lamp"}}, naming)      # [{"_id": "p1", "name": "sofa"}, …]
inner_key([{"node": {"id": 1, "name": "sofa"}}], naming)               # "node", where the products stand
error_in({"error": {"code": 401, "message": "no token"}})              # '{"code": 401, "message": "no token"}'
"""

from __future__ import annotations

import json
from typing import Any

from qr_env.common.errors import DataError
from qr_env.shop.readers.chunks import Naming, excerpt

ERRORS = ("error", "errors", "message", "detail", "fault", "exception")
LISTS = ("hits", "docs", "documents", "products", "items", "results", "data", "records", "rows", "edges", "nodes")
Row = dict[str, Any]


def rows_of(document: object, naming: Naming) -> list[Row]:
    """The rows of an object of columns, or of one that has an object for each id; [] for anything else."""
    if not isinstance(document, dict) or not document:
        return []
    split = document.get("columns"), document.get("data")
    if isinstance(split[0], list) and isinstance(split[1], list) and all(isinstance(row, list) for row in split[1]):
        return [dict(zip(map(str, split[0]), row, strict=False)) for row in split[1]]
    cells = list(document.values())
    if all(isinstance(column, list) for column in cells):
        alike = len({len(column) for column in cells}) == 1 and len(cells) > 1 and len(cells[0]) > 1
        scalars = alike and not any(isinstance(cell, dict) for column in cells for cell in column)
        return [dict(zip(document, row, strict=True)) for row in zip(*cells, strict=True)] if scalars else []
    if not all(isinstance(inner, dict) and inner for inner in cells):
        return []
    if names(list(document), naming) is not None and len({tuple(column) for column in cells}) == 1:
        return [{name: column[key] for name, column in document.items()} for key in cells[0]]
    found = names(list(dict.fromkeys(key for inner in cells for key in inner)), naming)
    if found is not None and any(name.endswith("_id") for name in found.values()):
        return cells
    keyed = [{"_id": key, **inner} for key, inner in document.items()]
    return keyed if names(list(dict.fromkeys(key for row in keyed for key in row)), naming) is not None else []


def inner_key(values: list[object], naming: Naming) -> str:
    """The key under which each object holds the object with the columns that are needed; "" if there is none."""
    objects = [value for value in values if isinstance(value, dict)]
    for key in objects[0] if objects else ():
        inner = [value.get(key) for value in objects]
        if any(inner) and all(found is None or isinstance(found, dict) for found in inner):
            keys = list(dict.fromkeys(name for found in inner if isinstance(found, dict) for name in found))
            if names(keys, naming) is not None:
                return str(key)
    return ""


def empty_list(document: object) -> str:
    """Name of a list in which products, queries or the like would stand and which is empty; "" if there is none."""
    for name, inner in document.items() if isinstance(document, dict) else ():
        if inner == [] and name in LISTS:
            return str(name)
        if found := empty_list(inner):
            return f"{name}.{found}"
    return ""


def names(keys: list[str], naming: Naming) -> dict[str, str] | None:
    """The columns among the keys; None where one that is needed is missing."""
    try:
        return naming(keys)
    except DataError:
        return None


def error_in(value: object) -> str:
    """An excerpt of the error that a server has answered with; "" if this is none."""
    if not isinstance(value, dict):
        return ""
    keys = {str(key).lower(): key for key in value}
    found = next((value[keys[name]] for name in ERRORS if name in keys), None)
    return excerpt(found if isinstance(found, str) else json.dumps(found)) if found else ""
