"""Training lists: their queries and products, and a teacher that needs no label."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from judges.cross_encoder.augment import (
    RANDOM_PRODUCTS,
    CatalogueJudge,
    catalogue_groups,
    draw_lists,
    made_queries,
    traffic_groups,
    without_repeats,
)
from judges.simple.embedding import EmbeddingJudge
from judges.simple.labels import LabelsJudge
from qr_env.common.errors import ConfigError
from qr_env.common.types import EXACT, SUBSTITUTE
from tests.helpers.fakes import HashEncoder, WordRetriever, tiny_shop

SHOP = tiny_shop()
WORDS = WordRetriever(SHOP)


def test_traffic_is_the_splits_queries_by_frequency() -> None:
    first = [traffic_groups(SHOP, [WORDS], 1, seed=seed).queries[0] for seed in range(400)]
    assert {query.split for query in first} == {"train"}
    counts = {query.id: sum(other.id == query.id for other in first) for query in SHOP.split("train")}
    total = sum(query.frequency for query in SHOP.split("train"))
    for query in SHOP.split("train"):
        assert counts[query.id] / 400 == pytest.approx(query.frequency / total, abs=0.07)
    groups = traffic_groups(SHOP, [WORDS], 7)
    assert sorted(query.id for query in groups.queries) == [query.id for query in SHOP.split("train")], "each once"


def test_lists_hold_retrieved_products_then_random_ones() -> None:
    texts = ["red sofa", "runing shoos", "nothing of the kind"] * 20
    rows = draw_lists(SHOP, [WORDS], texts, 8, np.random.default_rng(0))
    found = WORDS.search(texts, 50).rows_NK
    assert rows.shape == (60, 8) and rows.max() < len(SHOP.products)
    drawn = rows[:, : 8 - RANDOM_PRODUCTS]
    of_engine = (drawn[:, :, None] == found[:, None, :]) & (drawn >= 0)[:, :, None]
    hit = of_engine.any(2).mean(axis=1)
    assert (hit[0::3] == 1).all() and (hit[2::3] < 1).all(), "random products fill the lists of queries without results"
    ranks = of_engine[0::3].argmax(2)[of_engine[0::3].any(2)]
    assert (ranks == 0).mean() > 2 * (ranks == 8).mean(), "good ranks come more often"
    for line in rows:
        real = line[line >= 0]
        assert len(set(real.tolist())) == len(real)


def test_every_retriever_is_used_and_draws_are_deterministic() -> None:
    one, two = WordRetriever(SHOP), WordRetriever(SHOP)
    groups = traffic_groups(SHOP, [one, two], 7, seed=3)
    assert sum(len(texts) for texts in one.texts) + sum(len(texts) for texts in two.texts) == 7
    again = traffic_groups(SHOP, [one, two], 7, seed=3)
    assert groups.queries == again.queries and (groups.rows_NK == again.rows_NK).all()
    other = traffic_groups(SHOP, [one, two], 7, seed=4)
    assert (groups.rows_NK != other.rows_NK).any()


def test_repeated_products_become_padding() -> None:
    rows = np.array([[3, 3, 1], [-1, -1, 2], [4, 5, 4]], np.int32)
    assert without_repeats(rows).tolist() == [[3, -1, 1], [-1, -1, 2], [4, 5, -1]]


def test_missing_queries_are_made_from_the_catalogue(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        groups = traffic_groups(SHOP, [WORDS], 40)
    own, made = groups.queries[:7], groups.queries[7:]
    assert {query.row for query in made} == {-1} and all(query.row >= 0 for query in own) and len(made) > 20
    verdicts = LabelsJudge(SHOP).grade(groups.queries, groups.rows_NK).probs_NK4
    assert np.isnan(verdicts[7:]).all(), (
        "made queries have no labels: none may be looked up by the row of another query"
    )


def test_catalogue_groups_hold_products_of_the_querys_meaning() -> None:
    extended, groups = catalogue_groups(SHOP, [WORDS], 30, seed=1)
    levels = extended.levels([query.row for query in groups.queries], groups.rows_NK)
    assert (levels[:, 0] == EXACT).all(), "a positive comes first"
    assert (levels != EXACT).any(axis=1).mean() > 0.8, "lists hold negatives too"
    assert len(extended.products) == len(SHOP.products) and groups.queries[0].row >= len(SHOP.queries)


def test_the_catalogue_judge() -> None:
    extended, groups = catalogue_groups(SHOP, [WORDS], 30, seed=1)
    similarity = EmbeddingJudge(SHOP, HashEncoder())
    probs = CatalogueJudge(extended, similarity).grade(groups.queries, groups.rows_NK).probs_NK4
    plain = similarity.grade(groups.queries, groups.rows_NK).probs_NK4
    levels = extended.levels([query.row for query in groups.queries], groups.rows_NK)
    real = groups.rows_NK >= 0
    positive = real & (levels == EXACT)
    assert (probs[positive][:, EXACT] == 1).all()
    rest = real & ~positive
    assert (probs[rest][:, EXACT] == 0).all()
    np.testing.assert_allclose(probs[rest][:, SUBSTITUTE], plain[rest][:, SUBSTITUTE:].sum(axis=1), atol=1e-6)
    np.testing.assert_allclose(probs[real].sum(axis=1), 1, atol=1e-5)
    assert np.isnan(probs[~real]).all()


def test_impossible_lists_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="need a retriever"):
        draw_lists(SHOP, [], ["sofa"], 8, rng)
    with pytest.raises(ConfigError, match="lists of 2 products"):
        draw_lists(SHOP, [WORDS], ["sofa"], 2, rng)
    with pytest.raises(ConfigError, match="no products"):
        made_queries(replace(SHOP, products=SHOP.products[:0], qrels=SHOP.qrels[:, :0]), 5, 0)
