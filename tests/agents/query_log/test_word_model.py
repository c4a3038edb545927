"""Statistics of bought titles equal a slow count; candidates add new words."""

import numpy as np
import pytest

from agents.query_log.word_model import candidates, word_model, words_of
from qr_env.language.tokenize import ENGLISH
from tests.helpers.fakes import tiny_shop


@pytest.fixture(scope="module")
def shop_and_train():
    shop = tiny_shop()
    return shop, shop.split("train")


def test_the_log_suggests_sofa_for_couch(shop_and_train):
    shop, train = shop_and_train
    options = dict(zip([q.text for q in train], candidates(word_model(shop, train), train), strict=True))
    assert any("sofa" in text.split() for text in options["couch"])
    assert any("refrigerator" in text.split() for text in options["fridge"])


def test_no_candidate_repeats_the_query(shop_and_train):
    shop, train = shop_and_train
    for query, texts in zip(train, candidates(word_model(shop, train), train), strict=True):
        assert all(set(words_of(text, ENGLISH)).isdisjoint(words_of(query.text, ENGLISH)) for text in texts)


def test_shares_equal_a_slow_count(shop_and_train):
    shop, train = shop_and_train
    model = word_model(shop, train)
    for i, query in enumerate(train):
        pairs = zip(shop.purchases["query_id"].to_pylist(), shop.purchases["product_id"].to_pylist(), strict=True)
        titles = [shop.titles[shop.product_row[p]] for q, p in pairs if q == query.id]
        for word, column in model.title_words.items():
            share = np.mean([word in words_of(title, ENGLISH) for title in titles]) if titles else 0.0
            assert model.bought_PV[i, column] == pytest.approx(share)


def test_only_purchases_of_the_given_queries_are_read(shop_and_train):
    shop, train = shop_and_train
    model = word_model(shop, train[:1])
    assert model.bought_PV.shape[0] == 1
    assert set(model.query_words) == set(words_of(train[0].text, ENGLISH))
