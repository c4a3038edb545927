"""Words and index terms by language."""

from __future__ import annotations

import pickle

import pytest

from qr_env.common.errors import ConfigError
from qr_env.language.codes import LANGUAGES, language
from qr_env.language.scripts import clusters, pieces, script_of, without_accents
from qr_env.language.tokenize import ENGLISH, tokenizer


def test_english_is_as_it_always_was() -> None:
    text = "Men's Café-Racer Jackets, 27-inch, 1.7L, 1,000 mAh 掃除機 чёрный"
    assert ENGLISH.terms(text) == [
        "men", "cafe", "racer", "jacket", "27", "inch", "1.7", "l", "1000", "mah", "掃", "除", "機", "черныи",
    ]  # fmt: skip
    assert ENGLISH.terms("the lamp and a sofa") == ["lamp", "sofa"]


@pytest.mark.parametrize(
    ("code", "one", "other"),
    [
        ("de", "Kühlschränke", "kuehlschrank"),
        ("de", "Kühlschränke", "kuhlschrank"),
        ("de", "Weiße Straße", "weisse strasse"),
        ("de", "1.000 ml", "1000 ml"),
        ("de", "1,5 l", "1.5 l"),
        ("de", "Levi's", "levis"),
        ("fr", "l’eau d'été", "eau été"),
        ("fr", "cafés", "CAFE"),
        ("fr", "chaussures", "chaussure"),
        ("fr", "cafetières", "cafetiere"),
        ("fr", "électriques", "electrique"),
        ("fr", "cheminées", "cheminee"),
        ("es", "lámparas de mesa", "lampara mesa"),
        ("es", "sartenes", "sarten"),
        ("es", "jardín", "jardines"),
        ("pt", "luminárias", "luminaria"),
        ("pt", "iluminacao", "iluminações"),
        ("pt", "botões", "botao"),
        ("it", "caffè elettrici", "caffe elettrico"),
        ("ca", "il·luminació", "il·luminacio"),
        ("es", "iluminación", "iluminacion"),
        ("it", "dell'olio", "olio"),
        ("pt", "iluminações", "iluminação"),
        ("nl", "witte stoelen", "witte stoel"),
        ("ru", "чёрные стулья", "черные стулья"),
        ("ru", "красный", "красная"),
        ("uk", "комп'ютер", "компютер"),
        ("ar", "الحذاءُ الأسود", "حذاء أسود"),
        ("ar", "٥٠٠ مل", "500 مل"),
        ("he", "נַעֲלַיִם", "נעלים"),
        ("tr", "IŞIK Apple'ın", "ışık apple"),
        ("el", "Κόκκινος", "κοκκινος"),
        ("hi", "५०० जूता", "500 जूता"),
        ("fa", "می‌خواهم", "میخواهم"),
        ("ja", "ｺｰﾄﾞﾚｽ ＮＶ１００", "コードレス nv 100"),
        ("ja", "コードレス・掃除機", "コードレス 掃除機"),
        ("zh", "1,000毫安", "1000 毫安"),
        ("mul", "Café", "cafe"),
        ("pl", "Żółty słodki", "zolty slodki"),
    ],
)
def test_equal_terms(code: str, one: str, other: str) -> None:
    assert tokenizer(code).terms(one) == tokenizer(code).terms(other) != []


@pytest.mark.parametrize(
    ("code", "title", "query"),
    [
        ("ja", "電気掃除機", "掃除機"),
        ("ja", "緑茶", "茶"),
        ("zh", "小米电动牙刷", "牙刷"),
        ("zh", "折叠雨伞", "伞"),
        ("ko", "무선청소기", "청소기"),
        ("ko", "머그컵", "컵"),
        ("th", "เครื่องดูดฝุ่นไร้สาย", "ดูดฝุ่น"),
        ("mul", "Panasonic電気掃除機", "掃除機"),
    ],
)
def test_a_part_of_an_unspaced_word_is_found_and_other_words_are_not(code: str, title: str, query: str) -> None:
    assert set(tokenizer(code).terms(query)) <= set(tokenizer(code).terms(title))
    assert not set(tokenizer(code).terms("電話机" if code != "zh" else "手机壳")) <= set(tokenizer(code).terms(title))


def test_stop_words_are_those_of_the_language_and_sizes_stay() -> None:
    assert tokenizer("de").terms("Hülle für das Tablet") == ["hull", "tabl"]
    assert tokenizer("fr").terms("sac à dos pour la plage taille L d'été") == [
        "sac",
        "dos",
        "plag",
        "taill",
        "l",
        "ete",
    ]
    assert tokenizer("en").terms("die Lampe und der Tisch") == ["die", "lamp", "und", "der", "tisch"]
    assert tokenizer("ja").terms("the usb c") == ["the", "usb", "c"]


def test_words_are_spelled_as_typed_and_runs_are_whole() -> None:
    assert tokenizer("fr").words("Cafetière 1,5L à l'italienne") == ["cafetière", "1.5", "l", "à", "italienne"]
    assert tokenizer("ja").words("Panasonic電気掃除機MC-SB30J") == ["panasonic", "電気掃除機", "mc", "sb", "30", "j"]
    assert tokenizer("th").words("น้ำดื่ม 500ml") == ["น้ำดื่ม", "500", "ml"]


def test_pieces_keep_single_characters_where_they_are_words() -> None:
    assert pieces("掃除機") == ["掃", "掃除", "除", "除機", "機"]
    assert pieces("コード") == ["コー", "ード"] and pieces("茶") == ["茶"]
    assert clusters("क्या") == ["क्", "या"] and clusters("น้ำ")[0] == "น้"
    assert clusters("e\u0301a") == ["e\u0301", "a"]


def test_scripts() -> None:
    assert [script_of(word) for word in ("sofa", "Стул", "掃除キー", "حذاء", "sofaстул", "27")] == [
        "LATIN", "CYRILLIC", "CJK", "ARABIC", "", "",
    ]  # fmt: skip


def test_accents_are_folded_but_not_letters_of_cyrillic() -> None:
    assert without_accents("écräßøłёй") == "ecrassolей"


def test_a_tokenizer_is_one_object_for_each_language_in_every_process() -> None:
    assert pickle.loads(pickle.dumps(tokenizer("de"))) is tokenizer("de") is tokenizer("de-AT")
    assert tokenizer("en") is ENGLISH


def test_every_language_has_what_it_names() -> None:
    for code in LANGUAGES:
        found = tokenizer(code)
        assert found.terms("Sofa 12,5 cm")[-1] == "cm" and isinstance(found.stop_words, frozenset)


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("jp", "ja is Japanese"),
        ("germn", "de is German"),
        ("deutsch", "de is German"),
        ("日本語", "ja is Japanese"),
        ("xx", "known are"),
    ],
)
def test_unknown_languages_are_refused_with_what_was_meant(code: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"no language '{code}'.*{meant}"):
        language(code)
    assert language("pt-BR").code == "pt" and language("Japanese").code == "ja"
