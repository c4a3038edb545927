"""What may be a good completion for a query, for rejection sampling: words of the query log, choices of suggestions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.examples.scoring import Scorer
from agents.query_log.word_model import WordModel, candidates
from agents.suggestions.suggester import Offer, Suggester
from qr_env.common.types import FloatArray, Query

BEST_COUNTS = (1, 2, 3, 5, 8)  # this many of the best words of titles, together
ALONE = 4  # this many of the best words, each alone


class CandidateSource(Protocol):
    """Proposes completions."""

    def knows(self, query: Query) -> bool:
        """Whether the source has something to say about the query."""
        ...

    def candidates(self, queries: Sequence[Query]) -> list[list[str]]:
        """Candidates for each of P queries that the source knows; "" is not among them."""
        ...

    def defaults(self, queries: Sequence[Query]) -> list[str]:
        """The completion of each query that a candidate has to beat: "", or one of its candidates."""
        ...


@dataclass(frozen=True)
class LogCandidates:
    """Words of the titles that were bought for a query, or for its words (`agents.query_log.word_model`)."""

    model: WordModel
    """Statistics of the query log."""
    keep_words: bool = False
    """Prepend the query, for `combine` modes that search the rewrite without the query."""

    def knows(self, query: Query) -> bool:
        """See `CandidateSource`."""
        return query.id in self.model.row_of

    def candidates(self, queries: Sequence[Query]) -> list[list[str]]:
        """See `CandidateSource`."""
        options = candidates(self.model, queries)
        if not self.keep_words:
            return options
        return [[f"{query.text} {text}" for text in texts] for query, texts in zip(queries, options, strict=True)]

    def defaults(self, queries: Sequence[Query]) -> list[str]:
        """The original query."""
        return [""] * len(queries)


@dataclass(frozen=True)
class ChoiceCandidates:
    """Choices of a query's suggestions (`agents.suggestions.suggester`), which have to beat that of `suggest`."""

    suggester: Suggester
    """Offers the suggestions."""

    def knows(self, query: Query) -> bool:
        """Every query."""
        return True

    def candidates(self, queries: Sequence[Query]) -> list[list[str]]:
        """See `CandidateSource`."""
        return list(map(choices, self.suggester.offers([query.text for query in queries])))

    def defaults(self, queries: Sequence[Query]) -> list[str]:
        """What `suggest` chooses."""
        return [offer.usual for offer in self.suggester.offers([query.text for query in queries])]


@dataclass(frozen=True)
class AllCandidates:
    """The candidates of several sources; those that know a query."""

    sources: Sequence[CandidateSource]
    """The first one that knows a query gives its default."""

    def knows(self, query: Query) -> bool:
        """See `CandidateSource`."""
        return any(source.knows(query) for source in self.sources)

    def candidates(self, queries: Sequence[Query]) -> list[list[str]]:
        """See `CandidateSource`."""
        found: list[list[str]] = [[] for _ in queries]
        for source in self.sources:
            places = [place for place, query in enumerate(queries) if source.knows(query)]
            for place, texts in zip(places, source.candidates([queries[i] for i in places]), strict=True):
                found[place] += texts
        return [list(dict.fromkeys(texts)) for texts in found]

    def defaults(self, queries: Sequence[Query]) -> list[str]:
        """See `CandidateSource`."""
        return [
            next((source.defaults([query])[0] for source in self.sources if source.knows(query)), "")
            for query in queries
        ]


def choices(offer: Offer) -> list[str]:
    """A dozen choices: what `suggest` takes, the repaired words alone, with the best words, and with single words."""
    repaired = offer.repair.split()
    others = [str(number) for number in range(len(repaired) + 1, len(offer.words) + 1)]
    texts = [offer.usual, offer.repair]
    texts += [" ".join([*repaired, *others[:count]]) for count in BEST_COUNTS]
    texts += [" ".join([*repaired, number]) for number in others[:ALONE]]
    return [text for text in dict.fromkeys(texts) if text]


@dataclass(frozen=True)
class ChoiceScorer:
    """A `Scorer` of completions: the rewards of the rewrites that they stand for."""

    score: Scorer
    """Rewards of rewrites."""
    suggester: Suggester
    """Knows what numbers stand for."""

    def __call__(self, queries: Sequence[Query], options: Sequence[Sequence[str]], /) -> FloatArray:
        """(P, G) rewards."""
        texts = [query.text for query in queries]
        rewrites = [self.suggester.rewrites([text] * len(row), row) for text, row in zip(texts, options, strict=True)]
        return self.score(queries, rewrites)
