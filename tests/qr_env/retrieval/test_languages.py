"""Searching, repairing and judging in other languages than English."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import scipy.sparse as sp

from agents.suggestions.title_words import TitleStems
from judges.simple.coverage import CoverageJudge
from qr_env.common.errors import IndexMismatchError
from qr_env.query_text.repair import Repair
from qr_env.query_text.spelling import SpellingIndex
from qr_env.retrieval.bm25 import BM25, BM25Settings
from qr_env.retrieval.field_counts import FieldCounts
from qr_env.shop.shop import PURCHASE_SCHEMA, QUERY_SCHEMA, Shop
from tests.helpers.shops.languages import GOODS, language_shop


def shop_of(titles: list[str], language: str) -> Shop:
    products = pa.table({"product_id": [f"p{n}" for n in range(len(titles))], "title": titles})
    matrix = sp.csr_matrix((0, len(titles)), dtype="int8")
    return Shop("made", products, QUERY_SCHEMA.empty_table(), matrix, PURCHASE_SCHEMA.empty_table(), language=language)


@pytest.mark.parametrize("code", GOODS)
def test_every_kind_is_found_by_its_name(code: str) -> None:
    shop = language_shop(code)
    kinds = list(GOODS[code][1])
    hits = BM25.build(shop).search(kinds, k=4)
    for n, rows in enumerate(hits.rows_NK.tolist()):
        assert sorted(rows) == list(range(4 * n, 4 * n + 4)), kinds[n]


@pytest.mark.parametrize(
    ("code", "titles", "query", "found"),
    [
        ("ja", ["電気掃除機", "冷蔵庫", "電話機"], "掃除機", [0, 2]),
        ("ja", ["緑茶", "コーヒー"], "茶", [0]),
        ("zh", ["小米电动牙刷", "电冰箱", "手机壳"], "牙刷", [0]),
        ("ko", ["무선청소기", "냉장고"], "청소기", [0]),
        ("th", ["เครื่องดูดฝุ่นไร้สาย", "ตู้เย็น"], "ดูดฝุ่น", [0]),
        ("de", ["Gartenstühle aus Holz", "Tisch"], "gartenstuhl", [0]),
        ("fr", ["Cafetières italiennes", "Table"], "cafetière", [0]),
        ("es", ["Zapatillas blancas", "Mesa"], "zapatilla blanca", [0]),
        ("ru", ["Чёрные пылесосы", "Стол"], "черный пылесос", [0]),
        ("ar", ["الحذاء الأسود", "ساعة"], "حذاء", [0]),
        ("mul", ["Panasonic電気掃除機", "red sofa"], "掃除機", [0]),
    ],
)
def test_forms_and_parts_of_words_are_found(code: str, titles: list[str], query: str, found: list[int]) -> None:
    shop = shop_of(titles, code)
    rows = BM25.build(shop).search([query], k=3).rows_NK[0]
    assert [row for row in rows.tolist() if row >= 0] == found
    settings = BM25Settings(fields=(("title", 1),))
    counted = FieldCounts.of(shop).restricted([query]).bm25(settings).search([query], 3).rows_NK[0]
    assert [row for row in counted.tolist() if row >= 0] == found


def test_an_index_is_of_one_language(tmp_path: Path) -> None:
    shop = language_shop("de")
    english = replace(shop, language="en")
    built = [BM25.cached(one, tmp_path) for one in (shop, english)]
    assert len(list((tmp_path / "indexes").iterdir())) == 2
    assert built[0].search(["gartenstühle"], 1).rows_NK[0, 0] == 8 and built[1].tokenizer.language.code == "en"
    again = BM25.cached(shop, tmp_path)
    assert again.search(["gartenstühle"], 1).rows_NK[0, 0] == 8
    folder = tmp_path / "saved"
    built[0].save(folder)
    with pytest.raises(IndexMismatchError, match="build the index again"):
        BM25.load(folder, english)


LAMPS = ["Lampenschirm weiß", "Lampe mit Schirm rot", "Lampe mit Schirm blau", "Garten Stuhl rot", "Garten Stuhl blau"]


def test_a_german_compound_is_not_split_across_a_stop_word_nor_where_a_title_has_it() -> None:
    repair = Repair.of(shop_of(LAMPS, "de"))
    assert repair.added_words("lampenschirm") == ()
    assert repair.added_words("gartenstuhl") == ("garten", "stuhl")
    kept = Repair.of(shop_of([*LAMPS, "Gartenstuhl grün"], "de"))
    assert kept.added_words("gartenstuhl") == ()
    # The English rule, whose figures are published, stays.
    assert Repair.of(shop_of(LAMPS, "en")).added_words("gartenstuhl") == ("garten", "stuhl")


def test_misspelled_words_of_other_languages_are_repaired() -> None:
    assert Repair.of(language_shop("ru")).corrected("пылессос") == "пылесос"
    assert Repair.of(language_shop("de")).corrected("waschmachine") == "waschmaschine"
    assert Repair.of(language_shop("fr")).corrected("aspirateurs") == "aspirateurs"  # its stem is known
    assert Repair.of(language_shop("ar")).corrected("كهربئية") == "كهربائية"


@pytest.mark.parametrize(
    ("code", "query"), [("ja", "電氣掃除"), ("zh", "电动刷牙"), ("ko", "전동칫솔기"), ("th", "ตู้เย็")]
)
def test_scripts_without_spaces_are_not_repaired(code: str, query: str) -> None:
    repair = Repair.of(language_shop(code))
    assert repair.added_words(query) == () and repair.corrected(query) == query
    assert SpellingIndex(language_shop(code)).correction(query) == ""
    assert repair.corrected(f"{query} pilips") == f"{query} philips"


@pytest.mark.parametrize("code", ["ja", "zh", "ko", "th", "ru", "de"])
def test_the_coverage_judge_knows_what_a_title_holds(code: str) -> None:
    shop = language_shop(code)
    query = shop.all_queries[4]  # one word
    hits = BM25.build(shop).search([query.text], k=4)
    assert (CoverageJudge(shop).score([query], hits.rows_NK) > 0.9).all()


def test_suggested_words_of_titles_are_whole() -> None:
    shop = language_shop("ja")
    stems = TitleStems(shop.titles, shop.tokenizer, min_titles=2, max_share=1.0)
    assert "電気掃除機" in stems.words and "電気" not in stems.words
    assert stems.presence(["Bosch 電気掃除機"]).nnz == 2
