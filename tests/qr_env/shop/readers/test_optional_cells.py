"""An optional cell never costs its row: it is read where its meaning is certain, else unknown with a note."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import read_folder

PRODUCTS = "product_id,title\n1,sofa\n2,lamp\n3,rug\n"


def shop_of(folder: Path, products: str, name: str = "products.csv", queries: str = "query\nlamp\n") -> Shop:
    (folder / name).write_text(products, encoding="utf-8")
    (folder / "queries.csv").write_text(queries, encoding="utf-8")
    shop = read_folder(folder)
    assert shop.report is not None
    assert shop.report.bad_rows == []
    return shop


def parquet_shop(folder: Path, **columns: pa.Array) -> Shop:
    pq.write_table(pa.table(columns), folder / "products.parquet")
    (folder / "queries.csv").write_text("query\nlamp\n")
    return read_folder(folder)


def prices(shop: Shop) -> list[float | None]:
    return [None if math.isnan(price) else price for price in shop.products["price"].to_pylist()]


def notes(shop: Shop, of: str) -> list[str]:
    assert shop.report is not None
    return [note for note in shop.report.notes if f"{of}:" in note]


def test_prices_of_a_merchant_feed(tmp_path: Path) -> None:
    text = "id\ttitle\tprice\nA1\tOak table\t199.00 USD\nA2\tRed lamp\t39.00 USD\nA3\tBlue rug\tcall us\n"
    shop = shop_of(tmp_path, text, "products.tsv")
    assert prices(shop) == [199, 39, None]
    assert notes(shop, "price") == [
        "products.tsv: price: 2 values are written with a currency, which is left out ('199.00 USD', line 2); "
        "1 value is no number ≥ 0, and unknown ('call us', line 4)"
    ]


def test_prices_of_a_german_spreadsheet(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, 'product_id;title;price\n1;Tisch;3,50\n2;Lampe;1.299,00\n3;Bett;"1 299,00 €"\n')
    assert prices(shop) == [3.5, 1299, 1299]
    (note,) = notes(shop, "price")
    assert note.startswith("products.csv: price: a comma is the decimal mark ('3,50', line 2); 1 value")


@pytest.mark.parametrize("rows", [70_000, 10])
def test_the_last_cell_of_a_file_decides_for_its_first(tmp_path: Path, rows: int) -> None:
    """The format is the whole column's, also beyond a chunk: with "12,5" at the end, "1.234" at the start is 1,234."""
    plain = "".join(f"{n};lamp {n};7\n" for n in range(rows))
    shop = shop_of(tmp_path, f"product_id;title;price\na;sofa;1.234\n{plain}b;rug;12,5\n")
    assert prices(shop)[0] == 1234
    (tmp_path / "products.csv").write_text(f"product_id;title;price\na;sofa;1.234\n{plain}b;rug;12.5\n")
    assert prices(read_folder(tmp_path))[0] == 1.234


@pytest.mark.parametrize(
    ("cells", "values", "note"),
    [
        (("$5", "16,50 €", "None"), [5, 16.5, None], "2 values are in 2 currencies ($, €), and not converted"),
        (("12.–", "CHF 5.-", "5 Fr."), [12, 5, 5], "2 values are written with a currency, which is left out"),
        (("5 €", "EUR 6", "7 Euro"), [5, 6, 7], "3 values are written with a currency, which is left out"),
        (("1.299", "2.49", "3.50"), [1.299, 2.49, 3.5], "a point is the decimal mark ('1.299', line 2)"),
        (("1.234", "1,234", "7"), [None, None, 7], "points and commas are used both ways"),
        (("1.299", "899", "2.450"), [1299, 899, 2450], "separate thousands, as no value has a decimal mark"),
        (("12.50", "-3", "5 - 9"), [12.5, None, None], "2 values are no number ≥ 0, and unknown ('-3', line 3)"),
    ],
)
def test_what_was_decided_is_said(tmp_path: Path, cells: tuple[str, ...], values: list[Any], note: str) -> None:
    rows = "".join(f"{n}\titem\t{cell}\n" for n, cell in enumerate(cells))
    shop = shop_of(tmp_path, f"product_id\ttitle\tprice\n{rows}", "products.tsv")
    assert prices(shop) == values
    assert note in notes(shop, "price")[0]


def test_plain_prices_need_no_note(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "product_id,title,price\n1,sofa,5\n2,lamp,5.25\n3,rug,\n")
    assert (prices(shop), notes(shop, "price")) == ([5, 5.25, None], [])


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (("1,234", "56", "7"), [1234, 56, 7]),
        (("1.234", "56", "12.345"), [1234, 56, 12345]),
        (("1 234", "1\u00a0234", "7"), [1234, 1234, 7]),
        (("1.234", "12.5", "7"), [1.234, 12.5, 7]),
        (("<10", "1,234", "many"), [1, 1234, 1]),
        (("0", "-4", ""), [1, 1, 1]),
    ],
)
def test_frequencies_keep_their_query(tmp_path: Path, cells: tuple[str, ...], values: list[float]) -> None:
    rows = "".join(f"query {n}\t{cell}\n" for n, cell in enumerate(cells))
    shop = shop_of(tmp_path, PRODUCTS, queries=f"query\tfrequency\n{rows}")
    assert [query.frequency for query in shop.all_queries] == values


def test_what_a_frequency_of_one_stands_for_is_said(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, PRODUCTS, queries="query\tfrequency\na\t<10\nb\t0\nc\t\nd\t12\n")
    assert notes(shop, "frequency") == [
        "queries.csv: frequency: 1 value is no number ≥ 0, and taken as 1 ('<10', line 2); "
        "1 value is 0, and taken as 1 ('0', line 3); 1 value is empty, and taken as 1 (line 4)"
    ]


def test_other_optional_cells_keep_their_row_too(tmp_path: Path) -> None:
    shop = shop_of(
        tmp_path,
        f"product_id,title,brand,color\n1,sofa,{'x' * 2_001},re\0d\n",
        queries="query,split\nlamp,fold 7\nsofa,Validation\nrug,holdout\n",
    )
    assert shop.products["brand"].to_pylist() == ["x" * 2_000]
    assert shop.products["color"].to_pylist() == ["red"]
    assert [query.split for query in shop.all_queries][1:] == ["dev", "test"]
    assert "longer than 2,000 characters, and cut" in notes(shop, "brand")[0]
    assert "NUL bytes, which are left out" in notes(shop, "color")[0]
    assert "none of train, dev and test, and the query is split by a hash of its text" in notes(shop, "split")[0]


def test_lists_in_every_text_column_of_json_lines(tmp_path: Path) -> None:
    rows = [
        {
            "product_id": 12345678901234567890,
            "title": ["Oak", "table"],
            "description": ["A table for", "the living room."],
            "brand": {"name": "Nord"},
            "category": [["Home", "Tables"]],
            "color": True,
            "attributes": [{"name": "wood", "value": "oak"}],
            "price": [199.0],
        },
        {"product_id": 12.0, "title": "Red lamp", "description": [], "price": {"amount": "5,50", "currency": "EUR"}},
        {"product_id": "3", "title": "Rug", "description": None, "price": 1.234},
    ]
    shop = shop_of(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "products.jsonl")
    assert shop.products["product_id"].to_pylist() == ["12345678901234567890", "12", "3"]
    first = shop.products.slice(0, 1).to_pylist()[0]
    assert first["title"] == "Oak | table"
    assert first["description"] == "A table for | the living room."
    assert (first["brand"], first["category"]) == ("Nord", "Home | Tables")
    assert (first["color"], first["attributes"]) == ("true", "wood: oak")
    assert prices(shop) == [199, 5.5, 1.234]


def test_lists_and_structs_of_parquet(tmp_path: Path) -> None:
    shop = parquet_shop(
        tmp_path,
        product_id=pa.array([1, 2]),
        title=pa.array([["Oak", "table"], ["Red lamp"]], pa.large_list(pa.large_string())),
        attributes=pa.array([[{"name": "color", "value": "red"}], []]),
        description=pa.array([{"a": 1, "b": ["x", "y"]}, None]),
        price=pa.array([[1.234], []]),
    )
    assert shop.titles == ["Oak | table", "Red lamp"]
    assert shop.products["attributes"].to_pylist() == ["color: red", ""]
    assert shop.products["description"].to_pylist() == ["a: 1 | b: x, y", ""]
    assert prices(shop) == [1.234, None]


def test_numbers_of_typed_files_are_never_thousands(tmp_path: Path) -> None:
    shop = parquet_shop(
        tmp_path, product_id=pa.array([1, 2]), title=pa.array(["a", "b"]), price=pa.array([1.234, 2.345])
    )
    assert (prices(shop), notes(shop, "price")) == ([1.234, 2.345], [])


def test_lists_written_into_a_csv_are_joined_and_counted(tmp_path: Path) -> None:
    rows = '1\t[\'Oak table\']\t["Home", "Tables"]\n2\tLamp [OEM]\t[]\n'
    shop = shop_of(tmp_path, f"product_id\ttitle\tcategory\n{rows}", "products.tsv")
    assert shop.titles == ["Oak table", "Lamp [OEM]"]
    assert shop.products["category"].to_pylist() == ["Home | Tables", ""]
    assert notes(shop, "title") == [
        "products.tsv: title: 1 value is written as lists, and joined (\"['Oak table']\", line 2)"
    ]
