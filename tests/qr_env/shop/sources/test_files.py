"""Files to shops: every format gives the same shop, every invalid row is reported with file, line and reason."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qr_env.common.errors import BadRowError, ConfigError, DataError
from qr_env.shop.load import load_shop
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.readers.text.clean_text import NOTHING
from qr_env.shop.shop import Shop, split_of
from qr_env.shop.sources.files import read_folder, write_shop
from tests.helpers.fakes import tiny_shop

PRODUCTS: list[dict[str, Any]] = [
    {"product_id": "1", "title": "red sofa", "description": 'Two lines,\nand a "quote"', "price": 199.5},
    {"product_id": "2", "title": "Café Stühle ☕", "description": "", "price": None},
    {"product_id": "3", "title": "lamp, brass", "description": "tall", "price": 20.0},
]
QUERIES = [
    {"query_id": "a", "query": "couch", "frequency": 7.0, "split": "train"},
    {"query_id": "b", "query": "brass lamp", "frequency": 2.5, "split": "test"},
]
QRELS = [
    {"query_id": "a", "product_id": "1", "grade": 3},
    {"query_id": "a", "product_id": "3", "grade": 0},
    {"query_id": "b", "product_id": "3", "grade": 2},
]
PURCHASES = [{"query_id": "b", "product_id": "3", "source": "outside"}, {"query_id": "a", "product_id": "1"}]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([dict.fromkeys(names) | row for row in rows]), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".trec":
        path.write_text("".join(f"{row['query_id']} 0 {row['product_id']} {row['grade']}\n" for row in rows))
    else:
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, names, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)


def folder(tmp_path: Path, products: str = "", queries: str = "query\ncouch\n", **more: str) -> Path:
    """A folder of CSV files with these contents."""
    texts = {"products": products or "product_id,title\n1,sofa\n2,lamp\n", "queries": queries, **more}
    for stem, text in texts.items():
        (tmp_path / f"{stem}.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    return tmp_path


def bad_rows_of(path: Path) -> list[tuple[str, int, str]]:
    """(file, line, reason) of every row that was left out."""
    report = read_folder(path, ReadOptions(on_bad_row="skip")).report
    assert report is not None
    return [(Path(bad.file).name, bad.line, bad.reason.split(" (")[0]) for bad in report.bad_rows]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("qrels", ["same", "trec"])
def test_every_format_gives_the_same_shop(tmp_path: Path, suffix: str, qrels: str) -> None:
    for stem, rows in (("products", PRODUCTS), ("queries", QUERIES), ("purchases", PURCHASES)):
        write(tmp_path / f"{stem}.{suffix}", rows)
    write(tmp_path / f"qrels.{suffix if qrels == 'same' else 'trec'}", QRELS)
    shop = read_folder(tmp_path)
    assert shop.hash == "c524e35465bb0f87f10e90a419ddbac197bbba5c98ef901047fed1ad1470c555"
    assert shop.products["description"][0].as_py() == 'Two lines,\nand a "quote"'
    assert np.isnan(shop.products["price"][1].as_py())
    assert [(query.id, query.text, query.frequency, query.split) for query in shop.all_queries] == [
        ("a", "couch", 7.0, "train"),
        ("b", "brass lamp", 2.5, "test"),
    ]
    np.testing.assert_array_equal(shop.qrels.toarray(), [[4, 0, 1], [0, 0, 3]])
    assert shop.purchases["source"].to_pylist() == ["outside", "search"]
    assert shop.report is not None
    assert shop.report.bad_rows == []
    assert sum(shop.report.rows.values()) == sum(shop.report.kept.values()) == 10


def test_only_products_and_queries_are_needed(tmp_path: Path) -> None:
    shop = load_shop(str(folder(tmp_path, queries="query\ncouch\nbrass lamp\n")))
    assert [(query.id, query.frequency) for query in shop.all_queries] == [("q1", 1.0), ("q2", 1.0)]
    assert [query.split for query in shop.all_queries] == [split_of("couch"), split_of("brass lamp")]
    assert shop.qrels.nnz == len(shop.purchases) == 0


def test_a_single_products_file_is_a_shop_without_queries(tmp_path: Path) -> None:
    shop = load_shop(str(folder(tmp_path) / "products.csv"))
    assert (shop.name, len(shop.products), len(shop.queries)) == ("products", 2, 0)


def test_other_column_names_are_understood_and_reported(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        "SKU,Product Name,Colour,weight\n1,sofa,red,9\n",
        "search-term,count,fold\ncouch,4,validation\n",
        qrels="query,docid,relevance\ncouch,1,S\n",
    )
    shop = read_folder(path)
    assert shop.products["color"].to_pylist() == ["red"]
    assert [(query.frequency, query.split) for query in shop.all_queries] == [(4.0, "dev")]
    assert shop.qrels.toarray().tolist() == [[3]]
    assert shop.report is not None
    line = "products.csv: product_id ← SKU, title ← Product Name, color ← Colour; not used: weight"
    assert line in shop.report.notes


def test_the_exact_name_wins_over_an_alias(tmp_path: Path) -> None:
    shop = read_folder(folder(tmp_path, "id,name,title,product_id\nx,no,sofa,1\n"))
    assert shop.products.to_pylist()[0]["product_id"] == "1"
    assert shop.titles == ["sofa"]


@pytest.mark.parametrize(
    ("label", "level"),
    [
        *(("E", 3), ("s", 2), ("C", 1), ("I", 0), ("Exact", 3), ("Partial", 2), ("substitute", 2)),
        *(("Complement", 1), ("IRRELEVANT", 0), ("0", 0), ("3", 3), ("2.0", 2), (" 1 ", 1)),
    ],
)
def test_labels_as_numbers_letters_or_words(tmp_path: Path, label: str, level: int) -> None:
    shop = read_folder(folder(tmp_path, qrels=f"query,product_id,grade\ncouch,1,{label}\ncouch,2,3\n"))
    assert shop.levels([0], np.array([[0, 1]], np.int32)).tolist() == [[level, 3]]


def test_semicolons_tabs_and_a_byte_order_mark(tmp_path: Path) -> None:
    shop = read_folder(folder(tmp_path, "\ufeffproduct_id;title\n1;sofa\n", "query_id\tquery\n7\tcouch\n"))
    assert shop.titles == ["sofa"]
    assert shop.all_queries[0].id == "7"


BIG = "x" * 1_000_000
INVALID_PRODUCTS = [
    ("1,sofa,1\n,lamp,2\n", 3, "missing product_id"),
    ("1,sofa,1\n  ,lamp,2\n", 3, "missing product_id"),
    ("1,sofa,1\n2,lamp,2\n1,bed,3\n", 4, "duplicate product_id"),
    ("1,,1\n2,lamp,2\n", 2, "empty title"),
    ("1,sofa,1\n2,   ,2\n", 3, "empty title"),
    ("1,sofa,1\n2,caf\udce9,2\n", 3, "not UTF-8"),
    ("1,sofa,1\n2,la\0mp,2\n", 3, "NUL byte in title"),
    ("1,sofa,1\n2\0,lamp,2\n", 3, "NUL byte in product_id"),
    ("1,sofa\n2,lamp,2\n", 2, "ragged row"),
    ("1,sofa,1,9\n2,lamp,2\n", 2, "ragged row"),
    (f"1,sofa,1\n2,{BIG},2\n", 3, "title is too long"),
    (f"1,sofa,1\n2,{'x' * 3_000_000},2\n3,bed,2\n", 3, "a field is too long"),
    ('1,sofa,1\n2,"17 inch tv,2\n3,bed,3\n', 3, "broken quotes"),
    ('1,sofa,1\n2,"tv" 17,2\n3,bed,3\n', 3, "broken quotes"),
    ('1,"so\nfa\n",1\n\n2,,2\n', 6, "empty title"),
]


@pytest.mark.parametrize(("rows", "line", "reason"), INVALID_PRODUCTS, ids=lambda value: str(value)[:24])
def test_each_invalid_product_is_named_by_line_and_reason(tmp_path: Path, rows: str, line: int, reason: str) -> None:
    path = folder(tmp_path, f"product_id,title,price\n{rows}")
    assert bad_rows_of(path) == [("products.csv", line, reason)]
    with pytest.raises(BadRowError, match=rf"products\.csv:{line}: {reason}.*on_bad_row='skip'") as caught:
        read_folder(path)
    assert len(str(caught.value)) < 500
    shop = read_folder(path, ReadOptions(on_bad_row="skip"))
    assert shop.report is not None
    (counts,) = [(rows, shop.report.kept[file]) for file, rows in shop.report.rows.items() if "products" in file]
    assert counts[0] - counts[1] == 1
    assert len(shop.products) == counts[1]


def test_after_a_broken_quote_reading_goes_on_with_the_next_line(tmp_path: Path) -> None:
    rows = "".join(f"{n},lamp {n},1\n" for n in range(2, 200))
    path = folder(tmp_path, f'product_id,title,price\n1,"17 inch tv,2\n{rows}')
    assert bad_rows_of(path) == [("products.csv", 2, "broken quotes")]
    assert len(read_folder(path, ReadOptions(on_bad_row="skip")).products) == 198


def test_the_first_of_several_duplicates_stays_and_is_named(tmp_path: Path) -> None:
    shop = read_folder(
        folder(tmp_path, "product_id,title\n1,sofa\n2,lamp\n1,bed\n1,desk\n"), ReadOptions(on_bad_row="skip")
    )
    assert shop.titles == ["sofa", "lamp"]
    assert shop.report is not None
    assert [bad.reason for bad in shop.report.bad_rows] == ["duplicate product_id (first on line 2)"] * 2


def test_duplicates_across_chunks_are_found(tmp_path: Path) -> None:
    rows = "".join(f"{n},lamp\n" for n in range(70_000))
    path = folder(tmp_path, f"product_id,title\n{rows}5,again\n")
    assert bad_rows_of(path) == [("products.csv", 70_002, "duplicate product_id")]


def test_stop_names_the_first_invalid_row_of_the_file(tmp_path: Path) -> None:
    path = folder(tmp_path, "product_id,title,price\n1,sofa,1\n2,lamp\n3,,1\n1,bed,1\n5,,1\n")
    with pytest.raises(BadRowError, match=r"products\.csv:3: ragged row"):
        read_folder(path)
    assert [line for _, line, _ in bad_rows_of(path)] == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("queries", "line", "reason"),
    [
        ("query_id,query\n1,couch\n,lamp\n", 3, "missing query_id"),
        ("query_id,query\n1,couch\n1,lamp\n", 3, "duplicate query_id"),
        ("query_id,query\n1,couch\n2,\n", 3, "empty query"),
    ],
)
def test_each_invalid_query_is_named(tmp_path: Path, queries: str, line: int, reason: str) -> None:
    path = folder(tmp_path, queries=queries)
    assert bad_rows_of(path) == [("queries.csv", line, reason)]
    with pytest.raises(BadRowError, match=rf"queries\.csv:{line}: {reason}"):
        read_folder(path)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("q1,99,3", "unknown product"),
        ("q9,1,3", "unknown query"),
        ("q1,2,3", "pair graded twice"),
        ("q1,1", "ragged row"),
    ],
)
def test_each_invalid_label_is_named(tmp_path: Path, row: str, reason: str) -> None:
    path = folder(tmp_path, qrels=f"query_id,product_id,grade\nq1,2,C\n{row}\n")
    assert bad_rows_of(path) == [("qrels.csv", 3, reason)]
    with pytest.raises(BadRowError, match=r"qrels\.csv:3: "):
        read_folder(path)
    assert read_folder(path, ReadOptions(on_bad_row="skip")).qrels.toarray().tolist() == [[0, 2]]


def test_invalid_purchases_and_trec_lines_are_named(tmp_path: Path) -> None:
    path = folder(tmp_path, purchases="query_id,product_id,source\nq1,1,shop\nq1,8,search\nq1,1,outside\n")
    (path / "qrels.trec").write_text("q1 0 1 3\nq1 0 2\n\nq1 0 2 9\n")
    assert bad_rows_of(path) == [
        ("qrels.trec", 2, "ragged row"),
        ("purchases.csv", 3, "unknown product"),
    ]


def test_invalid_jsonl_is_named_by_line(tmp_path: Path) -> None:
    lines = [
        '{"product_id": 1, "title": "sofa", "attributes": {"legs": 4, "seats": "two"}}',
        '{"product_id": 2, "title": ',
        "[1, 2]",
        '{"product_id": [3, 4], "title": "two ids"}',
        '{"product_id": {"a": 1, "b": 2}, "title": "an object"}',
        "",
        '{"product_id": 5, "title": "bad \\ud800 surrogate"}',
        '{"product_id": 6, "title": "nul \\u0000"}',
        '{"product_id": 7, "title": "lamp", "price": "abc"}',
        '{"title": "no id"}',
        '{"product_id": 8, "title": "desk", "price": 12, "attributes": ["oak", "tall"]}',
    ]
    folder(tmp_path)
    (tmp_path / "products.csv").unlink()
    (tmp_path / "products.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert bad_rows_of(tmp_path) == [
        ("products.jsonl", 2, "broken JSON"),
        ("products.jsonl", 3, "not a JSON object"),
        ("products.jsonl", 4, "product_id has the wrong type"),
        ("products.jsonl", 5, "product_id has the wrong type"),
        ("products.jsonl", 7, "not UTF-8"),
        ("products.jsonl", 8, "NUL byte in title"),
        ("products.jsonl", 10, "missing product_id"),
    ]
    shop = read_folder(tmp_path, ReadOptions(on_bad_row="skip"))
    assert shop.products["product_id"].to_pylist() == ["1", "7", "8"]
    assert shop.products["attributes"].to_pylist() == ["legs: 4 | seats: two", "", "oak | tall"]


def test_invalid_parquet_is_named_by_row(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "products.csv").unlink()
    titles = pa.Array.from_buffers(pa.string(), 3, pa.array([b"sofa", b"caf\xe9", None], pa.binary()).buffers())
    table = pa.table({"product_id": pa.array([1.0, 2.0, 3.0]), "title": titles})
    pq.write_table(table, tmp_path / "products.parquet")
    assert bad_rows_of(tmp_path) == [("products.parquet", 2, "not UTF-8"), ("products.parquet", 3, "empty title")]
    with pytest.raises(BadRowError, match=r"products\.parquet, row 2: not UTF-8"):
        read_folder(tmp_path)
    assert read_folder(tmp_path, ReadOptions(on_bad_row="skip")).products["product_id"].to_pylist() == ["1"]


def test_the_report_keeps_every_row_and_sums_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = "".join(f"{n},,1\n" for n in range(2, 12))
    shop = load_shop(
        str(folder(tmp_path, f"product_id,title,price\n1,sofa,1\n{rows}20,lamp,1,2\n")),
        options=ReadOptions(on_bad_row="skip"),
    )
    assert shop.report is not None
    report = json.loads(json.dumps(shop.report.to_json()))
    assert len(report["bad_rows"]) == 11
    assert report["bad_rows"][-1]["value"] == "'20,lamp,1,2'"
    assert report["by_reason"] == {"products.csv: empty title": 10, "products.csv: ragged row": 1}
    assert "11 of 13 rows were invalid and left out" in caplog.text
    assert "10  products.csv: empty title (line 3, 4, 5, …)" in caplog.text


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"products": "name\nsofa\n"}, r"no column for 'product_id' among \['name'\]; accepted names are .*sku"),
        ({"products": "product_id,title,title\n1,a,b\n"}, "occurs 2 times"),
        ({"products": ""}, "file is empty"),
        ({"products": "product_id,title\n"}, "no usable product"),
        ({"products": "product_id,title\n,x\n"}, "no usable product. 1 of 1 rows"),
        ({"queries": "query\n"}, "no usable query"),
        ({"qrels": "product_id,grade\n1,3\n"}, "no column names the query"),
    ],
)
def test_an_unusable_file_raises_with_its_reason(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    path = folder(tmp_path)
    for stem, text in files.items():
        (path / f"{stem}.csv").write_text(text)
    with pytest.raises(DataError, match=reason):
        read_folder(path, ReadOptions(on_bad_row="skip"))


def test_missing_and_ambiguous_files_raise_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no products file .*the folder is empty"):
        read_folder(tmp_path)
    write(folder(tmp_path) / "products.jsonl", PRODUCTS)
    with pytest.raises(DataError, match=r"products\.csv and products\.jsonl both hold the products"):
        read_folder(tmp_path)
    (tmp_path / "products.jsonl").unlink()
    (tmp_path / "products.csv").write_bytes("product_id,title\n1,sofa\n".encode("utf-16"))
    assert read_folder(tmp_path).titles == ["sofa"]
    (tmp_path / "products.csv").rename(tmp_path / "products.parquet")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_folder(tmp_path)
    with pytest.raises(DataError, match=r"unknown format '\.xlsx'"):
        (tmp_path / "shop.xlsx").write_text("product_id,title\n")
        read_folder(tmp_path / "shop.xlsx")


def test_load_shop_rejects_invalid_arguments(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="'nowhere' is no shop: it must be one of generated, generated-v1, icecat, esci, wands"
    ):
        load_shop("nowhere")
    with pytest.raises(ConfigError, match="on_bad_row='warn'"):
        load_shop(str(tmp_path), options=ReadOptions(on_bad_row="warn"))
    with pytest.raises(ConfigError, match="data='x' is only for icecat, esci, wands"):
        load_shop(str(tmp_path), data="x")


def test_a_written_shop_reads_back_the_same(tmp_path: Path) -> None:
    shop = tiny_shop()
    even = np.arange(len(shop.queries)) % 2 == 0
    shop = Shop("odd name", shop.products, shop.queries, shop.qrels, shop.purchases, True, {"x": "y"}, {"even": even})
    write_shop(shop, tmp_path / "deep" / "copy")
    back = read_folder(tmp_path / "deep" / "copy")
    assert back.hash == shop.hash
    assert (back.name, back.qrels_complete, back.oracle) == ("odd name", True, {"x": "y"})
    np.testing.assert_array_equal(back.slices["even"], even)
    (tmp_path / "deep" / "copy" / "shop.json").write_text("{}")
    with pytest.raises(DataError, match=r"shop\.json: not a file of `write_shop`"):
        read_folder(tmp_path / "deep" / "copy")


# Without what `clean_text.py` changes: markup, characters that cannot be seen, and words for nothing.
characters = st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="&<\\ÃÂâÐÑ\ufffc\ufffd")
cells = st.text(characters | st.sampled_from(' "\n\r\t,'), max_size=12).filter(lambda text: text.strip() not in NOTHING)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=6))
def test_any_text_survives_csv_and_keeps_its_line(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    """Whatever the cells hold, quotes and newlines too, the rows come back and an invalid last row has its line."""
    path = tmp_path_factory.mktemp("csv")
    (path / "queries.csv").write_text("query\ncouch\n")
    with (path / "products.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["product_id", "title", "description"])
        writer.writerows([f"p{n}", f"t{title}", text] for n, (title, text) in enumerate(rows))
    with (path / "products.csv").open(encoding="utf-8", newline="") as handle:
        last_line = sum(1 for _ in handle) + 1
    with (path / "products.csv").open("a", encoding="utf-8", newline="") as handle:
        handle.write("p9,,\r\n")
    shop = read_folder(path, ReadOptions(on_bad_row="skip"))
    assert shop.report is not None
    assert [(bad.line, bad.reason) for bad in shop.report.bad_rows] == [(last_line, "empty title")]
    expected = pa.array([f"t{title}" for title, _ in rows]), pa.array([text for _, text in rows])
    for name, values in zip(("title", "description"), expected, strict=True):
        assert shop.products[name].to_pylist() == pa.compute.utf8_trim_whitespace(values).to_pylist()


@pytest.mark.parametrize("block", [1, 20, 64, 1_000])
def test_rows_and_lines_do_not_depend_on_the_size_of_a_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    rows = "".join(
        f'{n},"lamp {n}\nof two lines"\n' if n % 7 == 0 else f'{n},"lamp {n}\n' if n % 11 == 0 else f"{n},lamp {n}\n"
        for n in range(1, 60)
    )
    path = folder(tmp_path, f"product_id,title\n{rows}70,\n71,last,x")
    expected = read_folder(path, ReadOptions(on_bad_row="skip"))
    monkeypatch.setattr("qr_env.shop.readers.formats.delimited.lines.BLOCK", block)
    parts = read_folder(path, ReadOptions(on_bad_row="skip"))
    assert expected.report is not None
    assert parts.report is not None
    assert parts.report.bad_rows == expected.report.bad_rows
    assert parts.hash == expected.hash
    assert [bad.line for bad in expected.report.bad_rows[-2:]] == [rows.count("\n") + 2, rows.count("\n") + 3]
