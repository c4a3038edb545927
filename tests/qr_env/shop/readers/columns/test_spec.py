"""Names of columns in one form."""

from __future__ import annotations

import pytest

from qr_env.shop.readers.columns.spec import Spec, plain_name
from qr_env.shop.readers.columns.tables import PRODUCTS, PURCHASES, QRELS, QUERIES


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Body (HTML)", "body_html"),
        ("productId", "product_id"),
        ("product-id", "product_id"),
        ("g:sale_price", "sale_price"),
        ("_source.title", "title"),
        ("_id", "_id"),
        ("Regulärer Preis", "regularer_preis"),
        (" SKU ", "sku"),
        ("表示回数", "表示回数"),
        ("", ""),
    ],
)
def test_plain_names(name: str, plain: str) -> None:
    assert plain_name(name) == plain


@pytest.mark.parametrize("spec", [PRODUCTS, QUERIES, QRELS, PURCHASES])
def test_aliases_are_plain_names_and_occur_once(spec: Spec) -> None:
    for column in spec.columns:
        assert [plain_name(name) for name in column.names] == list(column.names)
        assert len(set(column.names)) == len(column.names)
