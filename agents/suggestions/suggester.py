"""Numbered suggestions: the words that `suggest` knows for a query, as a list that a policy chooses from by number.

    suggester = Suggester(suggest, OfferSettings())         # suggest: agents.suggestions.rewriter.Suggest
    offer = suggester.offers(["paint gun"])[0]              # offer.words: sprayer .12, airless .1, hvlp .08
    offer.usual                                             # "1 2 3": what `suggest` itself would add
    rewrite_of("1 3", offer)                                # "sprayer^0.12 hvlp^0.08"
    rewrite_of("1 1 graco", offer)                          # "sprayer^0.24 graco"

A choice is a text. A word of it that is the number of a suggestion stands for that suggestion with its weight, times
how often the number is named; every other word is a word of the policy's own. Numbers count from 1, so that "12" is an
ordinary word where fewer words are suggested, and the digits of the query are never read as numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.suggestions.base import Suggestion
from agents.suggestions.repair import RepairSource
from agents.suggestions.rewriter import Evidence, added_words
from agents.suggestions.settings import SuggestSettings
from qr_env.common.errors import ConfigError
from qr_env.query_text.weights import write_weights
from qr_env.retrieval.combine import ORIGINAL_WEIGHT

MOST_OFFERED = 8
CACHED_QUERIES = 100_000


@dataclass(frozen=True)
class OfferSettings:
    """What is offered; saved with a student that was trained on it."""

    sources: tuple[str, ...] = ("titles",)
    """Names of the sources besides repair (`agents.suggestions.factory`)."""
    most: int = MOST_OFFERED
    """Suggestions a query at most."""
    gated: bool = True
    """Offer words of titles only where `suggest` would add some, and repaired words elsewhere: a judge that is not a
    person likes more words on every query, people like them where few results hold the whole query."""
    suggest: SuggestSettings = field(default_factory=SuggestSettings)
    """Constants of `suggest`: whose titles, weights of the words, and what it would choose."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OfferSettings:
        """The settings of which `dataclasses.asdict` gave these values."""
        return cls(tuple(values["sources"]), values["most"], values["gated"], SuggestSettings(**values["suggest"]))


@dataclass(frozen=True, slots=True)
class Offer:
    """What is suggested for one query."""

    words: tuple[Suggestion, ...] = ()
    """Suggestions, numbered from 1: repaired words first, then the best words of titles. Their weight is that of the
    word in the rewrite."""
    full_matches: int = 0
    """How many of the first ten results hold every (repaired) word of the query."""
    usual: str = ""
    """The choice of `suggest`; "" where it adds nothing."""
    repair: str = ""
    """The choice of the repaired words alone."""


class EvidenceFinder(Protocol):
    """What finds words for queries: `agents.suggestions.rewriter.Suggest`."""

    def evidence(self, queries: Sequence[str]) -> list[Evidence]:
        """Repaired words, suggested words and full matches of P queries."""
        ...


class Suggester:
    """Offers suggestions, and remembers them by query. Queries of a call that it does not know are looked up together.

    Args:
        finder: finds the words; None: settings that can be read and saved, and no offers.
        settings: how many, how heavy.
        combine, weight: how the rewrites will be searched together with their queries (`qr_env.retrieval.combine`).
    """

    def __init__(
        self,
        finder: EvidenceFinder | None,
        settings: OfferSettings,
        combine: str = "expand",
        weight: float = ORIGINAL_WEIGHT,
    ) -> None:
        self.settings = settings
        self._finder, self._combine = finder, combine
        self._weight = weight if combine == "expand" else 1.0
        self._known: dict[str, Offer] = {}

    def offers(self, queries: Sequence[str]) -> list[Offer]:
        """The suggestions for each of P queries.

        Raises:
            ConfigError: there is no finder.
        """
        fresh = [query for query in dict.fromkeys(queries) if query not in self._known]
        found = dict(zip(fresh, self._look_up(fresh), strict=True)) if fresh else {}
        offers = [found[query] if query in found else self._known[query] for query in queries]
        if len(self._known) + len(found) > CACHED_QUERIES:
            self._known.clear()
        self._known |= found
        return offers

    def rewrites(self, queries: Sequence[str], choices: Sequence[str]) -> list[str]:
        """The rewrites that N choices for N queries stand for.

        Where the search does not add the query to its rewrite, a choice of suggestions alone gets the query's words.
        """
        return [
            f"{query.replace('^', ' ')} {rewrite_of(choice, offer)}"
            if self._combine != "expand" and names_only_suggestions(choice, offer)
            else rewrite_of(choice, offer)
            for query, choice, offer in zip(queries, choices, self.offers(queries), strict=True)
        ]

    def _look_up(self, queries: Sequence[str]) -> list[Offer]:
        if self._finder is None:
            raise ConfigError(
                "this student chooses from suggestions, and was loaded without a suggester: "
                "use make_agent(folder, AgentOptions(…)), or Student.load(folder, suggester=…)"
            )
        return [self._offer(evidence) for evidence in self._finder.evidence(queries)]

    def _offer(self, evidence: Evidence) -> Offer:
        settings, repaired = self.settings.suggest, evidence.repaired[: self.settings.most]
        words = [Suggestion(word, self._weight, RepairSource.name) for word in repaired]
        if evidence.full_matches < settings.full_matches or not self.settings.gated:
            words += [
                Suggestion(item.word, self._weight * item.weight / settings.ratio, item.source)
                for item in evidence.words
            ]
        words = words[: self.settings.most]
        usual = len(added_words(evidence, settings))
        return Offer(
            tuple(words), evidence.full_matches, first_numbers(min(usual, len(words))), first_numbers(len(repaired))
        )


def first_numbers(count: int) -> str:
    """The choice of the first `count` suggestions."""
    return " ".join(map(str, range(1, count + 1)))


def rewrite_of(choice: str, offer: Offer) -> str:
    """The rewrite that a choice stands for (module docstring); a blank choice stays blank."""
    words = choice.split()
    times = Counter(word for word in words if suggestion_at(word, offer))
    parts = []
    for word in dict.fromkeys(words) if times else words:
        item = suggestion_at(word, offer)
        parts.append(word if item is None else write_weights([(item.word, item.weight * times[word])]))
    return " ".join(part for part in parts if part)


def suggestion_at(word: str, offer: Offer) -> Suggestion | None:
    """The suggestion whose number the word is; None for every other word."""
    is_number = word.isascii() and word.isdecimal() and not word.startswith("0")
    return offer.words[int(word) - 1] if is_number and int(word) <= len(offer.words) else None


def names_only_suggestions(choice: str, offer: Offer) -> bool:
    """Whether a choice names suggestions and has no word of its own."""
    words = choice.split()
    return bool(words) and all(suggestion_at(word, offer) for word in words)
