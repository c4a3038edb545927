"""Parse a product's text into noun phrases, sizes, colours and attribute values.

    parse(title="HP dv6 notebook case, Black", brand="HP", …).title   # [["notebook", "case"], ["black"]]

Titles are split into noun phrases at punctuation, prepositions and numbers; the head noun is the last word that can
name a thing ("ink cartridge black" → cartridge). The word lists are English; other languages lose only these
refinements. Used by `vocabulary.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from qr_env.common import tokenize

_COLOURS = """
black white grey gray silver red blue green yellow orange pink purple brown beige gold golden ivory navy violet
turquoise transparent multicolour multicolor multicolored cream tan bronze copper rose charcoal cyan magenta matt matte
"""
_UNITS = """
cm mm m km in inch inches ft kg g mg lb lbs oz l ml gb tb mb kb ghz mhz hz w kw v va a mah wh mp dpi rpm ppm db px pcs
pieces pack sheets pages x bit pixels
"""
# Words that cannot be a head noun.
_NOT_HEADS = """
original new genuine compatible indoor outdoor edition version series type set size colour color model kit wireless
wired portable external internal standard generation mini pro max plus ultra lite ii iii iv vi full high small large
medium single double dual multi grade class style
"""
COLOURS = frozenset(_COLOURS.split())
UNITS = frozenset(_UNITS.split())
NOT_HEADS = COLOURS | UNITS | frozenset(_NOT_HEADS.split())
_PREPOSITION_LIST = "for with in by from to of without w up compatible via per on incl including supports"
_PREPOSITIONS = frozenset(_PREPOSITION_LIST.split())
_NO_VALUES = frozenset(("true", "false", "yes", "none", "not supported", "not available", "unknown", "other"))
_BREAK = re.compile(r"[,;:()\[\]{}/|\"”“'+&•·!?\n\t\\=]|\s[-–—]+\s|\.(?:\s|$)")
_SIZE = re.compile(
    r"(?<![\w.])(\d+(?:\.\d)?)\s?(gb|tb|mb|ml|l|kg|g|w|mah|inch|in|\"|oz|lb|ft|m|cm|mp|pack|pcs|pieces)(?![\w.])"
)
_NUMBERY = re.compile(r"\d|[^\w-]|_")
_TEXT_CHARS = 600


@dataclass(slots=True)
class Parsed:
    """The parsed text of one product."""

    title: list[list[str]]
    """Noun phrases of the title, without the brand's words."""
    rest: list[list[str]]
    """Noun phrases of description and category, without the brand's words."""
    values: list[str]
    """Attribute values of one or two plain words."""
    brand: str
    """Normalised brand."""
    colours: tuple[str, ...]
    """The first known colour, or none."""
    sizes: tuple[tuple[str, str], ...]
    """At most three sizes of the title, each (number, unit)."""
    heads: tuple[str, ...]
    """Stems of the head nouns of the title's phrases, in order."""
    title_terms: frozenset[str]
    """Index terms of the title."""
    terms: frozenset[str]
    """Index terms of all fields."""


def parse(title: str, description: str, brand: str, category: str, colour: str, attributes: str) -> Parsed:
    """Parse one product; only the first 600 characters of a field are read."""
    brand = tokenize.normalise(brand).strip()
    brand_words = {brand, *re.findall(r"[^\W_]+", brand)}
    description, attributes = description[:_TEXT_CHARS], attributes[:_TEXT_CHARS]
    all_text = " ".join((title, description, brand, category, colour, attributes))
    title_phrases = _without(phrases(title[:_TEXT_CHARS]), brand_words)
    leaf = re.split(r"[>/|]", category)[-1]
    return Parsed(
        title_phrases,
        _without(phrases(f"{description}; {leaf}"), brand_words),
        [value for pair in tokenize.normalise(attributes).split("|") if (value := _value(pair))],
        brand,
        tuple(c for c in re.split(r"[^\w]+", tokenize.normalise(colour)) if c in COLOURS)[:1],
        tuple(_SIZE.findall(tokenize.normalise(title[:_TEXT_CHARS])))[:3],
        tuple(tokenize.stem(phrase[-1]) for phrase in map(up_to_head, title_phrases) if phrase),
        frozenset(tokenize.terms(title[:_TEXT_CHARS])),
        frozenset(tokenize.terms(all_text)),
    )


def phrases(text: str) -> list[list[str]]:
    """Noun phrases of a text: runs of words between punctuation, numbers and prepositions.

    Words after a preposition are left out ("filter for laptops" → [["filter"]]): they name what a product is used with.
    """
    found: list[list[str]] = []
    for part in _BREAK.split(tokenize.normalise(text).replace("'s ", " ")):
        run: list[str] = []
        used_with = False
        for token in part.split():
            token = token.strip(".-*#®_")
            if token in _PREPOSITIONS or _NUMBERY.search(token) or token in tokenize.stop_words() or not token:
                found += [run] if run and not used_with else []
                run, used_with = [], token in _PREPOSITIONS or (used_with and token in tokenize.stop_words())
            else:
                run.append(token)
        found += [run] if run and not used_with else []
    return found


def _value(pair: str) -> str:
    """The value of a normalised "key: value" if it is one or two plain words, else ""."""
    value = pair.split(":", 1)[-1].strip()
    plain = re.fullmatch(r"[a-z]{3,}(?: [a-z]{3,})?", value)
    usable = plain and not NOT_HEADS.issuperset(value.split()) and value not in _NO_VALUES
    return value if usable else ""


def _without(found: list[list[str]], brand_words: set[str]) -> list[list[str]]:
    return [left for phrase in found if (left := [word for word in phrase if word not in brand_words])]


def up_to_head(phrase: Sequence[str]) -> Sequence[str]:
    """The phrase up to its head noun: the last word that can name a thing."""
    end = len(phrase)
    while end and not can_be_head(phrase[end - 1]):
        end -= 1
    return phrase[:end]


def can_be_head(word: str) -> bool:
    """Whether a word can name a thing."""
    return len(word) > 1 and "-" not in word and word not in NOT_HEADS


def stems(found: Iterable[Sequence[str]]) -> set[str]:
    """The stems of all words of the phrases."""
    return {tokenize.stem(word) for phrase in found for word in phrase}


@dataclass(frozen=True)
class StemCounts:
    """Document frequencies of stems over a catalogue."""

    size: int
    """Number of products."""
    title: Counter[str]
    """Stem → number of products with it in the title."""
    rest: Counter[str]
    """Stem → number of products with it in description or category."""
    brands: Counter[str]
    """Stem → number of brands whose products have it."""
    word: dict[str, str]
    """Stem → its most frequent spelling."""
    title_words: set[str]
    """All words of the titles without a hyphen."""

    @classmethod
    def of(cls, parsed: Sequence[Parsed]) -> StemCounts:
        """Count the stems of all products."""
        title, rest, spellings = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
        pairs: set[tuple[str, str]] = set()
        title_words: set[str] = set()
        for product in parsed:
            in_title, in_rest = stems(product.title), stems(product.rest)
            title.update(in_title)
            rest.update(in_rest)
            pairs.update((stem, product.brand) for stem in in_title | in_rest)
            words = {word for phrase in (*product.title, *product.rest) for word in phrase}
            spellings.update((tokenize.stem(word), word) for word in words)
            title_words.update(word for phrase in product.title for word in phrase if "-" not in word)
        word = {stem: spelling for (stem, spelling), _ in sorted(spellings.items(), key=lambda kv: (kv[1], kv[0]))}
        return cls(len(parsed), title, rest, Counter(stem for stem, _ in pairs), word, title_words)

    @cached_property
    def min_count(self) -> int:
        """Number of occurrences below which counts are ignored."""
        return 3 if self.size >= 200 else 2

    @cached_property
    def min_brands(self) -> int:
        """Number of brands that a common word must have: two, or one where the shop has no brands."""
        return 2 if self.size >= 200 and max(self.brands.values(), default=1) > 2 else 1
