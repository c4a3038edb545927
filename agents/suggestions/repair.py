"""Suggestions that repair a query: its corrected words, split and joined compounds (`qr_env.query_text.repair`)."""

from __future__ import annotations

from collections.abc import Sequence

from agents.suggestions.base import Suggestion
from qr_env.query_text.repair import Repair


class RepairSource:
    """The repaired words of a query, each as heavy as a typed one."""

    name = "repair"

    def __init__(self, repair: Repair) -> None:
        self.repair = repair

    def suggest(self, queries: Sequence[str]) -> list[list[Suggestion]]:
        """See `SuggestionSource.suggest`."""
        return [[Suggestion(word, 1.0, self.name) for word in self.repair.added_words(query)] for query in queries]
