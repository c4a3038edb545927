"""Words of the titles that a second search engine finds for a query.

    source = TitleSource(Dense.build(shop, encoder), shop, repair)
    source.suggest(["deckpaint"])           # [[Suggestion("wood", 0.7, "titles"), Suggestion("stain", 0.6, "titles")]]

What a shop calls a thing stands in its titles. An engine that knows the thing by other words than the shopper's (a
dense one beside BM25, BM25 beside a dense one) finds those titles, and their words lead the first engine to more of
them. As in pseudo-relevance feedback (Lavrenko & Croft 2001), but the feedback is another engine's.

A word's weight is the share of the `titles` nearest titles that have it. Words are ranked by share × idf. Which words
count at all: `TitleStems`; words whose stem the query or its repair has are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agents.suggestions.base import Suggestion
from agents.suggestions.title_words import TitleStems
from qr_env.common.protocols import Retriever
from qr_env.query_text.repair import Repair
from qr_env.retrieval.combine import search_unique
from qr_env.shop.shop import Shop

TITLES = 20  # nearest titles of a query
AT_MOST = 20  # words for a query


class TitleSource:
    """The words of the titles that `engine` finds.

    Args:
        engine: searches the repaired queries, in one call a batch.
        shop: the products of the engine.
        repair: of the queries, before they are searched; of this shop.
        titles: number of nearest titles.
        at_most: number of words for a query.
    """

    name = "titles"

    def __init__(
        self, engine: Retriever, shop: Shop, repair: Repair, titles: int = TITLES, at_most: int = AT_MOST
    ) -> None:
        self._engine, self._repair = engine, repair
        self._titles, self._at_most = titles, at_most
        self._stems = TitleStems(shop.titles, shop.tokenizer)

    def suggest(self, queries: Sequence[str]) -> list[list[Suggestion]]:
        """See `SuggestionSource.suggest`; the weight is the share of the titles that have the word."""
        repaired = [self._repair.corrected(query) for query in queries]
        shares_PV = self._stems.shares(search_unique(self._engine, repaired, self._titles))
        own_PV = self._stems.presence([f"{query} {text}" for query, text in zip(queries, repaired, strict=True)])
        added_PV = (shares_PV - shares_PV.multiply(own_PV)).tocsr()
        spans = zip(added_PV.indptr[:-1], added_PV.indptr[1:], strict=True)
        return [self._best(added_PV.indices[start:end], added_PV.data[start:end]) for start, end in spans]

    def _best(self, columns: npt.NDArray[np.int32], shares: npt.NDArray[np.float64]) -> list[Suggestion]:
        """The words with the greatest share × idf; ties by column, for equal results on every machine."""
        order = np.lexsort((columns, -shares * self._stems.idf_V[columns]))[: self._at_most]
        found = zip(columns[order].tolist(), shares[order].tolist(), strict=True)
        return [Suggestion(self._stems.words[column], share, self.name) for column, share in found if share > 0]
