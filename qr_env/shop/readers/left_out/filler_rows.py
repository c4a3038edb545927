"""Rows that are no data: blank ones, with which spreadsheets end, and further headers in files that were joined.

table, notes = without_fillers("products.csv", table, {"SKU": "product_id", "Name": "title"})
"""

from __future__ import annotations

from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc


def without_fillers(file: str, table: pa.Table, names: dict[str, str]) -> tuple[pa.Table, list[str]]:
    """Leave out blank rows and repeated headers.

    Args:
        file: name of the file, for the notes.
        table: its columns of text, `line` and `row`.
        names: column of the file → its name in the table.

    Returns:
        The other rows, and a note for each kind.
    """
    read = [name for name in table.column_names if name not in ("line", "row")]
    blank = dict.fromkeys(read, "") if len(read) > 1 else {}  # an empty cell of the only column is a missing value
    header = {ours: name.strip() for name, ours in names.items() if ours in read}
    table, of_blank = _without(table, blank, f"{file}: blank rows left out")
    table, of_headers = _without(table, header, f"{file}: lines that repeat the header left out")
    return table, of_blank + of_headers


def _without(table: pa.Table, cells: dict[str, str], what: str) -> tuple[pa.Table, list[str]]:
    """The rows that do not have exactly these cells, and the note on those that have."""
    if not cells or not len(table):
        return table, []
    # Most files have no such row, which the first column tells.
    first, *others = cells.items()
    alike = pc.equal(table[first[0]], first[1])
    if not pc.any(alike).as_py():
        return table, []
    alike = reduce(pc.and_, (pc.equal(table[name], value) for name, value in others), alike)
    count = pc.sum(alike).as_py()
    if not count:
        return table, []
    line = table["line"].filter(alike)[0].as_py()
    return table.filter(pc.invert(alike)), [f"{what}: {count:,} (the first on line {line:,})"]
