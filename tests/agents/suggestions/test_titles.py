"""`agents.suggestions.titles`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from agents.suggestions.titles import TitleSource
from qr_env.common.types import Hits, SearchText
from qr_env.query_text.repair import Repair
from qr_env.retrieval.bm25 import BM25
from qr_env.shop.shop import Shop
from tests.helpers.catalogue import shop_of

SOFAS = [f"{color} leather sofa {size} seater" for color in ("red", "blue", "green") for size in (2, 3)]
OTHERS = [f"{kind} {name} number {n}" for kind, name in (("deck", "paint"), ("oak", "floor")) for n in range(40)]


class Recorder:
    """Searches like an engine, and keeps what it was asked for."""

    name = "recorder"

    def __init__(self, engine: BM25) -> None:
        self.engine, self.asked = engine, list[tuple[list[SearchText], int]]()

    def search(self, queries: Sequence[SearchText], k: int, on_sale_C: npt.NDArray[np.bool_] | None = None) -> Hits:
        self.asked.append((list(queries), k))
        return self.engine.search(queries, k, on_sale_C)


@pytest.fixture
def shop() -> Shop:
    return shop_of([*SOFAS, *OTHERS])


def source_of(shop: Shop, **settings: int) -> tuple[TitleSource, Recorder]:
    engine = Recorder(BM25.build(shop))
    return TitleSource(engine, shop, Repair(shop), **settings), engine  # type: ignore[arg-type]


def test_words_of_the_titles_weigh_their_share_and_the_querys_own_are_left_out(shop: Shop) -> None:
    source, _ = source_of(shop, titles=6)
    words = source.suggest(["sofas"])[0]
    assert {word.word: word.weight for word in words} == {"leather": pytest.approx(1.0), "seater": pytest.approx(1.0)}
    assert {word.source for word in words} == {"titles"}


def test_ranked_by_share_times_idf(shop: Shop) -> None:
    source, _ = source_of(shop_of([*SOFAS, *["sofa cover grey"] * 4, *OTHERS]), titles=10)
    words = source.suggest(["sofa"])[0]
    assert [word.word for word in words] == ["leather", "seater", "cover", "grey"]
    assert [word.weight for word in words] == pytest.approx([0.6, 0.6, 0.4, 0.4])


def test_the_repaired_query_is_searched_in_one_call_and_its_repair_is_not_suggested(shop: Shop) -> None:
    source, engine = source_of(shop, titles=5)
    words = source.suggest(["lether", "deckpaint", "lether"])
    assert engine.asked == [(["leather", "deck paint"], 5)]
    assert words[0] == words[2] and [word.word for word in words[0]] == ["sofa", "seater"]
    assert not {"deck", "paint"} & {word.word for word in words[1]}


def test_at_most_so_many_words_and_none_where_nothing_is_found(shop: Shop) -> None:
    source, _ = source_of(shop, titles=6, at_most=1)
    assert [len(words) for words in source.suggest(["sofa", "zzz", ""])] == [1, 0, 0]
    assert source.suggest([]) == []
