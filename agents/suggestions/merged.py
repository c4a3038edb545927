"""Several sources as one: the words of all, those first that more sources rank high.

MergedSource([titles, product_type, log], shop.tokenizer).suggest(["couch"])
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.suggestions.base import Suggestion, SuggestionSource
from qr_env.language.tokenize import Tokenizer


class MergedSource:
    """Words by the sum over the sources of 1 / rank, with the greatest weight that any source gives.

    A word that two sources spell differently is one word, by its stem: the spelling, and the name of the source, are
    those of the greatest weight.
    """

    def __init__(self, sources: Sequence[SuggestionSource], tokenizer: Tokenizer) -> None:
        self.sources, self._tokenizer = tuple(sources), tokenizer

    @property
    def name(self) -> str:
        """The sources' names, joined by "+"."""
        return "+".join(source.name for source in self.sources)

    def suggest(self, queries: Sequence[str]) -> list[list[Suggestion]]:
        """See `SuggestionSource.suggest`."""
        columns = [source.suggest(queries) for source in self.sources]
        return [_merged([column[at] for column in columns], self._tokenizer) for at in range(len(queries))]


def _merged(lists: Sequence[Sequence[Suggestion]], tokenizer: Tokenizer) -> list[Suggestion]:
    """One query's words; of equal ranks the heavier first, then by the alphabet."""
    best: dict[str, Suggestion] = {}
    score: dict[str, float] = {}
    for suggestions in lists:
        for rank, suggestion in enumerate(suggestions, 1):
            stem = tokenizer.stem(suggestion.word)
            score[stem] = score.get(stem, 0.0) + 1 / rank
            if stem not in best or suggestion.weight > best[stem].weight:
                best[stem] = suggestion
    return [best[stem] for stem in sorted(best, key=lambda stem: (-score[stem], -best[stem].weight, stem))]
