"""Spelling correction of single words by the words of a catalogue (SymSpell, Garbe 2012)."""

from __future__ import annotations

from collections import Counter

from qr_env.common import tokenize
from qr_env.shop.shop import Shop

# Columns of the catalogue whose words count as correctly spelled.
DICTIONARY_COLUMNS = ("title", "brand", "attributes")


class SpellingIndex:
    """The nearest catalogue word of a misspelled word.

    Left as they are: words whose stem the catalogue has, words of three letters or fewer, words with a digit, and words
    more than `max_distance` edits (Damerau-Levenshtein) from every catalogue word. Among equally near words the most
    frequent one is taken.
    """

    def __init__(self, shop: Shop, max_distance: int = 2) -> None:
        from symspellpy import SymSpell

        self._max_distance = max_distance
        self._nearest: dict[str, str] = {}
        counts = catalogue_words(shop)
        self._stems = {tokenize.stem(word) for word in counts}
        self._index = SymSpell(max_dictionary_edit_distance=max_distance)
        for word, count in counts.items():
            if word.isalpha() and len(word) > 3:
                self._index.create_dictionary_entry(word, count)

    def correction(self, word: str) -> str:
        """The corrected word in lower case; "" where the word is left as it is."""
        key = tokenize.normalise(word)
        if len(key) <= 3 or not key.isalpha() or tokenize.stem(key) in self._stems:
            return ""
        if key not in self._nearest:
            self._nearest[key] = self._look_up(key)
        return self._nearest[key]

    def _look_up(self, word: str) -> str:
        from symspellpy import Verbosity

        found = self._index.lookup(word, Verbosity.TOP, max_edit_distance=self._max_distance)
        return str(found[0].term) if found else ""


def catalogue_words(shop: Shop) -> Counter[str]:
    """Number of occurrences of each unstemmed word in titles, brands and attributes."""
    counts: Counter[str] = Counter()
    for column in DICTIONARY_COLUMNS:
        for chunk in shop.products[column].chunks:
            counts.update(tokenize.words("\n".join(text or "" for text in chunk.to_pylist())))
    return counts
