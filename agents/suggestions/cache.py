"""Suggestions of a source, kept in memory and on disk, so that no query is searched or asked twice.

    source = CachedSource(TypeSource(dense, shop, repair), key, TextStore("~/.cache/qr-env/suggestions"))

The key stands for everything that suggestions depend on besides the query (`suggestion_key`): shop, engine, settings.
Memory and disk are bounded: in memory the queries that were not asked for longest make room; on disk the first
`MOST_STORED` queries of a key stay, and further ones are computed each time.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from tqdm import tqdm

from agents.suggestions.base import Suggestion, SuggestionSource
from qr_env.common.text_store import TextStore, text_key

VERSION = 1  # raise when a source suggests other words for the same query and settings
MOST_REMEMBERED = 1 << 16  # queries in memory; 1 to 5 kB each
MOST_STORED = 1 << 18  # queries of a key on disk; up to 1 kB each
BATCH = 1_000  # queries that are suggested for, and stored, together


def suggestion_key(source: str, shop: str, settings: Mapping[str, object]) -> str:
    """Key of a source's suggestions.

    Args:
        source: its name.
        shop: hash of what it reads of the shop: `Shop.products_hash`, or `Shop.hash` where it reads queries.
        settings: engine, weights of models and constants, as JSON values.
    """
    return text_key(f"suggestions-{source}", shop, {"version": VERSION, **settings})


class CachedSource:
    """A source whose suggestions are computed once a query.

    Args:
        source: computes them, in batches of `BATCH` distinct queries, with a progress bar from the second batch on.
        key: see `suggestion_key`.
        store: keeps them between runs; None keeps them in memory alone.
        remembered: number of queries in memory.
        stored: number of queries of this key on disk.
    """

    def __init__(
        self,
        source: SuggestionSource,
        key: str,
        store: TextStore | None = None,
        remembered: int = MOST_REMEMBERED,
        stored: int = MOST_STORED,
    ) -> None:
        self.source, self.key, self.store = source, key, store
        self._remembered, self._stored = remembered, stored
        self._memory: OrderedDict[str, list[Suggestion]] = OrderedDict()

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name

    def suggest(self, queries: Sequence[str]) -> list[list[Suggestion]]:
        """See `SuggestionSource.suggest`."""
        distinct = list(dict.fromkeys(queries))
        found = {query: self._memory[query] for query in distinct if query in self._memory}
        found |= self._from_disk([query for query in distinct if query not in found])
        missing = [query for query in distinct if query not in found]
        bar = tqdm(total=len(missing), desc=f"suggest {self.name}", disable=len(missing) <= BATCH, leave=False)
        with bar:
            for start in range(0, len(missing), BATCH):
                part = missing[start : start + BATCH]
                fresh = dict(zip(part, self.source.suggest(part), strict=True))
                self._to_disk(fresh)
                found |= fresh
                bar.update(len(part))
        self._remember({query: found[query] for query in distinct})
        return [list(found[query]) for query in queries]

    def _from_disk(self, queries: list[str]) -> dict[str, list[Suggestion]]:
        if not queries or self.store is None:
            return {}
        texts = self.store.get(self.key, queries)
        return {query: [Suggestion(*values) for values in json.loads(text)] for query, text in texts.items()}

    def _to_disk(self, fresh: Mapping[str, list[Suggestion]]) -> None:
        if self.store is None or self.store.count(self.key) >= self._stored:
            return
        rows = {query: [(one.word, one.weight, one.source) for one in found] for query, found in fresh.items()}
        self.store.put(self.key, {query: json.dumps(row, ensure_ascii=False) for query, row in rows.items()})

    def _remember(self, found: Mapping[str, list[Suggestion]]) -> None:
        for query, suggestions in found.items():
            self._memory[query] = suggestions
            self._memory.move_to_end(query)
        while len(self._memory) > self._remembered:
            self._memory.popitem(last=False)
