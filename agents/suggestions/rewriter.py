"""`suggest`, a rewriter that trains nothing: repaired words, and words of a second engine's titles where they help.

    agent = Suggest(shop, bm25, TitleSource(dense, shop, repair), repair)
    agent.rewrite(["deckpaint"])              # [["deck paint wood^0.18 stain^0.15"]]

    qr evaluate --shop my_shop --agent identity spell repair suggest

1. The query's repaired words are added, each as heavy as a typed word.
2. The query and its repaired words are searched. Where `full_matches` or more of the first ten results hold every word
   of the query, that is all.
3. Else the source's best `words` words are added, each at its weight / `ratio`.

Steps 1 and 2 do not depend on steps 3's constants: `Suggest.evidence` computes them once, and `Suggest.compose` turns
them into a rewrite for any settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.suggestions.base import Suggestion, SuggestionSource
from agents.suggestions.full_matches import FullMatches
from agents.suggestions.settings import GATE_DEPTH, SuggestSettings
from qr_env.common.protocols import Retriever
from qr_env.query_text.repair import Repair
from qr_env.query_text.weights import write_weights
from qr_env.retrieval import combine as combining
from qr_env.shop.shop import Shop


@dataclass(frozen=True, slots=True)
class Evidence:
    """What `suggest` knows of a query before its settings decide."""

    query: str
    """As typed."""
    repaired: tuple[str, ...]
    """Repaired words that the query lacks."""
    words: tuple[Suggestion, ...]
    """Words of the source, best first."""
    full_matches: int
    """How many of the first ten results of the repaired query hold every word of it."""


class Repaired:
    """Adds a query's repaired words, each as heavy as a typed one; other queries are kept."""

    name = "repair"

    def __init__(self, repair: Repair, combine: str = "expand", weight: float = combining.ORIGINAL_WEIGHT) -> None:
        """combine, weight: how the rewrite will be searched together with its query (`qr_env.retrieval.combine`)."""
        combining.check(combine, weight)
        self._repair, self._combine, self._weight = repair, combine, weight

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The repaired words, n times; the query itself where there are none."""
        texts = [self._rewritten(query) for query in queries]
        return [[text] * n for text in texts]

    def added_words(self, query: str) -> tuple[str, ...]:
        """The repaired words that the query lacks."""
        return self._repair.added_words(query)

    def _rewritten(self, query: str) -> str:
        words = [(word, 1.0) for word in self.added_words(query)]
        return with_added_words(query, words, self._combine, self._weight)


class Suggest:
    """Repaired words, and a source's words where few results hold the whole query; see the module docstring.

    Args:
        shop: the products.
        retriever: the engine that the rewrites are for; it is searched once a batch, for the gate.
        source: suggests the words that are added; `agents.suggestions.titles` by default of `--agent suggest`.
        repair: of this shop.
        settings: how many words, how heavy, for which queries.
        combine, weight: how the rewrites will be searched together with their queries (`qr_env.retrieval.combine`).
    """

    name = "suggest"

    def __init__(
        self,
        shop: Shop,
        retriever: Retriever,
        source: SuggestionSource,
        repair: Repair,
        settings: SuggestSettings | None = None,
        combine: str = "expand",
        weight: float = combining.ORIGINAL_WEIGHT,
    ) -> None:
        combining.check(combine, weight)
        self.settings = settings or SuggestSettings()
        self._retriever, self._source, self._repair = retriever, source, repair
        self.combine, self.weight = combine, weight
        self._full_matches = FullMatches(shop, repair)
        self._repaired = Repaired(repair, combine, weight)

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The words to add, with weights, n times; the query itself where there are none."""
        return [[self.compose(evidence)] * n for evidence in self.evidence(queries)]

    def evidence(self, queries: Sequence[str]) -> list[Evidence]:
        """Repaired words, suggested words and full matches of P queries, by one search of the engine."""
        rewrites = [group[0] for group in self._repaired.rewrite(queries)]
        hits = combining.search(self._retriever, queries, rewrites, self.combine, self.weight, GATE_DEPTH)
        columns = zip(
            queries, self._source.suggest(queries), self._full_matches.count(queries, hits).tolist(), strict=True
        )
        return [Evidence(query, self._repair.added_words(query), tuple(words), n) for query, words, n in columns]

    def compose(self, evidence: Evidence, settings: SuggestSettings | None = None) -> str:
        """The rewrite of one query by these settings; None takes the agent's."""
        return self.with_words(evidence.query, added_words(evidence, settings or self.settings))

    def with_words(self, query: str, words: Sequence[tuple[str, float]]) -> str:
        """The rewrite that adds these words, with weights, to a query; a typed word weighs 1."""
        return with_added_words(query, words, self.combine, self.weight)


def added_words(evidence: Evidence, settings: SuggestSettings) -> list[tuple[str, float]]:
    """The words that are added to a query by these settings, with weights; a typed word weighs 1."""
    words = [(word, 1.0) for word in evidence.repaired]
    if evidence.full_matches >= settings.full_matches:
        return words
    return words + [(added.word, added.weight / settings.ratio) for added in evidence.words[: settings.words]]


def with_added_words(query: str, words: Sequence[tuple[str, float]], combine: str, weight: float) -> str:
    """The rewrite that adds words to a query, where a weight of 1 is that of a typed word; the query without any words.

    In "expand" the rewrite holds the added words alone, since the search adds the query itself, with `weight`: theirs
    are multiplied by it. In "replace" and "union" the rewrite is searched without the query, so that it holds the
    query's words too.
    """
    if not words:
        return query
    if combine == "expand":
        return write_weights((word, weight * own) for word, own in words)
    return write_weights([(query.replace("^", " "), 1.0), *words])
