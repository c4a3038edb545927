"""The language of a shop, told from its texts, given, kept and refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qr_env.common.errors import ConfigError
from qr_env.shop.load import load_shop
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.sources.files import write_shop
from qr_env.shop.told_language import tell_language
from tests.helpers.fakes import tiny_shop
from tests.helpers.shops.languages import GOODS, titles, write_files


@pytest.mark.parametrize("code", GOODS)
def test_a_catalogue_tells_its_language(code: str) -> None:
    assert tell_language(titles(code), GOODS[code][1]).code == code


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (["red sofa", "blue lamp", "oak table"], "en"),
        (["HP LaserJet Q5949A", "Canon CLI-8BK", "WD Elements"], "en"),
        (["Häagen-Dazs ice cream", "Nestlé KitKat", "Löwenbräu beer mug", "L'Oréal shampoo for women"], "en"),
        (["Dior Sauvage Eau de Toilette for men", "La Roche Posay sun cream", "Le Creuset cast iron pot"], "en"),
        (["Die cast model car", "Die cutter", "Die grinder"], "en"),
        (["Barn door hardware", "Garden hose reel", "Hand tool box", "Mic stand", "Camper van"], "en"),
        (["iPhone 13 Pro", "iPhone SE", "IR remote", "AR glasses"], "en"),
        (["Einhell Akku-Bohrschrauber TE-CD", "Gardena Schlauchwagen", "Kärcher Hochdruckreiniger"], "de"),
        ([], "en"),
        (["123", "!!"], "en"),
        (["Damen Kleid rot", "Herren Schuhe schwarz"], "de"),
        (["Apple iPhone 13 128 GB schwarz", "Logitech Maus grau", "Bosch Akkuschrauber mit Koffer"], "de"),
        (["Stofzuiger zonder zak zwart", "Stoel met houten poten"], "nl"),
        (["Aspirapolvere senza fili nero", "Scarpe da donna"], "it"),
        (["Aspirador de pó sem fio preto", "Tênis masculino azul"], "pt"),
        (["Odkurzacz bezprzewodowy czarny", "Sukienka damska czerwona"], "pl"),
        (["Kablosuz süpürge siyah", "Kadın ayakkabı beyaz"], "tr"),
        (["Trådlös dammsugare svart", "Stol av trä till kök"], "sv"),
        (["Máy hút bụi không dây", "Áo thun nam màu đen"], "vi"),
        (["Пилосос бездротовий чорний", "Їдальня біла"], "uk"),
        (["جاروبرقی سیاه", "کفش پیاده‌روی زنانه"], "fa"),
        (["电动牙刷 黑色", "iPhone 手机壳"], "zh"),
        (["Panasonic 冷蔵庫 NR-F", "ソニー ヘッドホン"], "ja"),
        (["Samsung Galaxy S21 케이스", "나이키 운동화"], "ko"),
        (["red sofa", "кресло", "掃除機"], "mul"),
        (["ਜੁੱਤੀ ਕਾਲੀ", "ਲਾਲ ਕਮੀਜ਼"], "mul"),
    ],
)
def test_languages_of_titles(texts: list[str], code: str) -> None:
    assert tell_language(texts).code == code


def test_mostly_english_with_some_of_another_script_is_english() -> None:
    assert tell_language(["red sofa"] * 7 + ["掃除機"] * 3).code == "en"


def test_a_read_shop_says_its_language_and_what_tells_it(tmp_path: Path) -> None:
    shop = load_shop(str(write_files("de", tmp_path / "de")))
    assert shop.language == "de" and shop.report is not None
    assert shop.report.language.startswith("German (de), told by schwarz, weiß")
    assert any(note.startswith("language: German (de)") and "`language` sets" in note for note in shop.report.notes)
    given = load_shop(str(tmp_path / "de"), options=ReadOptions(language="German"))
    assert given.report is not None and given.report.language == "German (de), given"
    assert given.hash == shop.hash


def test_an_english_shop_has_no_note_and_its_old_hash(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("product_id,title\n1,red sofa\n2,blue lamp for kids\n")
    (tmp_path / "queries.csv").write_text("query_id,query,split\nq,sofa,test\n")
    shop = load_shop(str(tmp_path))
    assert shop.language == "en" and shop.report is not None and shop.report.language.startswith("English (en)")
    assert not any("language" in note for note in shop.report.notes)


def test_the_language_is_part_of_the_hashes_and_of_a_written_shop(tmp_path: Path) -> None:
    shop = tiny_shop()
    german = replace(shop, language="de-AT")
    assert german.language == "de" and german.tokenizer.language.name == "German"
    assert german.products_hash != shop.products_hash and german.hash != shop.hash
    write_shop(german, tmp_path / "written")
    again = load_shop(str(tmp_path / "written"))
    assert again.language == "de" and again.hash == german.hash
    assert load_shop(str(tmp_path / "written"), options=ReadOptions(language="en")).language == "en"


def test_unknown_languages_are_refused_before_files_are_read() -> None:
    with pytest.raises(ConfigError, match="no language 'jp': ja is Japanese"):
        load_shop("/nowhere", options=ReadOptions(language="jp"))
    with pytest.raises(ConfigError, match="language='de': the generated shop is English"):
        load_shop("generated", options=ReadOptions(language="de"))
    with pytest.raises(ConfigError, match="no language"):
        replace(tiny_shop(), language="klingon")
