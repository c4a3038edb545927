"""`agents.suggestions.cache`: nothing is computed twice, and memory and disk are bounded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.suggestions.base import Suggestion
from agents.suggestions.cache import CachedSource, suggestion_key
from qr_env.common.text_store import TextStore


class Counting:
    """Suggests the query's length; keeps what it was asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def suggest(self, queries: Sequence[str]) -> list[list[Suggestion]]:
        self.asked += queries
        return [[Suggestion("é" * len(query), 1 / 3, self.name)] if query else [] for query in queries]


def test_each_distinct_query_is_computed_once(tmp_path: Path) -> None:
    store, first, second = TextStore(tmp_path), Counting(), Counting()
    cached = CachedSource(first, "key", store)
    expected = Counting().suggest(["a", "", "ab", "a"])
    assert cached.suggest(["a", "", "ab", "a"]) == expected == cached.suggest(["a", "", "ab", "a"])
    assert first.asked == ["a", "", "ab"] and cached.name == "counting"
    assert CachedSource(second, "key", store).suggest(["a", "", "ab", "a"]) == expected
    assert not second.asked
    CachedSource(second, "other", store).suggest(["a"])
    assert second.asked == ["a"]


def test_memory_forgets_the_queries_that_were_not_asked_for_longest() -> None:
    source = Counting()
    cached = CachedSource(source, "key", remembered=2)
    for query in ("a", "b", "a", "c", "a", "b"):
        cached.suggest([query])
    assert source.asked == ["a", "b", "c", "b"]
    assert cached.suggest(["d", "e", "f"])[2][0].word == "é"  # more than are remembered


def test_the_disk_keeps_the_first_queries_alone(tmp_path: Path) -> None:
    store = TextStore(tmp_path)
    cached = CachedSource(Counting(), "key", store, stored=2)
    for query in ("a", "b", "c"):
        cached.suggest([query])
    assert store.count("key") == 2 and store.count("other") == 0
    assert set(store.get("key", ["a", "b", "c"])) == {"a", "b"}


def test_the_key_depends_on_source_shop_and_settings() -> None:
    keys = {
        suggestion_key(*facts)
        for facts in (("a", "s", {"x": 1}), ("b", "s", {"x": 1}), ("a", "t", {"x": 1}), ("a", "s", {"x": 2}))
    }
    assert len(keys) == 4
