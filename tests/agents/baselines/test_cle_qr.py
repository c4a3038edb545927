"""CLE-QR: the trained head, the expected increment of neighbours, and the thresholds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from agents.baselines.cle_qr import Choice, CleQR, Thresholds, expected_demand, expected_gain, train_head
from agents.query_log.purchase_log import PurchaseLog
from qr_env.common.errors import ConfigError
from qr_env.common.types import Hits
from qr_env.shop.shop import PURCHASE_SCHEMA, Shop
from tests.helpers.fakes import HashEncoder, WordRetriever, tiny_shop


class WordVectors(HashEncoder):
    """Knows no synonyms: every word has a vector of its own."""

    name = "word vectors"

    def _vector(self, text: str) -> np.ndarray:
        return super()._vector(" ".join(f"{word}_" for word in text.split()) or " ")


@pytest.fixture(scope="module")
def shop() -> Shop:
    return tiny_shop()


def test_the_head_moves_queries_with_the_same_purchases_together() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    group = np.arange(40) % 4  # four products, ten queries each, vectors that do not depend on it
    bought = sp.csr_matrix((np.ones(40), (np.arange(40), group)), shape=(40, 4))
    head = train_head(vectors, bought, seed=1, epochs=150)
    np.testing.assert_array_equal(head, train_head(vectors, bought, seed=1, epochs=150))
    same = group[:, None] == group[None, :]

    def gap(points: np.ndarray) -> float:
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
        cosine = points @ points.T
        return float(cosine[same & ~np.eye(40, dtype=bool)].mean() - cosine[~same].mean())

    assert gap(vectors @ head) > gap(vectors) + 0.05


def test_demand_and_gain_equal_their_formulas() -> None:
    bought = sp.csr_matrix([[1, 1, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    near, cosine = np.array([[0, 2], [1, 0]]), np.array([[0.9, 0.8], [0.5, -np.inf]])
    found = expected_demand(near, cosine, bought).toarray()
    weight = np.exp(0.9 / 0.05) / (np.exp(0.9 / 0.05) + np.exp(0.8 / 0.05))
    np.testing.assert_allclose(found, [[weight, weight, 1 - weight], [0, 1, 0]], atol=1e-6)
    hits = Hits(np.array([[2, 0, -1], [1, 2, 0]], np.int32), np.zeros((2, 3), np.float32))
    expected = [(1 - weight) + weight / np.log2(3), 1.0]
    np.testing.assert_allclose(expected_gain(sp.csr_matrix(found), hits), expected, atol=1e-6)


def test_thresholds_accept_near_neighbours_with_a_positive_increment() -> None:
    choice = Choice(np.zeros(4, np.int64), np.array([1.0, 0.0, 0.5, 2.0]), np.array([0.9, 0.9, 0.2, 0.5]))
    assert Thresholds().accept(choice).tolist() == [True, False, True, True]
    assert Thresholds(0.4, 0.8).accept(choice).tolist() == [True, False, False, True]


def test_an_unknown_query_gets_the_words_of_its_neighbour(shop: Shop) -> None:
    # "settee" finds nothing; its vector is that of "sofa", whose purchases the log holds.
    agent = CleQR(shop, WordRetriever(shop), HashEncoder(), neighbours=4)
    assert agent.rewrite(["settee"], n=2)[0] == ["sofa", "sofa"]
    assert agent.rewrite(["running shoes"])[0][0] == "running shoes"  # finds its products already
    assert agent.costs["searches/query"] == 5  # itself and four neighbours
    assert CleQR(shop, WordRetriever(shop), HashEncoder(), "replace").rewrite(["settee"]) == [["sofa"]]
    again = CleQR(shop, WordRetriever(shop), HashEncoder(), neighbours=4)
    assert again.rewrite(["icebox", "couch white"]) == agent.rewrite(["icebox", "couch white"])
    assert agent.rewrite([]) == []


def test_a_query_is_not_its_own_neighbour(shop: Shop) -> None:
    agent = CleQR(shop, WordRetriever(shop), HashEncoder(), "replace")
    for query, (rewrite,) in zip(("couch", "COUCH "), agent.rewrite(["couch", "COUCH "]), strict=True):
        assert rewrite == query or rewrite.strip().lower() != "couch"  # unchanged, or another query's words
    near, cosine = agent._nearest(["COUCH "], HashEncoder().encode(["COUCH "]))
    itself = [shop.split("train")[at].text == "couch" for at in near[0]]
    assert any(itself) and np.isneginf(cosine[0, itself]).all()


def test_fitted_thresholds_reject_bad_neighbours(shop: Shop) -> None:
    # Uninformative vectors: no neighbour lets dev queries find more.
    agent = CleQR(shop, WordRetriever(shop), WordVectors(), "replace")
    dev = PurchaseLog.of(shop, shop.split("dev"))
    texts = [query.text for query in dev.queries]
    rewrites = [row[0] for row in agent.rewrite(texts)]
    retriever, rows = WordRetriever(shop), np.arange(len(texts))
    before, after = (dev.found_share(rows, retriever.search(part, 10)) for part in (texts, rewrites))
    assert after.sum() >= before.sum()


def test_only_train_and_dev_logs_are_read(shop: Shop) -> None:
    test_ids = {query.id for query in shop.split("test")}
    rows = [row for row in shop.purchases.to_pylist() if row["query_id"] not in test_ids]
    kept = shop.purchases.from_pylist(rows, schema=PURCHASE_SCHEMA)
    bare = replace(shop, purchases=kept, qrels=sp.csr_matrix(shop.qrels.shape, dtype=np.int8))
    texts = [query.text for query in shop.all_queries]
    with_labels, without = (CleQR(each, WordRetriever(each), HashEncoder()).rewrite(texts) for each in (shop, bare))
    assert with_labels == without


def test_labels_replace_purchases_and_a_shop_without_either_is_refused(shop: Shop) -> None:
    labelled = replace(shop, purchases=PURCHASE_SCHEMA.empty_table())
    log = PurchaseLog.of(labelled, labelled.split("train"))
    assert len(log.queries) == 7 and log.bought_PC.shape == (7, 30)
    assert CleQR(labelled, WordRetriever(shop), HashEncoder()).rewrite(["settee"]) == [["sofa"]]
    empty = replace(labelled, qrels=sp.csr_matrix(shop.qrels.shape, dtype=np.int8))
    with pytest.raises(ConfigError, match="cle-qr"):
        CleQR(empty, WordRetriever(shop), HashEncoder())
