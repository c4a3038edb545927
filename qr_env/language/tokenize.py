"""Text to index terms: the same rules for products and queries, by the language of the shop.

    ENGLISH.terms("Men's Café-Racer Jackets, 27-inch")  # ['men', 'cafe', 'racer', 'jacket', '27', 'inch']
    tokenizer("de").terms("Kühlschränke für 1.000 €")  # ['kuhlschrank', '1000']
    tokenizer("ja").terms("掃除機")                     # ['掃', '掃除', '除', '除機', '機']

A word is what is written between spaces and signs; a term is what the index holds of it. Decisions, with their reasons:
- Case, width, compatibility forms and Latin and Greek accents are folded: CAFÉ, café and cafe are one term.
- Letters and digits are separated: "27-inch", "27inch", "27 inch" are the same two terms, and so are "128gb", "128 gb",
  "WH-1000XM4" and "wh1000xm4". One-character terms stay: sizes, "4 gb" and "usb c" need them.
- A decimal number is one term ("1.7", never "1" and "7"); thousands lose their separators ("1,000" is "1000").
- English stop words are removed (the 33 of Lucene, as in bm25s); other words are stemmed by Snowball English. In
  English shops Chinese and Japanese characters are one term each; no script is dropped.

Other languages (`Tokenizer`; their stemmers and stop words: `codes.py`):
- Romance words lose their accents before they are stemmed, so that "cafetiere" and cafetière are one term; endings of
  which Snowball's rules read the accent get it back (`_ENDINGS`). Other words are stemmed with their accents and folded
  after that: what ends in an accent may need it. German ä, ae and a are one (Snowball's rule), and ß is ss.
- In Russian and other Cyrillic text only ё is folded, to е; й and ї are letters of their own.
- Arabic and Hebrew lose their vowel marks; Turkish I is the capital of ı. Digits of every script become 0 to 9.
- French and Italian lose elided words ("l'eau" is "eau"); elsewhere 's is a part of its word ("levi's" is "levis").
- Scripts without spaces between words, and Korean, whose compounds are written either way, are indexed by overlapping
  pairs of characters, as Lucene's CJKAnalyzer does ("掃除機" finds 電気掃除機), and Han and Hangul by single
  characters too ("茶" finds 緑茶). Traditional and simplified Chinese characters stay different.
- With "," as the decimal sign, 1,5 is 1.5 and 1.000 is 1000.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache, cached_property, lru_cache

import Stemmer

from qr_env.language.codes import Language, language
from qr_env.language.scripts import UNSPACED, mark_class, pieces, without_accents

# Raise when the same text gives other terms than before: saved indexes are keyed by it.
TOKENIZER_VERSION = 1
CACHED_WORDS = 1 << 18

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_ACCENTS = re.compile("[\u0300-\u036f]+")
# NFKC would append the trademark sign to its word as "tm"; both apostrophes are in use.
_SIGNS = str.maketrans({"™": " ", "℠": " ", "’": "'", "ʼ": "'", "＇": "'"})
_SIGN = re.compile("[™℠’ʼ＇]")
_OTHER_DIGIT = re.compile(r"[^\D0-9]")


class Tokenizer:
    """Words and index terms of texts in one language. Get one from `tokenizer`.

    Attributes:
        language: whose rules are followed.
        stem: word → what equal words are compared by, "" for a stop word. It is the word's only index term, except
            for words of scripts without spaces. Cached.
        terms_of: word → the index terms of a word of `words`, in order; none for a stop word. Cached.
    """

    def __init__(self, of: Language) -> None:
        self.language = of
        self._stemmer = Stemmer.Stemmer(of.stemmer) if of.stemmer else None
        self.stem: Callable[[str], str] = lru_cache(maxsize=CACHED_WORDS)(self._stem)
        self.terms_of: Callable[[str], tuple[str, ...]] = lru_cache(maxsize=CACHED_WORDS)(self._terms_of)

    def __reduce__(self) -> tuple[Callable[[str], Tokenizer], tuple[str]]:
        return tokenizer, (self.language.code,)

    @cached_property
    def stop_words(self) -> frozenset[str]:
        """Words that are no index terms; bm25s' list, with and without accents."""
        return _stop_words(self.language)

    def normalise(self, text: str) -> str:
        """Text with case, width, apostrophes and numbers in one form. Accents stay: they are a part of the spelling."""
        if not text.isascii() and _SIGN.search(text):
            text = text.translate(_SIGNS)
        if self.language.code == "tr":
            text = text.replace("İ", "i").replace("I", "ı")
        text = unicodedata.normalize("NFKC", text).lower() if not text.isascii() else text.lower()
        if not text.isascii():
            text = _INVISIBLE.sub("", text.replace("\u200b", " "))
            text = text.translate(_digits()) if _OTHER_DIGIT.search(text) else text
            text = text.replace("\u0e4d\u0e32", "\u0e33").replace("\u0ecd\u0eb2", "\u0eb3")  # NFKC took these apart
        text = _without_apostrophes(text, self.language) if "'" in text else text
        return _decimal_points(text) if self.language.decimal_comma else _THOUSANDS.sub("", text)

    def words(self, text: str) -> list[str]:
        """The words of a text in order, normalised but neither stemmed nor filtered; letters and digits apart.

        A run of a script without spaces is one word.
        """
        return _word_pattern().findall(self.normalise(text))

    def terms(self, text: str) -> list[str]:
        """The index terms of a text in order."""
        return [term for word in self.words(text) for term in self.terms_of(word)]

    def _stem(self, word: str) -> str:
        if word in self.stop_words:
            return ""
        endings = _ENDINGS.get(self.language.code)
        if endings is not None:
            word = _with_ending(without_accents(word), endings)
        return without_accents(self._stemmer.stemWord(word) if self._stemmer else word)

    def _terms_of(self, word: str) -> tuple[str, ...]:
        if UNSPACED.match(word):
            return tuple(pieces(word))
        term = self._stem(word)
        return (term,) if term else ()


class _English(Tokenizer):
    """English, with Latin, Greek and Cyrillic accents folded before words are stemmed."""

    def normalise(self, text: str) -> str:
        """Text with case, width, accents, apostrophes and thousands separators folded."""
        if text.isascii():
            text = text.lower()
        else:
            text = unicodedata.normalize("NFKD", text.translate(_SIGNS)).casefold()
            text = unicodedata.normalize("NFKC", _ACCENTS.sub("", text))
        return _THOUSANDS.sub("", text) if "," in text else text

    def words(self, text: str) -> list[str]:
        """The words of a text in order, normalised but neither stemmed nor filtered; each ideograph is one."""
        text = self.normalise(text)
        return (_ENGLISH_ASCII_WORD if text.isascii() else _ENGLISH_WORD).findall(text)

    def terms(self, text: str) -> list[str]:
        """The index terms of a text in order: stemmed words without stop words."""
        return [term for word in self.words(text) if (term := self.stem(word))]

    def _stem(self, word: str) -> str:
        return "" if word in self.stop_words else self._stemmer.stemWord(word)  # type: ignore[union-attr]

    def _terms_of(self, word: str) -> tuple[str, ...]:
        term = self._stem(word)
        return (term,) if term else ()


@cache
def tokenizer(code: str) -> Tokenizer:
    """The tokenizer of a language (`codes.language`). Raises ConfigError for an unknown one."""
    found = language(code)
    if found.code != code:
        return tokenizer(found.code)
    return _English(found) if code == "en" else Tokenizer(found)


_IDEOGRAPH = r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
# Vowel signs of Hebrew, Arabic and the scripts of India and South-East Asia: not letters in Python, but parts of words.
_MARK = r"[\u0591-\u05c7\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0962\u0963\u0981-\u0dff\u0e31-\u0e4e\u0eb1-\u0ece]"
_LETTER = rf"(?:(?!{_IDEOGRAPH})[^\W\d_]|{_MARK})"
_ENGLISH_WORD = re.compile(rf"{_IDEOGRAPH}|\d+(?:\.\d+)*|{_LETTER}+(?:'s(?![^\W_]))?")
_ENGLISH_ASCII_WORD = re.compile(r"\d+(?:\.\d+)*|[a-z]+(?:'s(?![a-z0-9]))?")


@cache
def _word_pattern() -> re.Pattern[str]:
    """Runs of one unspaced script, numbers, and runs of other letters with their marks."""
    letter = rf"(?:(?!{UNSPACED.pattern.replace('+', '')})[^\W\d_]|[{mark_class()}])"
    return re.compile(rf"(?:{UNSPACED.pattern})|\d+(?:\.\d+)*|{letter}+")


# Soft hyphen, joiners and marks of direction; vowel marks of Arabic and Hebrew, and the Arabic line that widens words;
# the dot that Python leaves where it lowers the Turkish capital of i.
_INVISIBLE = re.compile(
    "[\u00ad\u200c-\u200f\u2060\ufeff\u064b-\u065f\u0670\u0640\u0591-\u05bd\u05bf-\u05c7]|(?<=i)\u0307"
)
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_THOUSANDS_POINT = re.compile(r"(?<![\d.,])([1-9]\d{0,2})((?:\.\d{3})+)(?![\d.])")


def _without_apostrophes(text: str, of: Language) -> str:
    """Elided words removed, suffixes of Turkish names removed, other apostrophes between letters left out."""
    if of.elided:
        text = re.sub(rf"(?<![^\W_])(?:{of.elided})'(?=[^\W_])", " ", text)
    if of.code == "tr":
        return re.sub(r"(?<=[^\W_])'[^\W\d_]+", "", text)
    if of.code == "uk":
        return re.sub(r"(?<=[^\W\d_])'(?=[^\W\d_])", "", text)
    return re.sub(r"(?<=[^\W\d_])'(?=s(?![^\W_]))", "", text)


def _decimal_points(text: str) -> str:
    """ "1,5" as "1.5" and "1.000" as "1000"."""
    if "." in text:
        text = _THOUSANDS_POINT.sub(_without_points, text)
    return _DECIMAL_COMMA.sub(".", text) if "," in text else text


def _without_points(found: re.Match[str]) -> str:
    return found[0].replace(".", "")


@cache
def _digits() -> dict[int, str]:
    """Decimal digits of every script → 0 … 9."""
    digits = (chr(at) for at in range(0x0660, 0x1FBFA) if unicodedata.category(chr(at)) == "Nd")
    return {ord(digit): str(unicodedata.decimal(digit)) for digit in digits}


# Language → (ending without accents, its form for Snowball), applied in order: the accents that its rules read, and the
# Portuguese plurals of -ão, for which it has no rule.
_ENDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "ca": (("cio", "ció"),),
    "es": (("en", "én"),),
    "fr": (("iere", "ière"), ("ieres", "ières"), ("ee", "ée"), ("ees", "ées")),
    "it": (),
    "pt": (("oes", "ao"), ("aes", "ao"), ("aos", "ao"), ("cao", "ção")),
}


def _with_ending(word: str, endings: tuple[tuple[str, str], ...]) -> str:
    for bare, accented in endings:
        if word.endswith(bare):
            word = word.removesuffix(bare) + accented
    return word


# In bm25s' lists, but words of shops: sizes, the French summer and sound, the Dutch jug.
_KEPT = frozenset("cdjlmnst") | {"été", "étés", "son", "kan"}


def _stop_words(of: Language) -> frozenset[str]:
    if not of.stop_words:
        return frozenset()
    from bm25s import stopwords

    listed = frozenset(getattr(stopwords, f"STOPWORDS_{of.stop_words}"))
    if of.code == "en":
        return listed
    kept = listed - _KEPT
    return kept | {without_accents(word) for word in kept}


ENGLISH = tokenizer("en")
