"""Dumps of search engines, and objects inside documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qr_env.shop.sources.files import read_folder
from tests.helpers.shops.files import notes, read, rows

DOCUMENTS = [
    {"_index": "shop", "_id": "7", "_score": 1, "_source": {"name": "red sofa", "categories": ["Home", "Sofas"]}},
    {"_index": "shop", "_id": "8", "_score": 1, "_source": {"name": "lamp", "price": {"amount": 5, "currency": "EUR"}}},
]


BULK = [part for row in DOCUMENTS for part in ({"index": {"_index": "shop", "_id": row["_id"]}}, row["_source"])]


RESPONSE = {"took": 1, "hits": {"total": {"value": 2}, "hits": DOCUMENTS}, "aggregations": {"b": {"buckets": [{}]}}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("products.jsonl", "\n".join(map(json.dumps, DOCUMENTS))),
        ("products.ndjson", "\n".join(map(json.dumps, BULK))),
        ("products.json", json.dumps(RESPONSE)),
        ("products.json", json.dumps(RESPONSE, indent=2)),
        ("products.json", json.dumps(DOCUMENTS)),
    ],
)
def test_a_dump_of_elasticsearch(tmp_path: Path, name: str, text: str) -> None:
    shop = read(tmp_path, text, name=name)
    assert rows(shop, "product_id", "title", "category")[0] == ("7", "red sofa", "Home | Sofas")
    assert rows(shop, "product_id", "title", "price")[1] == ("8", "lamp", 5.0)
    assert f"{name}: product_id ← _id, title ← name, category ← categories, price" in notes(shop)
    assert rows(read_folder(tmp_path / name), "product_id") == [("7",), ("8",)]


def test_names_inside_objects(tmp_path: Path) -> None:
    row = {
        "id": 1,
        "name": {"en": "Red sofa", "de": "Rotes Sofa"},
        "brand": {"id": 3, "name": "Acme"},
        "categories": [{"id": 9, "name": "Home", "slug": "home"}, {"id": 10, "name": "Sofas", "slug": "sofas"}],
        "attributes": [{"name": "Size", "value": "L"}],
    }
    shop = read(tmp_path, json.dumps(row), name="products.jsonl")
    assert rows(shop, "title", "brand", "category", "attributes") == [("Red sofa", "Acme", "Home | Sofas", "Size: L")]


def test_one_document_of_elasticsearch_with_a_list_of_variants(tmp_path: Path) -> None:
    document = {"_id": "7", "_source": {"title": "sofa", "variants": [{"sku": "a"}, {"sku": "b"}]}}
    assert rows(read(tmp_path, json.dumps(document), name="products.json"), "product_id", "title") == [("7", "sofa")]
