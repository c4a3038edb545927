"""Text that is no text: words for nothing, HTML, characters that cannot be seen, text that was decoded wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qr_env.retrieval.bm25 import BM25
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.readers.text.clean_text import NOTHING
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import read_folder, write_shop
from qr_env.synthetic.queries import with_catalogue_queries


def shop_of(folder: Path, products: str, queries: str = "query\ncouch\n") -> Shop:
    (folder / "products.csv").write_text(products, encoding="utf-8")
    (folder / "queries.csv").write_text(queries, encoding="utf-8")
    return read_folder(folder, ReadOptions(on_bad_row="skip"))


def notes(shop: Shop) -> str:
    assert shop.report is not None
    return "\n".join(shop.report.notes)


def test_what_stands_for_a_missing_brand_is_no_brand(tmp_path: Path) -> None:
    """Case 11: no made query holds "nan" or "none"."""
    nouns, colors = ("sofa", "lamp", "table", "chair", "rug"), ("red", "blue", "green", "black", "white")
    titles = [f"{color} {noun}" for noun in nouns for color in colors]
    rows = [(title, brand) for title in titles for brand in ("nan", "None", "Nord", "Lux")]
    text = "".join(f"{number},{title},{brand}\n" for number, (title, brand) in enumerate(rows, start=1))
    shop = shop_of(tmp_path, f"product_id,title,brand\n{text}")
    assert set(shop.products["brand"].to_pylist()) == {"", "Nord", "Lux"}
    assert "products.csv: cells that say nothing are read as unknown: 50 of brand ('nan' on line 2)" in notes(shop)
    made = with_catalogue_queries(shop, n=50, seed=0).all_queries[1:]
    assert made
    assert not [query.text for query in made if {"nan", "none"} & set(query.text.split())]


@pytest.mark.parametrize("word", NOTHING)
def test_every_word_for_nothing_is_unknown_in_optional_columns_and_kept_in_a_title(tmp_path: Path, word: str) -> None:
    shop = shop_of(
        tmp_path,
        f"product_id,title,brand,color,category,description,attributes,price\n1,{word},{word},{word},{word},{word},{word},{word}\n",
        f"query,frequency,split\n{word},{word},{word}\nsofa,7,\n",
    )
    (product,) = shop.products.to_pylist()
    assert product["title"] == word
    assert {product[name] for name in ("brand", "color", "category", "description", "attributes")} == {""}
    assert str(product["price"]) in ("nan", "None")
    assert [(query.text, query.frequency) for query in shop.all_queries] == [(word, 1.0), ("sofa", 7.0)]
    assert "products.csv: cells that say nothing are kept: 1 of title" in notes(shop)
    assert "queries.csv: cells that say nothing are kept: 1 of query" in notes(shop)
    assert shop.report is not None
    assert not shop.report.bad_rows


def test_words_for_nothing_inside_a_text_stay(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "product_id,title,brand\n1,naan bread nan,None Such\n2,null modem,N/A Records\n")
    assert shop.titles == ["naan bread nan", "null modem"]
    assert shop.products["brand"].to_pylist() == ["None Such", "N/A Records"]


def test_html_is_read_as_text_and_found(tmp_path: Path) -> None:
    """Case 17: "café" finds "Caf&eacute;", and no index term comes from an entity."""
    rows = "1,Caf&eacute; Table,H&amp;M\n2,27&quot;&nbsp;Monitor,H&amp;M\n3,Red Lamp,Lux\n"
    shop = shop_of(tmp_path, f"product_id,title,brand\n{rows}", "query\ncaf&eacute;\n")
    assert shop.titles == ["Café Table", '27" Monitor', "Red Lamp"]
    assert shop.products["brand"].to_pylist() == ["H&M", "H&M", "Lux"]
    assert shop.all_queries[0].text == "café"
    assert (
        "HTML tags are left out and entities decoded: 2 of title ('Caf&eacute; Table' on line 2), 2 of brand"
        in notes(shop)
    )
    bm25 = BM25.build(shop)
    assert bm25.search(["café"], 1).rows_NK.tolist() == [[0]]
    assert not {"amp", "quot", "nbsp", "eacut", "eacute"} & set(bm25.vocabulary)


def test_html_of_every_column_and_format(tmp_path: Path) -> None:
    (tmp_path / "queries.csv").write_text("query\ncouch\n")
    product = {
        "product_id": "1",
        "title": "Oak &amp; pine <b>table</b>",
        "description": "<p>Solid.</p><ul><li>120 cm<li>brown</ul>",
        "category": "Home &gt; Tables",
        "color": "brown<br>red",
        "attributes": ["<b>Weight:</b> 3&nbsp;kg", "a < b"],
    }
    (tmp_path / "products.jsonl").write_text(json.dumps(product))
    from_json = read_folder(tmp_path).products.to_pylist()
    (tmp_path / "products.jsonl").unlink()
    pq.write_table(pa.Table.from_pylist([product]), tmp_path / "products.parquet")
    shop = read_folder(tmp_path)
    assert str(shop.products.to_pylist()) == str(from_json)  # NaN, the unknown price, is not equal to itself
    (found,) = from_json
    assert (found["title"], found["description"]) == ("Oak & pine table", "Solid. 120 cm brown")
    assert (found["category"], found["color"]) == ("Home > Tables", "brown red")
    assert found["attributes"] == "Weight: 3 kg | a < b"
    assert "('Oak &amp; pine <b>table</b>' on row 1)" in notes(shop)


def test_ids_keep_their_entities_and_a_title_of_tags_alone_is_empty(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "product_id,title\nA&amp;B,sofa\nC,<p></p>&nbsp;\n")
    assert shop.products["product_id"].to_pylist() == ["A&amp;B"]
    assert shop.report is not None
    assert [(bad.line, bad.reason) for bad in shop.report.bad_rows] == [(3, "empty title")]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Wohn\u00adzimmer", "Wohnzimmer"),
        ("so\u200bfa", "sofa"),
        ("\ufeffsofa\u200e", "sofa"),
        ("red\u00a0sofa\u202f3", "red sofa 3"),
        ("red\u3000sofa", "red sofa"),
        ("la\x0bmp\x07", "la mp"),
        ("\x93new\x94 \x80 5", "“new” € 5"),
        ("foo\u200cbar", "foobar"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("ผ้า\u200bพัน", "ผ้า พัน"),
        ("👩\u200d🍳 apron", "👩\u200d🍳 apron"),
        ("one\\ntwo\\r\\nthree", "one two three"),
        ("red\tsofa", "red\tsofa"),
    ],
)
def test_characters_that_cannot_be_seen(tmp_path: Path, text: str, clean: str) -> None:
    shop = shop_of(tmp_path, f'product_id,title\n1,"{text}"\n2,lamp\n')
    assert shop.titles == [clean, "lamp"]
    assert ("1 of title" in notes(shop)) == (text != clean)


def test_an_id_is_the_same_with_and_without_what_cannot_be_seen(tmp_path: Path) -> None:
    (tmp_path / "qrels.csv").write_text("query,product_id,grade\ncouch,1,E\n", encoding="utf-8")
    assert shop_of(tmp_path, "product_id,title\n1\u200b\u00a0,sofa\n").qrels.nnz == 1


def test_what_spreadsheets_do_to_ids(tmp_path: Path) -> None:
    shop = shop_of(
        tmp_path, 'product_id,title\n"=""0012""","=""27"""\n="0013",lamp\n8.71234E+12,sofa\n8.71235E+12,bed\n'
    )
    assert shop.products["product_id"].to_pylist() == ["0012", "0013", "8.71234E+12", "8.71235E+12"]
    assert shop.titles[0] == "27"
    assert "numbers that a spreadsheet has rounded" in notes(shop)
    assert "2 of product_id ('8.71234E+12' on line 4)" in notes(shop)


def test_a_price_may_hold_html(tmp_path: Path) -> None:
    shop = shop_of(tmp_path, "product_id,title,price\n1,sofa,<b>&euro;5.00</b>\n2,lamp,<span>&#8364;6.50</span>\n")
    assert shop.products["price"].to_pylist() == [5.0, 6.5]


def test_text_that_was_decoded_wrongly_is_noted_and_kept(tmp_path: Path) -> None:
    rows = "1,CafÃ© table\n2,Itâ€™s new\n3,27Â° lamp\n4,Ã–l\n5,ÐºÑ€Ð°Ñ\n6,caf\ufffd\n7,SÃO PÂTE MAÇÃ Ñandú\n"
    shop = shop_of(tmp_path, f"product_id,title\n{rows}")
    assert shop.titles[0] == "CafÃ© table"
    assert "text was decoded wrongly before it came here" in notes(shop)
    assert ": 5 of title ('CafÃ© table' on line 2)" in notes(shop)
    assert "characters were lost" in notes(shop)
    assert ": 1 of title ('caf\ufffd' on line 7)" in notes(shop)


def test_clean_text_needs_no_note_and_is_read_again_the_same(tmp_path: Path) -> None:
    rows = '1,"Größe 5 – “new” H&M, a < b 3/4"" <x",AT&T\n2,Żółta lampa,Crème\n3,赤いランプ,ÉTÉ\n'
    shop = shop_of(tmp_path, f"product_id,title,brand\n{rows}")
    assert shop.titles[0] == 'Größe 5 – “new” H&M, a < b 3/4" <x'
    assert not [note for note in notes(shop).splitlines() if note.startswith("products.csv")]
    write_shop(shop, tmp_path / "copy")
    assert read_folder(tmp_path / "copy").hash == shop.hash


def test_counts_are_of_the_whole_file(tmp_path: Path) -> None:
    rows = "".join(f"{n},lamp&amp;{n},{'nan' if n % 2 else 'Lux'}\n" for n in range(70_000))
    shop = shop_of(tmp_path, f"product_id,title,brand\n{rows}")
    assert "70,000 of title ('lamp&amp;0' on line 2)" in notes(shop)
    assert "35,000 of brand ('nan' on line 3)" in notes(shop)
