"""Made queries and typing errors follow the language of the shop and the script of a word."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from agents.supervised.tiny import damage
from qr_env.language.scripts import LATIN, clusters, script
from qr_env.language.tokenize import tokenizer
from qr_env.shop.load import load_shop
from qr_env.synthetic.grammar import grammar
from qr_env.synthetic.queries import with_catalogue_queries
from qr_env.synthetic.typos import noisy_text, size_text, typo, typo_variant
from tests.helpers.shops.languages import GOODS, language_shop, titles

FOREIGN = [code for code in GOODS if code not in ("de", "fr", "es")]


def made_texts(code: str, n: int = 200) -> list[str]:
    shop = language_shop(code)
    made = with_catalogue_queries(shop, n, seed=0)
    return [query.text for query in made.all_queries[len(shop.queries) :]]


def scripts_of(text: str) -> set[str]:
    return {script(character) for character in text} - {""}


@pytest.mark.parametrize("code", FOREIGN)
def test_made_queries_never_mix_scripts_inside_a_word(code: str) -> None:
    known = scripts_of(" ".join(titles(code)))
    kinds = {word for title in titles(code) for word in tokenizer(code).words(title)}
    for text in made_texts(code):
        assert scripts_of(text) <= known
        for word in re.split(r"\s|(?<=[a-z0-9])(?=[^a-z0-9])|(?<=[^a-z0-9])(?=[a-z0-9])", text):
            assert word in kinds or len(scripts_of(word)) <= 1, text
    assert not any(re.search(r"[^\x00-\u024f]s\b", text) for text in made_texts(code))


@pytest.mark.parametrize("code", ["de", "fr", "es"])
def test_no_english_plural_on_other_latin_languages(code: str) -> None:
    words = {word for title in titles(code) for word in tokenizer(code).words(title)}
    plurals = {word + "s" for word in words} - words
    found = {word for text in made_texts(code) for word in text.split()} & plurals
    # A doubled letter may end in s too; the plurals of every kind were there before.
    assert len(found) <= 2, found


def test_case_15_a_catalogue_of_many_scripts(tmp_path: Path) -> None:
    kinds = ["حذاء", "ساعة", "سماعة", "掃除機", "电动牙刷", "Waschmaschine"]
    rows = [f"{kind} {colour}" for colour in ("أسود", "أحمر", "أزرق") for kind in kinds]
    lines = [f"{n},{row}" for n, row in enumerate(rows, 1)]
    (tmp_path / "products.csv").write_text("\n".join(["product_id,title", *lines]), encoding="utf-8")
    (tmp_path / "queries.csv").write_text("query\nحذاء\n", encoding="utf-8")
    shop = load_shop(str(tmp_path))
    made = [query.text for query in with_catalogue_queries(shop, n=200, seed=0).all_queries[1:]]
    assert len(made) > 50 and not [text for text in made if re.search("[^\x00-\u024f]s\\b", text)]
    english = with_catalogue_queries(replace(shop, language="en"), n=200, seed=0)
    assert not [query.text for query in english.all_queries if re.search("[^\x00-\u024f]s\\b", query.text)]


@pytest.mark.parametrize(
    ("word", "language_code"),
    [("пылесос", "ru"), ("掃除機", "ja"), ("전동칫솔", "ko"), ("كهربائية", "ar"), ("เครื่องดูดฝุ่น", "th"),
     ("टूथब्रश", "hi"), ("ψυγείο", "el"), ("kühlschrank", "de"), ("מברשת", "he")],
)  # fmt: skip
def test_a_typo_keeps_the_script_the_first_letter_and_the_marks(word: str, language_code: str) -> None:
    assert language_code in GOODS
    whole = set(clusters(word))
    for seed in range(60):
        for changed in (typo(word, random.Random(seed)), typo_variant(f"{word} {word}", random.Random(seed))):
            assert scripts_of(changed) == scripts_of(word)
            assert clusters(changed)[0] == clusters(word)[0]
        if script(word[0]) != LATIN:
            assert set(clusters(typo(word, random.Random(seed)))) <= whole


def test_ideographs_are_swapped_and_dropped_but_not_doubled() -> None:
    variants = {typo("掃除機", random.Random(seed)) for seed in range(100)}
    assert variants == {"掃機除", "掃機"}
    assert typo("茶", random.Random(0)) == "茶" and typo("緑茶", random.Random(0)) == "緑茶"


def test_an_accent_may_be_left_out() -> None:
    assert "kuhl" in {typo("kühl", random.Random(seed)) for seed in range(60)}


def test_latin_typing_errors_of_the_tiny_student_stay_out_of_other_scripts() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    for word in ["пылесос", "掃除機", "ตู้เย็น", "حذاء"] * 50:
        assert scripts_of(damage(word, rng)) == scripts_of(word)


def test_units_and_plurals_are_english_in_english_shops_alone() -> None:
    german, english = tokenizer("de").language, tokenizer("en").language
    assert size_text("15", "in", german) == "15 in" and size_text("15", "in", english) == "15 inch"
    texts = {noisy_text(["sofa"], random.Random(seed), (), german) for seed in range(200)}
    assert "sofas" not in texts and "sofas" in {
        noisy_text(["sofa"], random.Random(seed), (), english) for seed in range(200)
    }


@pytest.mark.parametrize(
    ("code", "title", "phrases", "head"),
    [
        ("en", "Paint gun for walls, black", [["paint", "gun"], ["black"]], "gun"),
        ("de", "Hülle für Tablet, schwarz", [["hülle"], ["schwarz"]], "hülle"),
        ("fr", "Machine à café Krups, noir", [["krups", "café", "machine"], ["noir"]], "machine"),
        ("es", "Silla de jardín para niños", [["jardín", "silla"]], "silla"),
        ("it", "Macchina da caffè con timer", [["caffè", "macchina"]], "macchina"),
        ("ru", "Чехол для планшета", [["чехол"]], "чехол"),
        ("ja", "コードレス掃除機 ブラック", [["コードレス", "掃除機", "ブラック"]], "掃除機"),
        ("ar", "حذاء رياضي مع حقيبة", [["رياضي", "حذاء"]], "حذاء"),
    ],
)
def test_phrases_and_heads(code: str, title: str, phrases: list[list[str]], head: str) -> None:
    found = grammar(code).phrases(title)
    assert found == phrases
    assert grammar(code).up_to_head(found[0])[-1] == head


def test_french_queries_say_the_head_noun_first() -> None:
    texts = made_texts("fr")
    assert any(text.startswith("machine café") for text in texts)
    assert not any(text.startswith("café machine") for text in texts)


def test_a_language_without_word_lists_still_gives_queries() -> None:
    assert len(with_catalogue_queries(replace(language_shop("ru"), language="kk"), 40, seed=0).queries) > 30
