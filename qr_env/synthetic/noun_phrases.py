"""Parse a product's text into noun phrases, sizes, colours and attribute values.

    parse(fields, grammar("en")).title   # [["notebook", "case"], ["black"]] of "HP dv6 notebook case, Black"

Titles are split into noun phrases at punctuation, prepositions and numbers; the head noun is the last word that can
name a thing ("ink cartridge black" → cartridge). Word lists and word order are those of the shop's language
(`grammar.py`). Used by `vocabulary.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from qr_env.synthetic.grammar import Grammar

_NO_VALUES = frozenset(("true", "false", "yes", "none", "not supported", "not available", "unknown", "other"))
_SIZE = re.compile(
    r"(?<![\w.])(\d+(?:\.\d)?)\s?(gb|tb|mb|ml|l|kg|g|w|mah|inch|in|\"|oz|lb|ft|m|cm|mp|pack|pcs|pieces)(?![\w.])"
)
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


@dataclass(frozen=True, slots=True)
class ProductText:
    """The text fields of one product."""

    title: str
    """As in `Shop.products`, like the others."""
    description: str
    """Text."""
    brand: str
    """One brand."""
    category: str
    """A category, or a path of categories."""
    color: str
    """A colour, or several."""
    attributes: str
    """ "key: value" pairs, separated by "|"."""


def parse(text: ProductText, grammar: Grammar) -> Parsed:
    """Parse one product; only the first 600 characters of a field are read."""
    tokenizer = grammar.tokenizer
    brand = tokenizer.normalise(text.brand).strip()
    brand_words = {brand, *re.findall(r"[^\W_]+", brand)}
    title, description, attributes = (field[:_TEXT_CHARS] for field in (text.title, text.description, text.attributes))
    all_text = " ".join((text.title, description, brand, text.category, text.color, attributes))
    title_phrases = _without(grammar.phrases(title), brand_words)
    leaf = re.split(r"[>/|]", text.category)[-1]
    return Parsed(
        title_phrases,
        _without(grammar.phrases(f"{description}; {leaf}"), brand_words),
        [value for pair in tokenizer.normalise(attributes).split("|") if (value := _value(pair, grammar))],
        brand,
        grammar.colours_of(text.color),
        tuple(_SIZE.findall(tokenizer.normalise(title)))[:3],
        tuple(tokenizer.stem(phrase[-1]) for phrase in map(grammar.up_to_head, title_phrases) if phrase),
        frozenset(tokenizer.terms(title)),
        frozenset(tokenizer.terms(all_text)),
    )


def _value(pair: str, grammar: Grammar) -> str:
    """The value of a normalised "key: value" if it is one or two plain words, else ""."""
    value = pair.split(":", 1)[-1].strip()
    usable = (
        value
        and grammar.is_plain(value)
        and not grammar.not_heads.issuperset(value.split())
        and value not in _NO_VALUES
    )
    return value if usable else ""


def _without(found: list[list[str]], brand_words: set[str]) -> list[list[str]]:
    return [left for phrase in found if (left := [word for word in phrase if word not in brand_words])]


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
    def of(cls, parsed: Sequence[Parsed], grammar: Grammar) -> StemCounts:
        """Count the stems of all products."""
        title, rest, spellings = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
        pairs: set[tuple[str, str]] = set()
        title_words: set[str] = set()
        for product in parsed:
            in_title, in_rest = grammar.stems(product.title), grammar.stems(product.rest)
            title.update(in_title)
            rest.update(in_rest)
            pairs.update((stem, product.brand) for stem in in_title | in_rest)
            words = {word for phrase in (*product.title, *product.rest) for word in phrase}
            spellings.update((grammar.tokenizer.stem(word), word) for word in words)
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
