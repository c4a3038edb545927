"""Events and queries come in, masked, all lines of a request or none."""

import asyncio
import json

import pytest

from agents.serving.service.event_log import EventLog
from qr_env.common.privacy import pseudonym
from qr_env.traffic.ubi import read_ubi


def event(**more):
    what = {"object": {"object_id": "p1"}, "position": {"ordinal": 3}}
    return {"action_name": "click", "query_id": "q1", "client_id": "bob", "event_attributes": what} | more


@pytest.fixture
def logged(serving, tmp_path):
    log = EventLog(tmp_path)
    yield serving(recorder=log)
    asyncio.run(log.close())


def read(folder):
    return read_ubi(folder)


def test_a_served_query_is_logged_without_personal_data(logged, tmp_path):
    body = {"query": "couch bob@mail.de 030 1234567", "session_id": "s-17", "client_id": "bob"}
    answer = logged.post("/search", json=body | {"k": 2}).json()
    assert answer["query"] == body["query"]
    assert logged.post("/events", json=event(query_id=answer["query_id"], session_id="s-17")).json() == {"recorded": 1}
    log = read(tmp_path)
    served, clicked = log.queries[0], log.events[0]
    assert served.query == "couch <email> <phone>"
    assert (served.query_id, served.rewrite, served.source, served.propensity) == (
        answer["query_id"], "sofa^0.5", "student", 1.0,
    )  # fmt: skip
    assert served.product_ids == tuple(product["product_id"] for product in answer["products"])
    assert served.session_id == clicked.session_id == pseudonym("s-17", b"key")
    assert served.client_id == clicked.client_id == pseudonym("bob", b"key")
    written = "".join(path.read_text() for path in tmp_path.glob("*.ndjson"))
    assert not any(text in written for text in ("bob", "s-17", "mail.de", "1234567"))


def test_shapes_of_a_body(logged, tmp_path):
    lines = [event(event_id=f"e{at}") for at in range(3)]
    assert logged.post("/events", json=lines).json() == {"recorded": 3}
    assert logged.post("/events", json={"events": [event(event_id="e3")]}).json() == {"recorded": 1}
    text = "\n".join(json.dumps(event(event_id=f"e{at}")) for at in (4, 5))
    response = logged.post("/events", content=text, headers={"content-type": "application/x-ndjson"})
    assert response.json() == {"recorded": 2}
    logged.post("/queries", json={"query_id": "q1", "user_query": "couch", "query_response_hit_ids": ["p1", "p2"]})
    log = read(tmp_path)
    assert {one.event_id for one in log.events} == {f"e{at}" for at in range(6)}
    assert all(one.timestamp > 0 and one.position == 3 for one in log.events)
    assert log.queries[0].product_ids == ("p1", "p2")


@pytest.mark.parametrize(
    "lines",
    [
        [event(), event(action_name="teleport")], [event(), {}], [event(), 7], [event(query_id="q" * 300)],
        [event(query_id="\ud800")], [event(event_attributes={"object": {"object_id": "p"}, "price": 1e300})],
        [event(event_attributes={"object": {"object_id": "p"}, "quantity": 1e400})], "text", 7, [event()] * 1001,
        [event(event_attributes=[1])], [event(timestamp="yesterday")],
    ],
)  # fmt: skip
def test_one_bad_line_and_none_is_recorded(logged, tmp_path, lines):
    response = logged.post("/events", content=json.dumps(lines))
    assert response.status_code == 422
    assert len(response.text) < 300
    logged.post("/queries", json={"query_id": "q1", "user_query": "couch"})
    assert read(tmp_path).events == []


def test_without_a_log_events_are_refused(serving):
    assert serving().post("/events", json=event()).status_code == 409


def test_a_disk_that_fails_is_told(logged, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on /secret")

    monkeypatch.setattr("agents.serving.service.event_log.os.fsync", full)
    response = logged.post("/events", json=event())
    assert response.status_code == 503 and "secret" not in response.text
    assert logged.post("/rewrite", json={"query": "couch"}).status_code == 200
