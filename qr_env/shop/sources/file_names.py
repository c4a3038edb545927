"""Which file of a folder is which table.

    find_table(Path("my_folder"), "products")      # my_folder/products.csv, or my_folder/wc-product-export-1.csv

A file named like the table wins; they are also found under the names that exports give them.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from qr_env.common.errors import DataError
from qr_env.shop.readers.columns.spec import plain_name
from qr_env.shop.readers.formats.by_suffix import DELIMITED, QRELS_SUFFIXES, TABLE_SUFFIXES, files_of
from qr_env.shop.readers.formats.opening.table_file import PACKED_SUFFIXES, table_name

# Stems in the form of `plain_name`; a "*" at the end stands for anything.
OTHER_NAMES = {
    "products": (
        "product",
        "corpus",
        "collection",
        "catalog*",
        "products_export*",
        "product_export*",
        "wc_product_export*",
    ),
    "queries": (
        "query",
        "ubi_queries*",
        "search_terms",
        "suchanfragen",
        "suchbegriffe",
        "requetes",
        "consultas",
        "zoekopdrachten",
    ),
    "qrels": ("qrel", "qrels_*", "labels", "judgments", "judgements", "judgements_*", "judgments_*", "ratings"),
    "purchases": ("purchase", "orders", "ubi_events*"),
}

SURELY_TABLES = (".parquet", *DELIMITED, ".jsonl", ".ndjson", ".trec", ".qrels")  # a .txt or .json may be anything
MOST_NAMES = 5


def find_table(folder: Path, table: str) -> Path | None:
    """The one file of a table, packed or not, or the folder `qrels` of BEIR; None if there is none.

    Raises:
        DataError: several files hold the table.
    """
    suffixes = QRELS_SUFFIXES if table == "qrels" else TABLE_SUFFIXES
    found = files_of(folder, table, suffixes) or _exports(folder, table, suffixes)
    if len(found) > 1:
        raise DataError(
            f"{folder}: {' and '.join(path.name for path in found)} both hold the {table}; keep one of them"
        )
    if not found and table == "qrels" and (folder / table).is_dir():
        return folder / table
    return found[0] if found else None


def find_required(folder: Path, table: str) -> Path:
    """As `find_table`; DataError where there is none."""
    found = find_table(folder, table)
    if found is None:
        other = [path for path in sorted(folder.iterdir()) if path.is_file() and table_name(path)[0].lower() == table]
        if other:  # products.xlsx: reading it says what it is
            return other[0]
        accepted = ", ".join(table + suffix for suffix in TABLE_SUFFIXES)
        parts = [
            path for path in sorted(folder.iterdir()) if path.is_dir() and path.stem.lower() == table and path.suffix
        ]
        if parts:
            raise DataError(f"{parts[0]}: this is a folder of parts, as Spark writes them; join them into one file")
        names = ", ".join(sorted(path.name for path in folder.iterdir())[:10])
        only = (
            "; a products file alone is read by its own name, as a shop without queries" if table == "queries" else ""
        )
        raise DataError(
            f"{folder}: no {table} file ({accepted}, also with .gz, or {table}.zip); "
            f"the folder {f'holds {names}' if names else 'is empty'}{only}"
        )
    return found


def unread_note(folder: Path, read: Iterable[Path | None]) -> str:
    """Which other tables the folder has, that no name gives to a table of the shop; "" if there are none."""
    known = {path for path in read if path is not None}
    left = [
        path.name
        for path in sorted(folder.iterdir())
        if path.is_file() and path not in known and table_name(path)[1] in SURELY_TABLES
    ]
    if not left:
        return ""
    more = f" and {len(left) - MOST_NAMES:,} more" if len(left) > MOST_NAMES else ""
    return (
        f"other tables in the folder, which are not read: {', '.join(left[:MOST_NAMES])}{more}; a shop is "
        "products, queries, qrels (labels) and purchases"
    )


def _exports(folder: Path, table: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Files with one of the table's other names, those of the first name that is there."""
    files = {path: plain_name(table_name(path)[0]) for path in sorted(folder.iterdir()) if path.is_file()}
    tables = {path: stem for path, stem in files.items() if table_name(path)[1] in (*suffixes, *PACKED_SUFFIXES)}
    for name in OTHER_NAMES.get(table, ()):
        if found := [path for path, stem in tables.items() if fnmatchcase(stem, name)]:
            return found
    return []
