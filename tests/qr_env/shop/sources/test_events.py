"""Logs of events as purchases: UBI's two indexes in their forms, analytics exports, words that are no purchase."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qr_env.common.errors import BadRowError
from qr_env.shop.load import load_shop
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop

PRODUCTS = "id,title\nB1,red sofa\nB2,oak table\nB3,blue lamp\n"
SEARCHES = [("s1", "red sofa"), ("s2", "Red  Sofa"), ("s3", "lamp")]
EVENTS = [("s1", "impression", ""), ("s1", "click", "B1"), ("s2", "purchase", "B1"), ("s3", "purchase", "B3")]


def ubi_query(query_id: str, text: str) -> dict[str, Any]:
    return {
        "timestamp": "2025-01-23T13:18:22.274+0000", "query_id": query_id, "client_id": "c", "user_query": text,
        "query": '{"match_all": {}}', "query_response_hit_ids": ["B1", "B2"], "application": "shop",
    }  # fmt: skip


def ubi_event(query_id: str, action: str, product: str) -> dict[str, Any]:
    inner = {"object": {"object_id": product, "object_id_field": "id"}, "position": {"ordinal": 1}} if product else {}
    return {"action_name": action, "query_id": query_id, "session_id": "s", "event_attributes": inner}


def ndjson(rows: list[dict[str, Any]], form: str) -> str:
    """Rows as lines: plain, as a dump with `_source`, or as a bulk file."""
    wrapped = [{"_index": "ubi", "_id": f"d{n}", "_source": row} for n, row in enumerate(rows)]
    bulk = [line for n, row in enumerate(rows) for line in ({"index": {"_id": f"d{n}"}}, row)]
    lines = {"plain": rows, "dump": wrapped, "bulk": bulk}[form]
    return "".join(json.dumps(line) + "\n" for line in lines)


def purchases_of(shop: Shop) -> list[tuple[str, str, str]]:
    rows = shop.purchases.to_pydict()
    return list(zip(rows["query_id"], rows["product_id"], rows["source"], strict=True))


@pytest.mark.parametrize("form", ["plain", "dump", "bulk"])
def test_a_folder_with_the_indexes_of_ubi_is_a_shop(tmp_path: Path, form: str) -> None:
    (tmp_path / "products.csv").write_text(PRODUCTS)
    (tmp_path / "ubi_queries.ndjson").write_text(ndjson([ubi_query(*row) for row in SEARCHES], form))
    (tmp_path / "ubi_events.ndjson").write_text(ndjson([ubi_event(*row) for row in EVENTS], form))
    shop = load_shop(str(tmp_path))
    assert [(query.text, query.frequency) for query in shop.all_queries] == [("red sofa", 2.0), ("lamp", 1.0)]
    assert purchases_of(shop) == [("s1", "B1", "search"), ("s3", "B3", "search")]
    assert shop.report is not None
    left = "ubi_events.ndjson: events that are no purchases, left out: 2: impression (1 ×), click (1 ×)"
    assert left in shop.report.notes


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("purchases.csv", "query,sku,event\nsofa,B1,view\nsofa,B1,Purchase\nlamp,B3,add-to-cart\nlamp,B3,purchase\n"),
        ("orders.csv", "search term;item id;event name\nsofa;B1;purchase\nlamp;;view_item_list\nlamp;B3;buy\n"),
        ("ubi_events.csv", "query,action_name,event_attributes.object.object_id\nsofa,purchase,B1\nlamp,purchase,B3\n"),
        ("purchases.tsv", "query\tproduct_id\nsofa\tB1\nlamp\tB3\n"),
    ],
)
def test_only_purchases_of_a_log_are_purchases(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "products.csv").write_text(PRODUCTS)
    (tmp_path / "queries.csv").write_text("query_id,query\nq1,sofa\nq2,lamp\n")
    (tmp_path / name).write_text(text)
    assert purchases_of(load_shop(str(tmp_path))) == [("q1", "B1", "search"), ("q2", "B3", "search")]


def test_a_purchase_without_a_product_is_named(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text(PRODUCTS)
    (tmp_path / "queries.csv").write_text("query\nsofa\n")
    (tmp_path / "purchases.csv").write_text("query,product_id,event\nsofa,,view\nsofa,,purchase\nsofa,B1,purchase\n")
    with pytest.raises(BadRowError, match=r"purchases\.csv:3: missing product_id"):
        load_shop(str(tmp_path))
    assert len(load_shop(str(tmp_path), options=ReadOptions(on_bad_row="skip")).purchases) == 1
