"""Rewrites and products."""

import math

import pytest

from tests.agents.serving.service.conftest import counted, loaded_with


def test_products_of_the_rewritten_query(serving):
    answer = serving().post("/search", json={"query": "red couch", "k": 3}).json()
    assert answer["rewrite"] == "sofa^0.5"
    assert [product["position"] for product in answer["products"]] == [1, 2, 3]
    assert set(answer["products"][0]) == {"product_id", "title", "price", "position", "score"}
    assert "sofa" in answer["products"][0]["title"].lower()
    assert not math.isnan(answer["products"][0]["price"] or 0.0)


def test_an_address_asks_too(serving):
    client = serving()
    assert client.get("/rewrite", params={"query": "couch"}).json()["rewrite"] == "sofa^0.5"
    assert len(client.get("/search", params={"query": "sofa", "k": "2"}).json()["products"]) == 2


def test_the_id_of_the_query_is_the_clients_where_it_has_one(serving):
    client = serving()
    assert client.post("/rewrite", json={"query": "couch", "query_id": "mine"}).json()["query_id"] == "mine"
    ids = {client.post("/rewrite", json={"query": "couch"}).json()["query_id"] for _ in range(5)}
    assert len(ids) == 5


@pytest.mark.parametrize("k", [0, -1, 101, "many", 1.5, True, None])
def test_bad_lengths_are_refused(serving, k):
    assert serving().post("/search", json={"query": "couch", "k": k}).status_code == 422


def test_a_search_that_fails_with_the_rewrite_is_done_without_it(serving, rewriter):
    loaded = loaded_with(rewriter)
    client = serving(loaded)
    search = loaded.retriever.search
    loaded.retriever.search = lambda texts, k: search(texts, k) if all(isinstance(one, str) for one in texts) else 1 / 0
    answer = client.post("/search", json={"query": "red couch"}).json()
    assert (answer["kept"], answer["reason"]) == (True, "search_error")
    assert answer["products"]
    assert counted(client, "qr_fallbacks_total", reason="search_error") == 1


def test_an_engine_that_fails_is_told_with_503(serving, rewriter):
    loaded = loaded_with(rewriter)
    client = serving(loaded)
    loaded.retriever.search = lambda texts, k: 1 / 0
    assert client.post("/search", json={"query": "sofa"}).status_code == 503
