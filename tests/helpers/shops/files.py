"""A shop read from two files with these texts, and what was read of it.

shop = read(tmp_path, "id,title\\n1,sofa\\n", "query,count\\nsofa,7\\n")
assert rows(shop, "product_id", "title") == [("1", "sofa")]
assert "product_id ← id" in notes(shop)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import read_folder


def read(tmp_path: Path, products: str, queries: str = "query\nsofa\n", name: str = "products.csv") -> Shop:
    """The shop of a folder with these two files."""
    (tmp_path / name).write_text(products, encoding="utf-8")
    (tmp_path / "queries.csv").write_text(queries, encoding="utf-8")
    return read_folder(tmp_path)


def rows(shop: Shop, *names: str) -> list[tuple[Any, ...]]:
    """These columns of the products, by row."""
    return list(zip(*(shop.products[name].to_pylist() for name in names), strict=True))


def notes(shop: Shop) -> str:
    """The notes of its report, which must list no invalid row."""
    assert shop.report is not None
    assert not shop.report.bad_rows
    return "\n".join(shop.report.notes)
