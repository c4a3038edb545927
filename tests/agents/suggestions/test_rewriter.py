"""`agents.suggestions.rewriter`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from agents.suggestions.base import Suggestion
from agents.suggestions.rewriter import Evidence, Repaired, Suggest, with_added_words
from agents.suggestions.settings import NO_GATE, SuggestSettings
from qr_env.common.errors import ConfigError
from qr_env.query_text.repair import Repair
from qr_env.retrieval import combine
from qr_env.retrieval.bm25 import BM25
from qr_env.shop.shop import Shop
from tests.helpers.catalogue import shop_of

TITLES = ["premium deck paint", "deck paint roller", "wood stain", "wood stain brush", "oak floor", "paint brush"]


class Fixed:
    """Suggests the same two words for every query."""

    name = "fixed"

    def suggest(self, queries: Sequence[str]) -> list[list[Suggestion]]:
        return [[Suggestion("wood", 0.8, "fixed"), Suggestion("stain", 0.4, "fixed")] for _ in queries]


@pytest.fixture(scope="module")
def shop() -> Shop:
    return shop_of(TITLES)


def suggest(shop: Shop, combine: str = "expand", weight: float = 1.0, **settings: float) -> Suggest:
    chosen = SuggestSettings(**settings)  # type: ignore[arg-type]
    return Suggest(shop, BM25.build(shop), Fixed(), Repair(shop), chosen, combine, weight)


def test_words_are_added_where_too_few_results_hold_the_query(shop: Shop) -> None:
    agent = suggest(shop, full_matches=2)
    assert agent.rewrite(["deckpaint", "floor", "zzz", ""]) == [
        ["deck paint"],  # two titles hold its repaired words: the repair alone
        ["wood^0.2 stain^0.1"],
        ["wood^0.2 stain^0.1"],
        ["wood^0.2 stain^0.1"],
    ]
    assert agent.rewrite(["deckpaint"], n=2) == [["deck paint"] * 2]
    assert agent.rewrite([]) == []


def test_settings_decide_how_many_words_how_heavy_and_where(shop: Shop) -> None:
    agent = suggest(shop)
    evidence = agent.evidence(["deckpaint"])[0]
    assert (evidence.repaired, evidence.full_matches) == (("deck", "paint"), 2)
    assert agent.compose(evidence) == "deck paint wood^0.2 stain^0.1"
    assert agent.compose(evidence, SuggestSettings(words=1, ratio=2.0, full_matches=NO_GATE)) == "deck paint wood^0.4"
    assert agent.compose(evidence, SuggestSettings(full_matches=2)) == "deck paint"
    assert agent.compose(evidence, SuggestSettings(words=0)) == "deck paint"
    assert agent.compose(Evidence("floor", (), (), 0)) == "floor"


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_weights_follow_the_originals_so_that_the_ranking_does_not_change(shop: Shop, weight: float) -> None:
    queries = ["deckpaint", "oak floor"]
    lists = []
    for combining_weight in (1.0, weight):
        agent = suggest(shop, "expand", combining_weight, full_matches=NO_GATE)
        texts = [group[0] for group in agent.rewrite(queries)]
        lists.append(combine.search(BM25.build(shop), queries, texts, "expand", combining_weight, 6))
    assert np.array_equal(lists[0].rows_NK, lists[1].rows_NK)
    assert lists[1].scores_NK == pytest.approx(weight * lists[0].scores_NK, rel=1e-5)


def test_replacing_rewrites_hold_the_querys_words_and_rank_as_expansion_does(shop: Shop) -> None:
    agent = suggest(shop, "replace", full_matches=NO_GATE)
    assert agent.rewrite(["oak^2 floor"]) == [["oak 2 floor wood^0.2 stain^0.1"]]
    assert Repaired(Repair(shop), "replace").rewrite(["deckpaint", "floor"]) == [["deckpaint deck paint"], ["floor"]]
    replaced = combine.search(BM25.build(shop), ["floor"], agent.rewrite(["floor"])[0], "replace", k=6)
    expanded = combine.search(BM25.build(shop), ["floor"], ["wood^0.2 stain^0.1"], "expand", k=6)
    assert np.array_equal(replaced.rows_NK, expanded.rows_NK)


def test_repair_adds_its_words_alone(shop: Shop) -> None:
    agent = Repaired(Repair(shop))
    assert agent.rewrite(["deckpaint", "floor"], n=2) == [["deck paint"] * 2, ["floor"] * 2]
    assert Repaired(Repair(shop), "expand", 2.0).rewrite(["deckpaint"]) == [["deck^2 paint^2"]]


def test_words_that_weigh_nothing_keep_the_query(shop: Shop) -> None:
    assert combine.is_kept("floor", with_added_words("floor", [("wood", 0.001)], "expand", 1.0))
    with pytest.raises(ConfigError, match="combine"):
        Repaired(Repair(shop), "both")
