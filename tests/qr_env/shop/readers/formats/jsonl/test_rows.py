"""JSON documents are tables too: lists, lists inside objects, objects over several lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qr_env.common.errors import BadRowError, DataError
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import read_folder

SOFA, LAMP = {"product_id": 1, "title": "sofa"}, {"product_id": 2, "title": "lamp"}


def shop_of(folder: Path, text: str, name: str = "products.jsonl", mode: str = "stop") -> Shop:
    (folder / "queries.csv").write_text("query\ncouch\n")
    (folder / name).write_text(text, encoding="utf-8")
    return read_folder(folder, ReadOptions(on_bad_row="skip" if mode == "skip" else "stop"))


@pytest.mark.parametrize("name", ["products.jsonl", "products.json", "products.ndjson"])
@pytest.mark.parametrize(
    "text",
    [
        json.dumps([SOFA, LAMP]),
        json.dumps([SOFA, LAMP], indent=2),
        f"[\n{json.dumps(SOFA)},\n{json.dumps(LAMP)}\n]\n",
        json.dumps({"total": 2, "tags": ["a"], "products": [SOFA, LAMP]}, indent=1),
        json.dumps({"data": {"list": {"items": [SOFA, LAMP]}}, "errors": []}),
        f"{json.dumps(SOFA, indent=2)}\n{json.dumps(LAMP, indent=2)}\n",
        f"{json.dumps(SOFA)}\n\n{json.dumps(LAMP)}",
        f"{json.dumps(SOFA)}\r\n{json.dumps(LAMP)}\r\n",
        f"{json.dumps(SOFA)} {json.dumps(LAMP)}",
        f"  \n{json.dumps([SOFA, LAMP])}",
        f"{json.dumps(SOFA)},\n{json.dumps(LAMP)},\n",
        f"{SOFA}\n{LAMP}\n",
    ],
)
def test_every_form_of_json_gives_the_same_rows(tmp_path: Path, name: str, text: str) -> None:
    assert shop_of(tmp_path, text, name).titles == ["sofa", "lamp"]


def test_one_object_is_one_row_even_with_a_list_of_objects_inside(tmp_path: Path) -> None:
    assert shop_of(tmp_path, json.dumps({**SOFA, "variants": [{"product_id": 7, "title": "red"}]})).titles == ["sofa"]


def test_rows_of_a_document_have_their_lines(tmp_path: Path) -> None:
    text = json.dumps({"products": [SOFA, {"product_id": 2, "title": ""}, 7, LAMP]}, indent=1)
    shop = shop_of(tmp_path, text, mode="skip")
    assert shop.report is not None
    lines = text.splitlines()
    found = [(bad.reason, lines[bad.line - 1].strip(" ,")) for bad in shop.report.bad_rows]
    assert found == [("empty title", "{"), ("not a JSON object", "7")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps([SOFA, LAMP])[:-20], r"products\.jsonl:1: broken JSON .*the rest of the list cannot be read"),
        (f"[\n{json.dumps(SOFA)}\n{json.dumps(LAMP)}\n]", r"products\.jsonl:3: broken JSON \(a comma"),
        (json.dumps({"products": [SOFA], "errors": [{"id": 3}]}), r"several lists of objects \(products, errors\)"),
        (json.dumps({"sizes": {"0": 1}, "titles": {"0": "sofa"}}), r"no rows in this JSON; .*orient='records'"),
        (json.dumps({"errors": [], "error": {"code": 401, "message": "no token"}}), r"an error, .*\"code\": 401"),
        (json.dumps({"error": {"root_cause": [{"type": "index_not_found"}]}, "status": 404}), "answer with an error"),
        (json.dumps({"Code": "AccessDenied", "Message": "Access Denied"}), "with an error, no table: 'Access Denied'"),
        (
            json.dumps({"took": 1, "hits": {"total": 0, "hits": []}}),
            "no rows in this JSON, its list 'hits.hits' is empty",
        ),
        ("[]", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        ("7\n8\n", "this is not JSON, it begins with '7'"),
        ("'product_id'", "this is not JSON"),
        (json.dumps({"message": "Not Found", "status": 404}), "a server's answer with an error, no table: 'Not Found'"),
    ],
)
def test_what_is_no_list_of_objects_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        shop_of(tmp_path, text)


def test_a_broken_first_line_of_json_lines_is_a_dirty_row(tmp_path: Path) -> None:
    text = f'{{"product_id": 1, "title": \n{json.dumps(LAMP)}\n'
    with pytest.raises(BadRowError, match=r"products\.jsonl:1: broken JSON"):
        shop_of(tmp_path, text)
    assert shop_of(tmp_path, text, mode="skip").titles == ["lamp"]


def test_python_dictionaries_run_no_code(tmp_path: Path) -> None:
    lines = ["{'product_id': 1, 'title': \"it's\", 'price': None}", "{'product_id': print(2)}", "{'product_id': 3"]
    shop = shop_of(tmp_path, "\n".join(lines), mode="skip")
    assert shop.titles == ["it's"]
    assert shop.report is not None
    assert [bad.line for bad in shop.report.bad_rows] == [2, 3]
