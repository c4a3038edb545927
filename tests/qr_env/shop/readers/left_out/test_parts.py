"""Variants and images are parts of their product."""

from __future__ import annotations

from pathlib import Path

import pytest

from qr_env.common.errors import BadRowError
from tests.helpers.shops.files import notes, read, rows


def test_an_untitled_product_of_shopify_is_still_a_dirty_row(tmp_path: Path) -> None:
    with pytest.raises(BadRowError, match=r"products\.csv:2: empty title"):
        read(tmp_path, "Handle,Title,Variant Price\ntee,,19\ntee,,20\nmug,Mug,8\n")


def test_squarespace_leaves_id_and_title_of_variants_empty(tmp_path: Path) -> None:
    header = "Product ID [Non Editable],Variant ID [Non Editable],Title,Description,SKU,Price,Categories\n"
    shop = read(tmp_path, header + "a,b,Tee,Soft,T,20,Shirts\n,c,,,T-M,21,\nd,e,Mug,Hot,M,8,Mugs\n")
    assert rows(shop, "product_id", "title", "price") == [("a", "Tee", 20.0), ("d", "Mug", 8.0)]
    assert "left out: 1 (such as line 3)" in notes(shop)
