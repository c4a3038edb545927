"""Hostile requests: a short refusal, and the next request is answered."""

import json

import pytest

from tests.agents.serving.service.conftest import counted

BODIES = {
    "invalid UTF-8": (b'{"query": "\xff\xfe"}', 400),
    "no JSON": (b"query=couch", 400),
    "nothing": (b"", 400),
    "deep lists": (b"[" * 200_000, 400),
    "deep objects": (b'{"a":' * 100_000, 400),
    "a huge number": (b'{"query": "a", "k": 1' + b"0" * 10_000 + b"}", 400),
    "a list for a text": (b'{"query": ["couch"]}', 422),
    "a number for a text": (b'{"query": 17}', 422),
    "null for a text": (b'{"query": null}', 422),
    "no query": (b"{}", 422),
    "a list": (b"[]", 422),
    "a text": (b'"couch"', 422),
    "an id that is no text": (b'{"query": "a", "session_id": {}}', 422),
    "a long id": (b'{"query": "a", "session_id": "' + b"s" * 300 + b'"}', 422),
    "ten megabytes": (b'{"query": "' + b"a" * (10 << 20) + b'"}', 413),
}
ANSWERED = {
    "NUL": b'{"query": "navy\\u0000couch"}',
    "half a surrogate pair": b'{"query": "couch \\ud800"}',
    "a megabyte of text": b'{"query": "' + b"a " * 49_000 + b'"}',
    "an override of direction": '{"query": "‮couch"}'.encode(),
    "a path": b'{"query": "../../etc/passwd"}',
    "a template": b'{"query": "${jndi:ldap://x} {{7*7}} %s"}',
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", ["/rewrite", "/search"])
def test_bad_bodies_are_refused_in_one_line(serving, name, path):
    body, status = BODIES[name]
    client = serving()
    response = client.post(path, content=body)
    assert response.status_code == status
    assert set(response.json()) == {"error"} and len(response.text) < 200
    assert "Traceback" not in response.text and "/" not in response.json()["error"]
    assert client.post("/rewrite", json={"query": "couch"}).json()["source"] == "student"


@pytest.mark.parametrize("name", ANSWERED)
def test_odd_texts_are_answered(serving, name):
    response = serving().post("/rewrite", content=ANSWERED[name])
    assert response.status_code == 200
    answer = response.json()
    assert "\x00" not in answer["query"] and "\ud800" not in answer["query"]
    assert "root:" not in response.text


def test_methods_and_paths(serving):
    client = serving()
    assert client.delete("/rewrite").status_code == 405
    assert client.get("/events").status_code == 405
    assert client.post("/health").status_code == 405
    for path in ("/", "/nothing", "/rewrite/", "/../etc/passwd", "/%2e%2e/etc/passwd", "/rewrite%00"):
        response = client.get(path)
        assert response.status_code == 404, path
        assert response.json() == {"error": "Not Found"}
    assert counted(client, "qr_requests_total", path="other", status="404") == 6  # paths of clients name no counter


def test_an_error_of_the_code_gives_no_traceback(serving, monkeypatch, capfd):
    client = serving()
    monkeypatch.setattr("agents.serving.service.routes.rewrite.as_json", None)
    response = client.post("/rewrite", json={"query": "couch"})
    assert (response.status_code, response.json()) == (500, {"error": "internal error"})
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["error"] for line in lines if line["event"] == "error"] == ["TypeError"]


def test_the_token_is_asked_for(serving):
    client = serving(token="secret-secret-secret")
    assert client.get("/health").status_code == client.get("/ready").status_code == 200
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret-secret-secret"}):
        for path in ("/rewrite", "/metrics", "/experiment", "/nothing"):
            assert client.get(path, headers=headers).status_code == 401
        assert client.post("/reload", headers=headers).status_code == 401
    right = {"Authorization": "Bearer secret-secret-secret"}
    assert client.post("/rewrite", json={"query": "couch"}, headers=right).status_code == 200
    assert client.post("/reload", headers=right).status_code == 200
