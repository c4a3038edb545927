"""Warm-start pairs: the log's words, kept only where engine and judge pay for them."""

import numpy as np
import pytest

from agents.pairs import rejection_sample
from agents.scoring import simulator_scorer
from agents.word_model import candidates, word_model, words_of
from judges.labels import LabelsJudge
from qr_env.reward import Reward
from qr_env.simulator import Simulator
from tests.fakes import WordRetriever, tiny_shop


@pytest.fixture(scope="module")
def world():
    shop = tiny_shop()
    return shop, shop.split("train")


def test_the_log_says_that_a_couch_is_a_sofa(world):
    shop, train = world
    options = dict(zip([q.text for q in train], candidates(word_model(shop, train), train), strict=True))
    assert any("sofa" in text.split() for text in options["couch"])
    assert any("refrigerator" in text.split() for text in options["fridge"])


def test_no_candidate_repeats_the_query(world):
    shop, train = world
    for query, texts in zip(train, candidates(word_model(shop, train), train), strict=True):
        assert all(set(words_of(text)).isdisjoint(words_of(query.text)) for text in texts)


def test_shares_equal_a_slow_count(world):
    shop, train = world
    model = word_model(shop, train)
    for i, query in enumerate(train):
        pairs = zip(shop.purchases["query_id"].to_pylist(), shop.purchases["product_id"].to_pylist(), strict=True)
        titles = [shop.titles[shop.product_row[p]] for q, p in pairs if q == query.id]
        for word, column in model.title_words_T.items():
            share = np.mean([word in words_of(title) for title in titles]) if titles else 0.0
            assert model.bought_N_T[i, column] == pytest.approx(share)


def test_test_queries_purchases_are_not_read(world):
    shop, train = world
    model = word_model(shop, train[:1])
    assert model.bought_N_T.shape[0] == 1
    assert set(model.query_words_Q) == set(words_of(train[0].text))


def test_rejection_keeps_the_best_paid_and_leaves_the_rest_alone(world):
    _, train = world
    options = [["a", "b"], ["c"], [], ["d"]]
    rewards = np.array([[0.1, 0.3], [-0.2, np.nan], [np.nan, np.nan], [np.nan, np.nan]], np.float32)
    found = rejection_sample(train[:4], options, lambda q, o: rewards)
    assert found.pairs == [(train[0].text, "b"), (train[1].text, ""), (train[2].text, "")]
    assert (found.tried, found.kept, found.alone, found.unjudged) == (4, 1, 2, 1)


def test_a_query_is_left_alone_only_where_every_candidate_was_judged(world):
    _, train = world
    nan = np.nan
    rewards = np.array([[nan, nan, -0.1], [0.01, nan, nan], [nan, 0.5, nan], [-0.1, -0.2, 0.01]], np.float32)
    options = [["a", "b", "c"], ["a"], ["a", "b"], ["a", "b", "c"]]
    found = rejection_sample(train[:4], options, lambda q, o: rewards)
    assert found.pairs == [(train[1].text, ""), (train[2].text, "b"), (train[3].text, "")]
    assert (found.kept, found.alone, found.unjudged) == (1, 2, 1)


def test_the_shop_itself_scores_candidates(world):
    shop, train = world

    def simulator(blocks, group_size):
        return Simulator(shop, WordRetriever(shop), LabelsJudge(shop), Reward(), blocks=blocks, group_size=group_size)

    options = candidates(word_model(shop, train), train)
    found = rejection_sample(train, options, simulator_scorer(simulator, chunk=3))
    rewrites = dict(found.pairs)
    assert "sofa" in rewrites["couch"]
    assert rewrites["sofa"] == ""  # nothing beats a query that finds what it should
