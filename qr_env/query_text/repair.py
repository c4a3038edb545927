"""Repair of a query's words: misspelled words corrected, compounds split and joined as the shop's titles write them.

    repair = Repair.of(shop)
    repair.added_words("deckpaint kombo 20v")      # ("deck", "paint", "combo")
    repair.corrected("deckpaint 20v")              # "deck paint 20 v"
    repair.units("base board")                     # (Unit(typed=("base", "board"), repaired=("baseboard",)),)

Nothing is replaced: the repaired words are added to the query, or stand beside the typed ones for a judge that compares
words. A token with a digit (sizes, model numbers) is never touched. Rules, for words of letters only:

- split: "deckpaint" → deck paint, where titles hold the two words side by side at least `MIN_SIDE_BY_SIDE` times and
  fewer than `COMMON` titles hold the compound.
- join: "base board" → baseboard, where at least `COMMON` titles hold the compound, and more than hold the two words
  side by side.
- spelling: the nearest word of the catalogue for a word that the catalogue does not have (`spelling.py`).

Counts are of titles, by stem. In other languages than English a compound that any title holds is never split, and words
with a stop word between them are not side by side: German "Lampenschirm" is no "Lampe mit Schirm". Words of scripts
without spaces are left as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from weakref import WeakValueDictionary

from qr_env.language.scripts import UNSPACED
from qr_env.query_text.spelling import SpellingIndex
from qr_env.shop.shop import Shop

MIN_SIDE_BY_SIDE = 2  # titles with both words side by side, for a split
COMMON = 5  # titles from which on a compound counts as a word of the shop's language
SHORTEST_PART = 2  # letters of each part of a split
CACHE_SIZE = 1 << 16


@dataclass(frozen=True, slots=True)
class Unit:
    """One or two neighboring words of a query that are repaired together, or left as they are."""

    typed: tuple[str, ...]
    """the words as typed, normalised by `qr_env.language.tokenize`"""
    repaired: tuple[str, ...] = ()
    """the words that say the same in the shop's spelling; () where the unit is left as it is"""


class Repair:
    """Repairs queries by one shop's titles."""

    def __init__(self, shop: Shop) -> None:
        self._tokenizer = shop.tokenizer
        self._english = shop.language == "en"
        self._spelling = SpellingIndex(shop)
        self._titles_with: Counter[str] = Counter()
        self._side_by_side: Counter[tuple[str, str]] = Counter()
        for title in shop.titles:
            stems = [self._tokenizer.stem(word) for word in self._tokenizer.words(title)]
            if self._english:
                stems = [stem for stem in stems if stem]
            self._titles_with.update(set(stems))
            self._side_by_side.update({pair for pair in pairwise(stems) if all(pair)})
        self.units = lru_cache(CACHE_SIZE)(self._units)

    @classmethod
    def of(cls, shop: Shop) -> Repair:
        """The repair of this catalogue, built once as long as anything in the process uses it."""
        repair = _IN_USE.get(shop.products_hash)
        if repair is None:
            repair = _IN_USE[shop.products_hash] = cls(shop)
        return repair

    def added_words(self, query: str) -> tuple[str, ...]:
        """The repaired words that the query does not have, in the query's order."""
        own = {self._tokenizer.stem(word) for word in self._tokenizer.words(query)} - {""}
        added = dict.fromkeys(word for unit in self.units(query) for word in unit.repaired)
        return tuple(word for word in added if self._tokenizer.stem(word) not in own)

    def corrected(self, query: str) -> str:
        """The query with its repaired units in place of the typed ones; a query without any is returned as it is."""
        units = self.units(query)
        if not any(unit.repaired for unit in units):
            return query
        return " ".join(word for unit in units for word in unit.repaired or unit.typed)

    def _units(self, query: str) -> tuple[Unit, ...]:
        """The query's words in order, in units that are repaired together."""
        return tuple(self._walk(self._tokens(query)))

    def _walk(self, tokens: list[tuple[str, bool]]) -> Iterator[Unit]:
        at = 0
        while at < len(tokens):
            word, has_letters_only = tokens[at]
            following = tokens[at + 1] if at + 1 < len(tokens) else ("", False)
            if has_letters_only and following[1] and self._is_joined(word, following[0]):
                yield Unit((word, following[0]), (word + following[0],))
                at += 2
            else:
                yield Unit((word,), self._repaired(word) if has_letters_only else ())
                at += 1

    def _is_joined(self, left: str, right: str) -> bool:
        """Whether titles write the two words as one."""
        stem = self._tokenizer.stem
        together = self._titles_with[stem(left + right)]
        return together >= COMMON and together > self._side_by_side[stem(left), stem(right)]

    def _repaired(self, word: str) -> tuple[str, ...]:
        parts = self._split(word)
        if parts:
            return parts
        corrected = self._spelling.correction(word)
        return (corrected,) if corrected else ()

    def _split(self, word: str) -> tuple[str, ...]:
        """The two words that titles write for a compound, the most frequent pair; () where there is none."""
        stem = self._tokenizer.stem
        if self._titles_with[stem(word)] >= (COMMON if self._english else 1):
            return ()
        cuts = range(SHORTEST_PART, len(word) - SHORTEST_PART + 1)
        pairs = [(word[:cut], word[cut:]) for cut in cuts]
        counts = [self._side_by_side[stem(left), stem(right)] for left, right in pairs]
        best = max(counts, default=0)
        return pairs[counts.index(best)] if best >= MIN_SIDE_BY_SIDE else ()

    def _tokens(self, query: str) -> list[tuple[str, bool]]:
        """The query's words, each with whether it may be repaired: its token between spaces has no digit."""
        return [
            (word, word.isalpha() and not any(map(str.isdigit, token)) and not UNSPACED.match(word))
            for token in self._tokenizer.normalise(query).split()
            for word in self._tokenizer.words(token)
        ]


_IN_USE: WeakValueDictionary[str, Repair] = WeakValueDictionary()  # by hash of the products
