"""The protocol of a source of suggestions, and what it suggests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A word that may be added to a query."""

    word: str
    """One word as `Tokenizer.words` gives it. Its stem is no stem of the query's own words."""
    weight: float
    """Confidence of the source, > 0 and at most 1, such as the share of its titles that hold the word. 1 weighs as much
    as a word that the shopper typed."""
    source: str
    """Name of the source that suggests it."""


class SuggestionSource(Protocol):
    """Suggests words for queries."""

    @property
    def name(self) -> str:
        """For prompts, logs and reports: "repair", "titles", "log", "type", "teacher" …"""
        ...

    def suggest(self, queries: Sequence[str]) -> list[list[Suggestion]]:
        """For each of P queries its suggestions, best first, at most one a stem; [] where there is nothing to add.

        A query's suggestions depend on no other query of the batch.
        """
        ...
