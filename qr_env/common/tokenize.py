"""Text to index terms: the same normalisation for products and queries.

    terms("Men's Café-Racer Jackets, 27-inch, 1.7L")  # ['men', 'cafe', 'racer', 'jacket', '27', 'inch', '1.7', 'l']

Decisions, with their reasons:
- Case, compatibility forms and Latin, Greek and Cyrillic accents are folded: CAFÉ, café and cafe are one word.
- Letters and digits are separated: "27-inch", "27inch", "27 inch" are the same two terms, and so are "128gb", "128 gb",
  "WH-1000XM4" and "wh1000xm4". One-character terms stay: sizes, "4 gb" and "usb c" need them.
- A decimal number is one term ("1.7", never "1" and "7"); thousands lose their commas ("1,000" is "1000").
- Chinese and Japanese characters are one term each (these languages write no spaces); no script is dropped.
- English stop words are removed (the 33 of Lucene, as in bm25s); other words are stemmed by Snowball English.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

import Stemmer

# Raise when the same text gives other terms than before: saved indexes are keyed by it.
TOKENIZER_VERSION = 1

_IDEOGRAPH = r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
# Vowel signs of Hebrew, Arabic and the scripts of India and South-East Asia: not letters in Python, but parts of words.
_MARK = r"[\u0591-\u05c7\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0962\u0963\u0981-\u0dff\u0e31-\u0e4e\u0eb1-\u0ece]"
_LETTER = rf"(?:(?!{_IDEOGRAPH})[^\W\d_]|{_MARK})"
_WORD = re.compile(rf"{_IDEOGRAPH}|\d+(?:\.\d+)*|{_LETTER}+(?:'s(?![^\W_]))?")
_ASCII_WORD = re.compile(r"\d+(?:\.\d+)*|[a-z]+(?:'s(?![a-z0-9]))?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_ACCENTS = re.compile("[\u0300-\u036f]+")
# NFKC would append the trademark sign to its word as "tm"; both apostrophes are in use.
_SIGNS = str.maketrans({"™": " ", "℠": " ", "’": "'", "ʼ": "'", "＇": "'"})


def normalise(text: str) -> str:
    """Text with case, width, accents, apostrophes and thousands separators folded."""
    if text.isascii():
        text = text.lower()
    else:
        text = unicodedata.normalize("NFKD", text.translate(_SIGNS)).casefold()
        text = unicodedata.normalize("NFKC", _ACCENTS.sub("", text))
    return _THOUSANDS.sub("", text) if "," in text else text


def words(text: str) -> list[str]:
    """The words of a text in order, normalised but neither stemmed nor filtered."""
    text = normalise(text)
    return (_ASCII_WORD if text.isascii() else _WORD).findall(text)


def terms(text: str) -> list[str]:
    """The index terms of a text in order: stemmed words without stop words."""
    return [term for word in words(text) if (term := stem(word))]


@lru_cache(maxsize=1 << 18)
def stem(word: str) -> str:
    """The index term of a word from `words`; "" for a stop word."""
    return "" if word in stop_words() else _stemmer().stemWord(word)


@cache
def stop_words() -> frozenset[str]:
    """Lucene's English stop words, from bm25s."""
    from bm25s.stopwords import STOPWORDS_EN

    return frozenset(STOPWORDS_EN)


@cache
def _stemmer() -> Stemmer.Stemmer:
    return Stemmer.Stemmer("english")
