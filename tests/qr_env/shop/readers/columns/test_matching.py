"""Which column of a file is which: names of search consoles, typing errors, columns that stand in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from qr_env.common.errors import DataError
from tests.helpers.shops.files import notes, read, rows


@pytest.mark.parametrize(
    ("header", "frequency"),
    [
        ("Top queries,Clicks,Impressions,CTR,Position", 100),
        ("Query,Clicks,Impressions,CTR,Position", 100),
        ("Häufigste Suchanfragen,Klicks,Impressionen,Klickrate,Durchschnittliche Position", 100),
        ("Requêtes les plus fréquentes,Clics,Impressions,CTR,Position moyenne", 100),
        ("Consultas principales,Clics,Impresiones,CTR,Posición media", 100),
        ("Query principali,Clic,Impressioni,CTR,Posizione media", 100),
        ("Populairste zoekopdrachten,Klikken,Vertoningen,CTR,Positie", 100),
        ("En popüler sorgular,Tıklama,Görüntüleme,CTR,Ortalama konum", 100),
        ("Nejčastější dotazy,Kliknutí,Zobrazení,CTR,Průměrná pozice", 100),
        ("Vanligaste sökfrågorna,Klick,Visningar,Klickfrekvens,Genomsnittlig position", 100),
        ("Najpopularniejsze zapytania,Kliknięcia,Wyświetlenia,CTR,Pozycja", 100),
        ("인기 검색어,클릭수,노출수,클릭률,평균 게재순위", 100),
        ("热门查询,点击次数,展示次数,点击率,平均排名", 100),
        ("Поисковый запрос,Клики,Показы,CTR,Позиция", 100),
        ("上位のクエリ,クリック数,表示回数,CTR,掲載順位", 100),
        ("Search term,Total users,Event count,Sessions,Engagement rate", 100),
        ("Search term,Campaign,Impr.,Clicks,Avg. CPC", 100),
        ("Keyword,Trend,Avg. monthly searches,Competition,Bid", 100),
        ("Top queries,Clicks,CTR,Position,Device", 10),
        ("Top queries,Last 28 days Clicks,Last 28 days Impressions,CTR,Previous 28 days Impressions", 100),
        ("Internal Search Term,Exits,Searches,Share,Days", 100),
        ("Label,Search results pages,Searches,% Search Exits,Days", 100),
        ("Search Term,Product Clicks,No. of Searches,Share,Days", 100),
        ('"Top 5 values of query.keyword",Products,Count of records,Share,Days', 100),
        ("query.keyword: Descending,Products,Count,Share,Days", 100),
        ("key,products,doc_count,share,days", 100),
    ],
)
def test_search_consoles_count_searches(tmp_path: Path, header: str, frequency: float) -> None:
    shop = read(tmp_path, "product_id,title\n1,sofa\n", f"{header}\nred sofa,10,100,2,3.5\n")
    assert [(query.text, query.frequency) for query in shop.all_queries] == [("red sofa", frequency)]


def test_a_typing_error_in_a_column_name_is_pointed_out(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="'tilte' is like 'title': rename it; accepted names are title, name, product_t"
    ):
        read(tmp_path, "product_id,tilte\n1,sofa\n")
    assert "not used: desciption (is it 'description'? Then rename it)" in notes(
        read(tmp_path, "product_id,title,desciption\n1,sofa,soft\n")
    )


def test_a_file_without_a_header_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the first line looks like data"):
        read(tmp_path, "1,sofa\n2,lamp\n")


def test_an_empty_query_text_beside_an_id_costs_no_label(tmp_path: Path) -> None:
    (tmp_path / "qrels.csv").write_text("query_id,query,product_id,grade\na,,1,3\n")
    shop = read(tmp_path, "product_id,title\n1,sofa\n", "query_id,query\na,couch\n")
    assert shop.qrels.nnz == 1


def test_ms_marco_passages_without_titles(tmp_path: Path) -> None:
    shop = read(tmp_path, json.dumps({"id": 3, "contents": "word " * 100}), name="products.jsonl")
    ((product_id, title, description),) = rows(shop, "product_id", "title", "description")
    assert (product_id, len(title), len(description)) == ("3", 199, 499)


def test_a_file_without_a_count_of_searches_is_said(tmp_path: Path) -> None:
    shop = read(tmp_path, "product_id,title\n1,sofa\n", "query,Pageviews\nsofa,10\n")
    assert (
        "not used: Pageviews; no column says how often a query was searched, so each row counts as one search"
        in notes(shop)
    )


def test_a_message_shows_a_part_of_a_long_header(tmp_path: Path) -> None:
    header = ",".join([f"a column with a name so long that it is no name {number}" for number in range(99)])
    with pytest.raises(DataError) as error:
        read(tmp_path, f"{header}\n", "query\nsofa\n")
    assert len(str(error.value)) < 4_000


@pytest.mark.parametrize("mark", ["^", "~", ":", " "])
def test_another_separator_is_told_and_read_when_named(tmp_path: Path, mark: str) -> None:
    text = f"id{mark}name{mark}price\n1{mark}sofa{mark}5\n"
    with pytest.raises(DataError, match=re.escape(f"put the line sep={mark}")):
        read(tmp_path, text, "query\nsofa\n")
    assert read(tmp_path, f"sep={mark}\n{text}", "query\nsofa\n").titles == ["sofa"]
