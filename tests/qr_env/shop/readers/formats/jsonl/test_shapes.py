"""JSON whose rows are not a list of objects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import read_folder

SOFA, LAMP = {"id": 7, "name": "red sofa"}, {"id": 8, "name": "lamp"}


def shop_of(folder: Path, text: str, name: str = "products.json") -> Shop:
    (folder / "products.csv").write_text("product_id,title\n7,red sofa\n")
    (folder / "queries.csv").write_text("query\nsofa\n")
    (folder / f"{Path(name).stem}.csv").unlink()
    (folder / name).write_text(text, encoding="utf-8")
    return read_folder(folder)


@pytest.mark.parametrize(
    "document",
    [
        {"id": [7, 8], "name": ["red sofa", "lamp"]},
        {"id": {"0": 7, "1": 8}, "name": {"0": "red sofa", "1": "lamp"}},
        {"0": SOFA, "1": LAMP},
        {"columns": ["id", "name"], "index": [0, 1], "data": [[7, "red sofa"], [8, "lamp"]]},
        {"schema": {"fields": [{"name": "id", "type": "integer"}, {"name": "name"}]}, "data": [SOFA, LAMP]},
        {"7": {"name": "red sofa", "price": 5}, "8": {"name": "lamp"}},
        {"data": {"products": {"edges": [{"cursor": "a", "node": SOFA}, {"cursor": "b", "node": LAMP}]}}},
        [{"document": SOFA, "score": 2}, {"document": LAMP, "score": 1}],
    ],
)
def test_rows_are_found_in_other_shapes(tmp_path: Path, document: object) -> None:
    shop = shop_of(tmp_path, json.dumps(document))
    assert (shop.products["product_id"].to_pylist(), shop.titles) == (["7", "8"], ["red sofa", "lamp"])


def test_an_export_of_dynamodb(tmp_path: Path) -> None:
    item = {"id": {"S": "A1"}, "name": {"S": "red sofa"}, "price": {"N": "12.5"}, "features": {"L": [{"S": "soft"}]}}
    shop = shop_of(tmp_path, f"{json.dumps({'Item': item})}\n{json.dumps({'Item': {**item, 'id': {'S': 'A2'}}})}\n")
    row = shop.products.to_pylist()[0]
    assert (row["product_id"], row["title"], row["price"], row["attributes"]) == ("A1", "red sofa", 12.5, "soft")


def test_queries_by_their_ids(tmp_path: Path) -> None:
    text = json.dumps({"q1": {"text": "sofa", "freq": 3}, "q2": {"text": "lamp", "freq": 2}})
    shop = shop_of(tmp_path, text, "queries.json")
    assert shop.queries["query_id"].to_pylist() == ["q1", "q2"]


def test_one_object_with_lists_is_one_product(tmp_path: Path) -> None:
    assert shop_of(tmp_path, '{"id": 7, "name": "red sofa", "features": ["soft", "wide"]}').titles == ["red sofa"]


def test_a_wrapper_without_a_product_is_a_dirty_row(tmp_path: Path) -> None:
    lines = (json.dumps({"node": node}) for node in (SOFA, None, LAMP))
    (tmp_path / "queries.csv").write_text("query\nsofa\n")
    (tmp_path / "products.jsonl").write_text("\n".join(lines))
    shop = read_folder(tmp_path, ReadOptions(on_bad_row="skip"))
    assert shop.titles == ["red sofa", "lamp"]
    assert shop.report is not None
    assert [(bad.line, bad.reason) for bad in shop.report.bad_rows] == [(2, "not a JSON object")]
