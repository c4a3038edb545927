"""The language of a shop, told from its titles and queries.

    told = tell_language(titles, queries)
    told.code, told.evidence             # "de", "für, mit, schwarz (412 of 3,080 words)"

First the script: that of most titles, where a title has the foreign script that a quarter of its letters are of (brands
and models are written in Latin letters everywhere). Scripts of several languages are told apart by their letters. A
language in Latin letters is told by its words (`language_words.yaml`) and letters; English unless the evidence for
another is stronger, so that a shop of bare names is read as English. No script of most titles is "mul".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import yaml

from qr_env.language.codes import LANGUAGES, MIXED
from qr_env.language.scripts import CJK, HANGUL, LATIN, script

Texts: TypeAlias = "Sequence[str] | pa.ChunkedArray"

SAMPLE = 4_000  # titles, and queries, that are read
CHARACTERS = 400  # of each
FOREIGN_SHARE = 0.25  # of a title's letters
MOST = 0.6  # of the titles
MIN_EVIDENCE = 2.0  # words
MIN_EVIDENCE_SHARE = 0.03  # of all words
HOME_ADVANTAGE = 1.3  # English, against languages that English shops borrow from
EXAMPLES = 4

_WORD_LISTS = Path(__file__).with_name("language_words.yaml")
_WORD = re.compile(r"[^\W\d_]{2,}")
_KANA = re.compile(r"[ぁ-ゖァ-ヺ]")
_BY_SCRIPT = {
    HANGUL: "ko", "HEBREW": "he", "GREEK": "el", "THAI": "th", "LAO": "lo", "KHMER": "km", "MYANMAR": "my",
    "DEVANAGARI": "hi", "TAMIL": "ta", "ARMENIAN": "hy", "GEORGIAN": "ka",
}  # fmt: skip
# Script → languages with the letters that they alone have in it, and the share of the letters from which on they tell.
_BY_LETTERS = {
    "CYRILLIC": (
        ("kk", "әғқңөұүһ", 0.01), ("sr", "ђћџљњј", 0.005), ("uk", "їєґ", 0.003), ("ru", "ыэё", 0.003),
        ("bg", "ъ", 0.003),
    ),
    "ARABIC": (("ur", "ٹڈڑںے", 0.01), ("fa", "پچژگکی", 0.02)),
}  # fmt: skip
_BY_DEFAULT = {"CYRILLIC": "ru", "ARABIC": "ar"}
_LETTERS = {
    "de": "äöüß", "sv": "åäö", "da": "æøå", "no": "æøå", "fi": "äö", "fr": "éèêàçœùûîô", "es": "ñáéíóú",
    "pt": "ãõçáéíóúâêô", "it": "àèéìòù", "ro": "ăâîșşțţ", "pl": "ąćęłńóśźż", "cs": "ěščřžýáíéůúďťň",
    "sk": "ľĺŕôäčďťňšžýáíéú", "hu": "őűöüóáéíú", "tr": "ışğçöü", "et": "õäöü", "lt": "ąčęėįšųūž", "lv": "āčēģīķļņšūž",
    "hr": "čćđšž", "sl": "čšž", "ca": "àçèéíïòóúü", "vi": "ăâđêôơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ToldLanguage:
    """A language and why."""

    code: str
    """As in `qr_env.language.codes`."""
    evidence: str
    """What tells it, as a part of a sentence; "" for English where nothing tells another."""

    def __str__(self) -> str:
        why = f"told by {self.evidence}" if self.evidence else "since nothing tells another"
        return f"{LANGUAGES[self.code].name} ({self.code}), {why}"


def tell_language(titles: Texts, queries: Texts = ()) -> ToldLanguage:
    """The language of titles and queries, lists or columns. Both are sampled evenly."""
    texts = [_prepared(text) for text in (*_sample(titles), *_sample(queries))]
    scripts = [_script_of_text(text) for text in texts]
    counts = Counter(filter(None, scripts))
    if not counts:
        return ToldLanguage("en", "")
    found, number = counts.most_common(1)[0]
    share = number / counts.total()
    if share < MOST:
        shares = " and ".join(f"{count / counts.total():.0%} {_said(name)}" for name, count in counts.most_common(2))
        return ToldLanguage(MIXED, f"the scripts of titles and queries: {shares}")
    own = [text for text, name in zip(texts, scripts, strict=True) if name == found]
    if found == LATIN:
        return _by_words(own)
    return ToldLanguage(_by_script(found, own), f"{_said(found)} letters in {share:.0%} of titles and queries")


def _said(name: str) -> str:
    return name if name == CJK else name.capitalize()


def _sample(texts: Texts) -> list[str]:
    places = range(0, len(texts), max(1, -(-len(texts) // SAMPLE)))
    if isinstance(texts, pa.ChunkedArray):
        sample: list[str] = texts.take(pa.array(places, pa.int64())).to_pylist()
        return sample
    return [texts[place] for place in places]


def _prepared(text: str) -> str:
    return unicodedata.normalize("NFKC", text[:CHARACTERS]).lower()


def _script_of_text(text: str) -> str:
    """The foreign script of a quarter of a text's letters or more, else Latin; "" without a letter."""
    if text.isascii():
        return LATIN if any(map(str.isalpha, text)) else ""
    counts = Counter(filter(None, map(script, text)))
    for name in (CJK, HANGUL):  # an ideograph or a syllable says as much as several letters
        counts[name] *= 2
    foreign, name = max((count, name) for name, count in counts.items() if name != LATIN)
    if foreign and foreign >= FOREIGN_SHARE * counts.total():
        return name
    return LATIN if counts.total() else ""


def _by_script(name: str, texts: Sequence[str]) -> str:
    if name == CJK:
        return "ja" if sum(bool(_KANA.search(text)) for text in texts) >= 0.1 * len(texts) else "zh"
    if name in _BY_LETTERS:
        counts = Counter(character for text in texts for character in text if script(character) == name)
        for code, own, least in _BY_LETTERS[name]:
            if sum(counts[letter] for letter in own) >= least * counts.total():
                return code
        return _BY_DEFAULT[name]
    return _BY_SCRIPT.get(name, MIXED)


def _by_words(texts: Sequence[str]) -> ToldLanguage:
    """The Latin language with the strongest evidence; a word of n languages is 1/n for each, a letter half as much."""
    counts = Counter(word for text in texts for word in _WORD.findall(text))
    of_word, of_letter = _latin_lists()
    scores: dict[str, float] = {"en": 0.0}
    shown: dict[str, Counter[str]] = {}
    for word, count in counts.items():
        known = of_word.get(word, ())
        for code in known:
            scores[code] = scores.get(code, 0.0) + count / len(known)
            shown.setdefault(code, Counter())[word] = count
        if not known and not word.isascii():
            for code, part in _letter_evidence(word, of_letter).items():
                scores[code] = scores.get(code, 0.0) + count * part
    words = counts.total()
    scores["en"] *= HOME_ADVANTAGE
    code, score = max(scores.items(), key=lambda item: (item[1], item[0]))
    if code == "en" or score < max(MIN_EVIDENCE, MIN_EVIDENCE_SHARE * words):
        return ToldLanguage("en", "its words" if scores["en"] > 0 else "")
    examples = shown.get(code, Counter())
    listed = ", ".join(word for word, _ in examples.most_common(EXAMPLES)) or "its letters"
    return ToldLanguage(code, f"{listed} ({examples.total():,} of {words:,} words)")


def _letter_evidence(word: str, of_letter: dict[str, tuple[str, ...]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for letter in set(word):
        languages = of_letter.get(letter, ())
        for code in languages:
            found[code] = max(found.get(code, 0.0), 0.5 / len(languages))
    return found


@cache
def _latin_lists() -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Word → languages, and letter → languages."""
    listed: dict[str, str] = yaml.safe_load(_WORD_LISTS.read_text(encoding="utf-8"))
    return _turned({code: words.split() for code, words in listed.items()}), _turned(_LETTERS)


def _turned(lists: dict[str, list[str]] | dict[str, str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for code, members in lists.items():
        for member in dict.fromkeys(members):
            found[member] = (*found.get(member, ()), code)
    return found
