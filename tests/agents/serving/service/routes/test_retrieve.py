"""Both dialects of Search-R1's retrieval servers."""

import pytest


def test_a_list_of_queries_with_scores(serving):
    body = {"queries": ["red sofa", "refrigerator"], "topk": 2, "return_scores": True}
    result = serving().post("/retrieve", json=body).json()["result"]
    assert [len(items) for items in result] == [2, 2]
    first = result[0][0]
    assert set(first) == {"document", "score"} and first["score"] > 0
    title, _, _ = first["document"]["contents"].partition("\n")
    assert "sofa" in title.lower() and first["document"]["id"]


def test_one_query_without_scores(serving):
    result = serving().post("/retrieve", json={"query": "red sofa", "topk": 3}).json()["result"]
    assert [set(item) for item in result[0]] == [{"id", "contents"}] * 3


def test_texts_are_searched_as_they_are_unless_asked(serving, rewriter):
    client = serving()
    assert client.post("/retrieve", json={"query": "couch", "topk": 1}).json()["result"] == [[]]
    assert rewriter.batches == []
    found = client.post("/retrieve", json={"query": "couch", "topk": 1, "rewrite": True}).json()["result"]
    assert "sofa" in found[0][0]["contents"].lower()


def test_many_queries_at_once_fit_the_queue(serving):
    queries = [f"sofa {at}" for at in range(200)]
    result = serving(queue=4).post("/retrieve", json={"queries": queries, "topk": 1}).json()["result"]
    assert [len(items) for items in result] == [1] * 200


@pytest.mark.parametrize(
    "body",
    [
        {}, {"queries": []}, {"queries": [1]}, {"queries": "a", "topk": 0}, {"query": "a", "topk": 10**9},
        {"query": "a", "topk": True}, {"query": "a", "topk": 1.5}, {"query": "a", "return_scores": "yes"},
        {"queries": ["a"] * 257}, {"query": {"a": 1}},
    ],
)  # fmt: skip
def test_bad_input_is_refused_and_not_retried(serving, body):
    response = serving().post("/retrieve", json=body)
    assert 400 <= response.status_code < 500 and "error" in response.json()
