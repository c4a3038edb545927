"""The columns that a table may have, and which column of a file is which.

    names = match_columns(Path("products.csv"), ["SKU", "Name"], PRODUCTS, report)    # {"SKU": "product_id", ...}

The columns of each table of a shop are in `tables.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from qr_env.common.errors import DataError
from qr_env.shop.readers.load_report import LoadReport

TITLE_LIMIT = 2_000  # characters; the longest real title in ESCI, WANDS and Icecat is under 1,000
TEXT_LIMIT = 100_000  # characters, for descriptions and attributes


@dataclass(frozen=True)
class Column:
    """One column of a table and the rules for its values."""

    name: str
    """Our name."""
    aliases: tuple[str, ...] = ()
    """Other names that it may have in a file."""
    required: bool = False
    """Whether the file must have it."""
    filled: bool = False
    """Whether every row must have a value."""
    kind: str = "text"
    """"text", "price", "frequency", or a key of `WORDS` ("grade", "split", "source")."""
    limit: int = TITLE_LIMIT
    """Maximum length in characters."""
    empty: str = ""
    """Reason reported for an empty value; "" gives "missing NAME"."""


@dataclass(frozen=True)
class Spec:
    """The columns of a table."""

    what: str
    """Name of the table."""
    columns: tuple[Column, ...]
    """Known columns."""
    key: str = ""
    """Column whose values must be unique; "" for none."""


def match_columns(path: Path, header: list[str], spec: Spec, report: LoadReport) -> dict[str, str]:
    """Column of the file → our name. Exact names take precedence over aliases, earlier aliases over later ones.

    Raises:
        DataError: a required column is missing, or a column that is used occurs twice.
    """
    plain = [re.sub(r"[\s\-]+", "_", name.strip().lower()) for name in header]
    found: dict[str, str] = {}
    for column in spec.columns:
        place = next((name for name in (column.name, *column.aliases) if name in plain), None)
        if place is None and column.required:
            known = ", ".join((column.name, *column.aliases))
            raise DataError(f"{path}: no column for {column.name!r} among {header}; accepted names are {known}")
        if place is None or header[plain.index(place)] in found:
            continue
        if plain.count(place) > 1:
            raise DataError(f"{path}: the column {place!r} occurs {plain.count(place)} times: {header}")
        found[header[plain.index(place)]] = column.name
        if place != column.name:
            report.note(f"{path.name}: column {header[plain.index(place)]!r} is read as {column.name!r}")
    if ignored := [name for name in header if name not in found]:
        report.note(f"{path.name}: columns not used: {', '.join(map(repr, ignored))}")
    return found
