"""How product names are built in a language: which word is the head noun, where a phrase ends, which words are colours.

    grammar("fr").phrases("Machine à café Krups, noir")     # [["café", "machine"], ["noir"]] without the brand's words
    grammar("de").can_be_head("schwarz")                    # False

Phrases hold their head noun last, as English and German say it. In languages that say it first ("machine à café")
phrases are turned around, and `Grammar.spoken` turns a query's words back. A language without word lists
(`grammars.yaml`) has no colours, no prepositions and no other words that cannot be a head noun than units; its stop
words end a phrase.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from qr_env.language.scripts import LATIN, UNSPACED, mark_class, script_of, without_accents
from qr_env.language.tokenize import Tokenizer, tokenizer

_LISTS = Path(__file__).with_name("grammars.yaml")
_ANY_NOT_HEADS = "original set mini pro max plus ultra lite ii iii iv vi"  # of every language
_UNITS = """
cm mm m km in inch inches ft kg g mg lb lbs oz l ml gb tb mb kb ghz mhz hz w kw v va a mah wh mp dpi rpm ppm db px pcs
pieces pack sheets pages x bit pixels
"""
UNITS = frozenset(_UNITS.split())
_BREAK = re.compile(r"[,;:()\[\]{}/|\"”“'+&•·!?\n\t\\=]|\s[-–—]+\s|\.(?:\s|$)")
_OTHER_BREAK = re.compile(rf"{_BREAK.pattern}|[、。，；：・「」『』【】〈〉《》〔〕（）〜～«»„‚،؛।]")
_NUMBERY = re.compile(r"\d|[^\w-]|_")
_VOWEL = re.compile("[aeiouy]")
_ENGLISH_VALUE = re.compile(r"[a-z]{3,}(?: [a-z]{3,})?")
# Katakana beside another Japanese script, two characters or more on both sides: コードレス掃除機.
_KATAKANA_EDGE = re.compile(r"(?<=[ァ-ヺー]{2})(?=[ぁ-ゖ一-鿿]{2})|(?<=[ぁ-ゖ一-鿿]{2})(?=[ァ-ヺ][ァ-ヺー])")


@dataclass(frozen=True, eq=False)
class Grammar:
    """The word lists of one language, and what is done with them. Get one from `grammar`."""

    tokenizer: Tokenizer
    """Of the language."""
    prepositions: frozenset[str]
    """Words after them name what a product is used with."""
    links: frozenset[str]
    """Words inside a name that are left out of it."""
    colours: frozenset[str]
    """Names of colours."""
    not_heads: frozenset[str]
    """Words that cannot be a head noun: colours, units, and others."""
    numbery: re.Pattern[str]
    """Found in tokens that end a phrase: numbers and signs."""
    head_first: bool
    """Whether names say the head noun first."""

    @property
    def english(self) -> bool:
        """Whether English plurals and units may be written."""
        return self.tokenizer.language.code == "en"

    def spoken(self, words: Sequence[str]) -> list[str]:
        """Words with the head noun last, in the order in which the language says them; and the other way round."""
        return list(reversed(words)) if self.head_first else list(words)

    def phrases(self, text: str) -> list[list[str]]:
        """Noun phrases of a text, heads last: runs of words between punctuation, numbers and prepositions.

        Words after a preposition are left out ("filter for laptops" → [["filter"]]): they name what a product is used
        with.
        """
        found: list[list[str]] = []
        stop_words = self.tokenizer.stop_words
        breaks = _BREAK if self.english else _OTHER_BREAK
        for part in breaks.split(self.tokenizer.normalise(text).replace("'s ", " ")):
            run: list[str] = []
            used_with = False
            for token in self._tokens(part):
                token = token.strip(".-*#®_")
                if run and token in self.links:
                    continue
                if token in self.prepositions or self.numbery.search(token) or token in stop_words or not token:
                    found += [run] if run and not used_with else []
                    run, used_with = [], token in self.prepositions or (used_with and token in stop_words)
                else:
                    run.append(token)
            found += [run] if run and not used_with else []
        return [self.spoken(run) for run in found]

    def _tokens(self, part: str) -> list[str]:
        tokens = part.split()
        if self.tokenizer.language.code != "ja":
            return tokens
        return [piece for token in tokens for piece in _KATAKANA_EDGE.split(token)]

    def up_to_head(self, phrase: Sequence[str]) -> Sequence[str]:
        """The phrase up to its head noun: the last word that can name a thing."""
        end = len(phrase)
        while end and not self.can_be_head(phrase[end - 1]):
            end -= 1
        return phrase[:end]

    def can_be_head(self, word: str) -> bool:
        """Whether a word can name a thing."""
        return (len(word) > 1 or self.may_be_short(word)) and "-" not in word and word not in self.not_heads

    def may_be_short(self, word: str) -> bool:
        """Whether one or two characters may be a word: ideographs, and other scripts without spaces."""
        return not self.english and bool(UNSPACED.match(word))

    def is_full(self, word: str) -> bool:
        """Whether a word is no abbreviation: Latin words have four letters and a vowel, others three letters."""
        if self.english or script_of(word) == LATIN:
            return len(word) > 3 and bool(_VOWEL.search(without_accents(word)))
        return len(word) > 2 or self.may_be_short(word)

    def colours_of(self, text: str) -> tuple[str, ...]:
        """The first known colour of a product's field; in languages without a list its only word."""
        words = re.split(r"[^\w]+", self.tokenizer.normalise(text))
        if self.colours:
            return tuple(word for word in words if word in self.colours)[:1]
        return tuple(words) if len(words) == 1 and words[0].isalpha() else ()

    def is_plain(self, value: str) -> bool:
        """Whether an attribute value is one or two words of letters."""
        if self.english:
            return bool(_ENGLISH_VALUE.fullmatch(value))
        words = value.split()
        return len(words) in (1, 2) and all(not self.numbery.search(word) and self.can_be_head(word) for word in words)

    def stems(self, found: Sequence[Sequence[str]]) -> set[str]:
        """The stems of all words of the phrases."""
        return {self.tokenizer.stem(word) for phrase in found for word in phrase}


@cache
def grammar(code: str) -> Grammar:
    """The grammar of a language (`qr_env.language.codes`)."""
    lists = _word_lists().get(code, {})
    colours, prepositions, links, others = (
        frozenset(str(lists.get(name, "")).split()) for name in ("colours", "prepositions", "links", "not_heads")
    )
    not_heads = colours | UNITS | others | frozenset(_ANY_NOT_HEADS.split())
    numbery = _NUMBERY if code == "en" else re.compile(rf"\d|[^\w{mark_class()}-]|_")
    head_first = bool(lists.get("head_first", False))
    return Grammar(tokenizer(code), prepositions, links, colours, not_heads, numbery, head_first)


@cache
def _word_lists() -> dict[str, dict[str, str | bool]]:
    """Language → name of a list → its words."""
    lists: dict[str, dict[str, str | bool]] = yaml.safe_load(_LISTS.read_text(encoding="utf-8"))
    return lists
