"""The languages of shops: code, name, and what their words need before they are index terms.

    language("de").name           # "German"
    language("de").stemmer        # "german", an algorithm of Snowball; "" where there is none
    language("mul")               # several languages, or an unknown one: no stemmer and no stop words

Codes are those of ISO 639-1. Stemmers are Snowball's (PyStemmer), stop words those that bm25s ships. A language without
either is searched by its words as they are written.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from qr_env.common.errors import ConfigError

MIXED = "mul"  # ISO 639-2: multiple languages


@dataclass(frozen=True, slots=True)
class Language:
    """One language."""

    code: str
    """ISO 639-1, or "mul" for several languages or an unknown one."""
    name: str
    """In English."""
    stemmer: str = ""
    """Snowball's algorithm; "" for none."""
    stop_words: str = ""
    """Name of the list in `bm25s.stopwords`; "" for none."""
    elided: str = ""
    """Regular expression of the short words that are written with an apostrophe before another: "l" in l'eau."""
    decimal_comma: bool = True
    """Whether 1,5 is one and a half, and 1.000 a thousand."""


_FRENCH = "[cdjlmnst]|qu|lorsqu|puisqu|jusqu"
_ITALIAN = "[cdlmnstv]|un|all|dall|dell|nell|sull|coll|quell|quest|sant"
_POINT = ("ar", "en", "fa", "he", "hi", "ja", "km", "ko", "lo", "my", "ne", "ta", "th", "ur", "zh", MIXED)
_ROWS = (
    ("ar", "Arabic", "arabic"), ("bg", "Bulgarian"), ("ca", "Catalan", "catalan", "", _ITALIAN),
    ("cs", "Czech", "czech"), ("da", "Danish", "danish", "DANISH"), ("de", "German", "german", "GERMAN"),
    ("el", "Greek", "greek"), ("en", "English", "english", "EN"), ("es", "Spanish", "spanish", "SPANISH"),
    ("et", "Estonian", "estonian"), ("eu", "Basque", "basque"), ("fa", "Persian", "persian"),
    ("fi", "Finnish", "finnish"), ("fr", "French", "french", "FRENCH", _FRENCH), ("ga", "Irish", "irish"),
    ("he", "Hebrew"), ("hi", "Hindi", "hindi"), ("hr", "Croatian"), ("hu", "Hungarian", "hungarian"),
    ("hy", "Armenian", "armenian"), ("id", "Indonesian", "indonesian"),
    ("it", "Italian", "italian", "ITALIAN", _ITALIAN), ("ja", "Japanese"), ("ka", "Georgian"), ("kk", "Kazakh"),
    ("km", "Khmer"), ("ko", "Korean"), ("lo", "Lao"), ("lt", "Lithuanian", "lithuanian"), ("lv", "Latvian"),
    ("my", "Burmese"), ("ne", "Nepali", "nepali"), ("nl", "Dutch", "dutch", "DUTCH"),
    ("no", "Norwegian", "norwegian", "NORWEGIAN"), ("pl", "Polish", "polish"),
    ("pt", "Portuguese", "portuguese", "PORTUGUESE"), ("ro", "Romanian", "romanian"),
    ("ru", "Russian", "russian", "RUSSIAN"), ("sk", "Slovak"), ("sl", "Slovenian"), ("sr", "Serbian", "serbian"),
    ("sv", "Swedish", "swedish", "SWEDISH"), ("ta", "Tamil", "tamil"), ("th", "Thai"),
    ("tr", "Turkish", "turkish", "TURKISH"), ("uk", "Ukrainian"), ("ur", "Urdu"), ("vi", "Vietnamese"),
    ("zh", "Chinese"), (MIXED, "several languages, or an unknown one"),
)  # fmt: skip
LANGUAGES = {row[0]: replace(Language(*row), decimal_comma=row[0] not in _POINT) for row in _ROWS}
# Codes of countries, and older or wider codes of languages, that people write.
_OTHER_CODES = {
    "jp": "ja", "cn": "zh", "tw": "zh", "kr": "ko", "gr": "el", "cz": "cs", "dk": "da", "se": "sv", "nb": "no",
    "nn": "no", "iw": "he", "in": "id", "ua": "uk", "at": "de", "br": "pt", "mx": "es", "gb": "en",
    "us": "en", "und": MIXED,
}  # fmt: skip
# What speakers call their language, where its English name is not near.
_OWN_NAMES = {
    "deutsch": "de", "français": "fr", "francais": "fr", "español": "es", "espanol": "es", "castellano": "es",
    "italiano": "it", "português": "pt", "portugues": "pt", "nederlands": "nl", "svenska": "sv", "dansk": "da",
    "norsk": "no", "suomi": "fi", "polski": "pl", "čeština": "cs", "magyar": "hu", "türkçe": "tr", "turkce": "tr",
    "русский": "ru", "українська": "uk", "ελληνικά": "el", "العربية": "ar", "עברית": "he", "日本語": "ja",
    "中文": "zh", "한국어": "ko", "ไทย": "th", "हिन्दी": "hi", "tiếng việt": "vi", "mandarin": "zh", "farsi": "fa",
}  # fmt: skip


def language(code: str) -> Language:
    """The language of a code ("de", also "de-AT" and "de_AT") or an English name ("German").

    Raises:
        ConfigError: no such language.
    """
    plain = code.strip().lower().replace("_", "-")
    named = {one.name.lower(): one for one in LANGUAGES.values()}
    found = LANGUAGES.get(plain) or LANGUAGES.get(plain.partition("-")[0]) or named.get(plain)
    if found is None:
        raise ConfigError(f"no language {code!r}{_meant(plain, named)}; known are {', '.join(LANGUAGES)}")
    return found


def _meant(code: str, named: dict[str, Language]) -> str:
    """The language that was meant, as a part of a sentence; "" where none is near."""
    near = difflib.get_close_matches(code, named, n=1, cutoff=0.75)
    meant = LANGUAGES.get(_OTHER_CODES.get(code) or _OWN_NAMES.get(code, "")) or (named[near[0]] if near else None)
    return f": {meant.code} is {meant.name}" if meant else ""
