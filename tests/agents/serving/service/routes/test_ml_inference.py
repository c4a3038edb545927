"""What OpenSearch's connector sends, and a plain text field back."""

import pytest

from agents.serving.service.parts import Loaded
from tests.agents.serving.service.conftest import Rewriter, loaded_with


@pytest.mark.parametrize(
    "body",
    [
        {"query": "navy couch"}, {"parameters": {"query": "navy couch"}}, {"input": "navy couch"},
        {"text": "navy couch"},
        {"parameters": {"inputs": "navy couch", "model": "x"}},
    ],
)  # fmt: skip
def test_a_text_in_and_a_text_out(serving, body):
    answer = serving().post("/ml_inference", json=body).json()
    assert answer["response"] == "navy couch sofa"
    assert answer["query_string"] == "navy couch sofa^0.5"


def test_several_texts(serving):
    answers = serving().post("/ml_inference", json={"text_docs": ["couch", "lamp"]}).json()["results"]
    assert [one["response"] for one in answers] == ["couch sofa", "lamp"]


def test_a_failure_gives_the_original_with_status_200(serving, rewriter):
    client = serving()
    rewriter.error = RuntimeError()
    response = client.post("/ml_inference", json={"query": "navy (couch)"})
    assert (response.status_code, response.json()["response"]) == (200, "navy (couch)")
    assert response.json()["query_string"] == r"navy \(couch\)"


def test_a_union_has_a_query_string_too(serving):
    loaded = loaded_with(Rewriter(), combine="union")
    assert isinstance(loaded, Loaded)
    answer = serving(loaded).post("/ml_inference", json={"query": "couch"}).json()
    assert answer["query_string"] == "couch sofa^0.5"


@pytest.mark.parametrize(
    "body", [{}, {"query": 1}, {"text_docs": []}, {"text_docs": ["a", 1]}, {"text_docs": ["a"] * 33}]
)
def test_bodies_without_a_text_are_refused(serving, body):
    assert serving().post("/ml_inference", json=body).status_code == 422
