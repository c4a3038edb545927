"""`agents.suggestions.merged`."""

from __future__ import annotations

from collections.abc import Sequence

from agents.suggestions.base import Suggestion
from agents.suggestions.merged import MergedSource
from qr_env.language.tokenize import ENGLISH


class Fixed:
    """The same words for every query but "none"."""

    def __init__(self, name: str, *words: tuple[str, float]) -> None:
        self.name, self.words = name, words

    def suggest(self, queries: Sequence[str]) -> list[list[Suggestion]]:
        return [
            [] if q == "none" else [Suggestion(word, weight, self.name) for word, weight in self.words] for q in queries
        ]


def test_words_of_several_sources_come_first_with_their_greatest_weight() -> None:
    merged = MergedSource(
        [Fixed("one", ("sofas", 0.5), ("seat", 0.4)), Fixed("two", ("seats", 0.6), ("chair", 0.1))], ENGLISH
    )
    assert merged.name == "one+two"
    assert merged.suggest(["couch", "none"]) == [
        [Suggestion("seats", 0.6, "two"), Suggestion("sofas", 0.5, "one"), Suggestion("chair", 0.1, "two")],
        [],
    ]
