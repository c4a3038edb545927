"""Spelling correction of single words by the words of a catalogue (SymSpell, Garbe 2012)."""

from __future__ import annotations

from collections import Counter

from qr_env.language.scripts import UNSPACED
from qr_env.shop.shop import Shop

# Columns of the catalogue whose words count as correctly spelled.
DICTIONARY_COLUMNS = ("title", "brand", "attributes")


class SpellingIndex:
    """The nearest catalogue word of a misspelled word.

    Left as they are: words whose stem the catalogue has, words of three letters or fewer, words with a digit, words of
    scripts without spaces, where two characters are a word, and words more than `max_distance` edits
    (Damerau-Levenshtein) from every catalogue word. Among equally near words the most
    frequent one is taken.
    """

    def __init__(self, shop: Shop, max_distance: int = 2) -> None:
        from symspellpy import SymSpell

        self._max_distance = max_distance
        self._nearest: dict[str, str] = {}
        counts = catalogue_words(shop)
        self._tokenizer = shop.tokenizer
        self._stems = {self._tokenizer.stem(word) for word in counts}
        self._index = SymSpell(max_dictionary_edit_distance=max_distance)
        for word, count in counts.items():
            if _is_correctable(word):
                self._index.create_dictionary_entry(word, count)

    def correction(self, word: str) -> str:
        """The corrected word in lower case; "" where the word is left as it is."""
        key = self._tokenizer.normalise(word)
        if not _is_correctable(key) or self._tokenizer.stem(key) in self._stems:
            return ""
        if key not in self._nearest:
            self._nearest[key] = self._look_up(key)
        return self._nearest[key]

    def _look_up(self, word: str) -> str:
        from symspellpy import Verbosity

        found = self._index.lookup(word, Verbosity.TOP, max_edit_distance=self._max_distance)
        return str(found[0].term) if found else ""


def _is_correctable(word: str) -> bool:
    return len(word) > 3 and word.isalpha() and not UNSPACED.match(word)


def catalogue_words(shop: Shop) -> Counter[str]:
    """Number of occurrences of each unstemmed word in titles, brands and attributes."""
    counts: Counter[str] = Counter()
    for column in DICTIONARY_COLUMNS:
        for chunk in shop.products[column].chunks:
            counts.update(shop.tokenizer.words("\n".join(text or "" for text in chunk.to_pylist())))
    return counts
