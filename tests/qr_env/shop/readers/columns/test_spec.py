"""Names of columns in one form."""

from __future__ import annotations

import pytest

from qr_env.shop.readers.columns.spec import Spec, bare_name, plain_name
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


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("Price (USD)", "price"),
        ("price_eur", "price"),
        ("Price,\nEUR (incl. VAT)", "price"),
        ("Preis in EUR", "preis"),
        ("Variant Price €", "variant_price"),
        ("usd", "usd"),
        ("description_all", "description_all"),
    ],
)
def test_a_currency_is_no_part_of_a_name(name: str, bare: str) -> None:
    assert bare_name(name) == bare
