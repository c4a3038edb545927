"""Scripts of letters: which one a character is of, which ones are written without spaces, and characters with marks.

script("ф"), script("掃"), script("e")    # "CYRILLIC", "CJK", "LATIN"
clusters("क्या")                           # ["क्", "या"]: vowel signs and accents stay with their letter
pieces("掃除機")                           # ["掃", "掃除", "除", "除機", "機"]
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from itertools import pairwise

LATIN = "LATIN"
HANGUL = "HANGUL"
CJK = "CJK"  # Han, Hiragana and Katakana
# Hiragana and Katakana without the middle dot, which separates words; Han with its iteration marks.
_KANA = r"\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
_HAN = r"\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HANGUL = r"\u1100-\u11ff\u3130-\u318f\uac00-\ud7ff"
_SOUTH_EAST = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
# Runs without spaces between words, or (Korean) with compounds that are written with and without spaces.
UNSPACED = re.compile(rf"[{_KANA}{_HAN}]+|[{_HANGUL}]+|[{_SOUTH_EAST}]+")
_MEANINGFUL = re.compile(rf"[{_HAN}{_HANGUL}]")
_ACCENTS = re.compile("(?<![\u0400-\u04ff])[\u0300-\u036f]+|(?<=\u0435)\u0308")
# Letters that Unicode does not take apart, as people write them without the key.
_LETTERS = str.maketrans({"ß": "ss", "ø": "o", "đ": "d", "ł": "l", "æ": "ae", "œ": "oe", "ı": "i", "ς": "σ"})
_NAMES = {"HIRAGANA": CJK, "KATAKANA": CJK, "KATAKANA-HIRAGANA": CJK, "IDEOGRAPHIC": CJK}
_MARKED_BLOCKS = ((0x0300, 0x1CFF), (0x1DC0, 0x1DFF), (0x3099, 0x309B), (0xA8E0, 0xABFF), (0xFE20, 0xFE30))


@lru_cache(maxsize=1 << 14)
def script(character: str) -> str:
    """The script of a letter, by Unicode's name of it; "" for a character that is no letter."""
    if not character.isalpha():  # "" is none either
        return ""
    name = unicodedata.name(character, "").partition(" ")[0]
    return _NAMES.get(name, name)


def script_of(word: str) -> str:
    """The script of all letters of a word; "" where they are of several, or where there is none."""
    found = {script(character) for character in word} - {""}
    return found.pop() if len(found) == 1 else ""


def is_word(text: str) -> bool:
    """Whether a text is of letters and their marks alone."""
    return text.isalpha() or (bool(text) and all(one[0].isalpha() for one in clusters(text)))


@cache
def mark_class() -> str:
    """All combining marks (accents, vowel signs), to stand within the brackets of a regular expression."""
    characters = (chr(at) for low, high in _MARKED_BLOCKS for at in range(low, high))
    return "".join(one for one in characters if unicodedata.category(one)[0] == "M")


@cache
def _cluster_pattern() -> re.Pattern[str]:
    marks = mark_class()
    return re.compile(rf"[\u0e40-\u0e44\u0ec0-\u0ec4]?.[{marks}]*", re.DOTALL)  # Thai and Lao write some vowels first


def clusters(text: str) -> list[str]:
    """The characters of a text, each with the marks that belong to it."""
    return list(text) if text.isascii() else _cluster_pattern().findall(text)


def pieces(run: str) -> list[str]:
    """Index terms of a run of an unspaced script: overlapping pairs of characters, and what single characters mean.

    A Han or Hangul character is a term of its own as well ("茶" finds 緑茶); others mean as little as a Latin letter.
    """
    characters = clusters(run)
    if len(characters) == 1:
        return characters
    found = []
    for first, second in pairwise(characters):
        found += [first, first + second] if _MEANINGFUL.match(first) else [first + second]
    return found + characters[-1:] if _MEANINGFUL.match(characters[-1]) else found


def without_accents(text: str) -> str:
    """The text without Latin and Greek accents, and without the dots of Cyrillic ё; ß is ss, ø o and ł l."""
    if text.isascii():
        return text
    bare = unicodedata.normalize("NFD", text.translate(_LETTERS))
    return unicodedata.normalize("NFC", _ACCENTS.sub("", bare))
