"""HTTP client and probing of server capabilities, against a real server on loopback."""

from __future__ import annotations

import json
import logging
import threading
import time
from email.utils import formatdate

import pytest

from qr_env.common.errors import ConfigError, JudgeError
from qr_env.llm.address import Address
from qr_env.llm.capabilities import probe_capabilities
from qr_env.llm.client import TRIP, Client, Endpoint
from qr_env.llm.failures import Failure, _seconds
from tests.helpers.fake_llm_server import FakeLLMServer

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
CHAT = "/chat/completions"
BODY = {"model": "play-1b", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def server():
    with FakeLLMServer() as server:
        yield server


def open_client(*servers, **options):
    return Client([server.url for server in servers], **{"backoff": 0.002, "patience": 0.5, "timeout": 20, **options})


def test_attempts_are_bounded_and_counted(server):
    server.always = "500"
    with open_client(server, retries=3) as client:
        with pytest.raises(Failure, match="injected fault: 500") as caught:
            client.post(CHAT, BODY)
        assert caught.value.kind == "http_500"
        assert server.answered["500"] == 4
        assert client.tally.read()["retries"] == client.tally.read()["retries/http_500"] == 3


@pytest.mark.parametrize("status", ["400", "401", "404", "422", "501"])
def test_permanent_errors_are_not_retried(server, status):
    server.always = status
    with open_client(server) as client, pytest.raises(Failure, match=f"http_{status}"):
        client.post(CHAT, BODY)
    assert server.answered[status] == 1


def test_retry_after_delays_every_request(server):
    with open_client(server, patience=5.0) as client:
        client.post(CHAT, BODY)
        server.faults.append("429:0.4")
        start = time.monotonic()
        times = list(client.run(lambda _: (client.post(CHAT, BODY), time.monotonic())[1], range(3)))
        assert max(times) - start > 0.4
        start = time.monotonic()
        server.faults.append("503:0.4")
        client.post(CHAT, BODY)
        assert time.monotonic() - start > 0.4


def test_retry_after_as_number_date_or_nonsense():
    assert _seconds("3") == 3 and _seconds("-1") == 0
    assert 8 < _seconds(formatdate(time.time() + 10, usegmt=True)) <= 10
    assert _seconds("soon") is None and _seconds(None) is None


def test_breaker_lets_one_request_through(caplog):
    endpoint = Endpoint(Address.parse("http://host/v1/"))
    assert endpoint.url == "http://host/v1"
    for _ in range(TRIP):
        assert endpoint.ready(0.0)
        endpoint.failed(0.0)
    endpoint.failed(0.0)  # a request that was in flight does not count
    assert endpoint.failures == TRIP and not endpoint.ready(0.1)
    assert endpoint.ready(0.3)
    endpoint.in_flight = 1
    assert not endpoint.ready(0.3)
    endpoint.failed(0.3)
    endpoint.in_flight = 0
    assert not endpoint.ready(0.6) and endpoint.ready(0.8)  # twice as long
    assert endpoint.lost(5.0, patience=4.0) and not endpoint.lost(3.0, patience=4.0)
    endpoint.answered()
    endpoint.in_flight = 50
    assert endpoint.ready(0.8)


def kind_of(client):
    """Failure kind of one request, "answered" if it succeeds."""
    try:
        client.post(CHAT, BODY)
    except Failure as failure:
        return failure.kind
    return "answered"


def test_connection_errors_are_limited_by_patience_and_not_by_attempts(server, caplog):
    with open_client(server, retries=0) as client:
        assert kind_of(client) == "answered"
        server.kill()
        start = time.monotonic()
        with caplog.at_level(logging.WARNING):
            kinds = [kind_of(client), kind_of(client)]
        assert kinds in (["reset", "breaker"], ["breaker", "breaker"])  # an open connection may die under the first
        assert time.monotonic() - start > 0.5
        assert "gets no requests for now" in caplog.text
        start = time.monotonic()
        assert kind_of(client) == "breaker"
        assert time.monotonic() - start < 0.5  # later requests fail at once
        server.start()
        while kind_of(client) != "answered":
            assert time.monotonic() - start < 10
            time.sleep(0.05)


def test_requests_with_one_prefix_stay_with_one_server(server):
    with FakeLLMServer() as other, open_client(server, other) as client:
        for _ in range(12):
            client.post(CHAT, BODY, affinity="red sofa")
        assert sorted([len(server.seen), len(other.seen)]) == [0, 12]


def test_results_come_as_they_are_ready_and_errors_pass_through(server):
    with open_client(server, concurrency=2) as client:
        slow = threading.Event()
        results = client.run(lambda job: slow.wait(10) and job if job == 0 else job, range(2))
        assert next(results) == 1
        slow.set()
        assert list(results) == [0]
        with pytest.raises(ZeroDivisionError):
            list(client.run(lambda job: 1 // job, [1, 0]))


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"timeout": 0}, {"retries": -1}])
def test_impossible_settings(options):
    with pytest.raises(ConfigError, match="concurrency must be ≥ 1, timeout positive, retries ≥ 0"):
        Client(["http://127.0.0.1:9"], **options)


# Each feature is verified by a request.
@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (
            {},
            {
                "top": 5,
                "choice": True,
                "masked": True,
                "json": True,
                "tokenize": True,
                "batches": True,
            },
        ),
        ({"obeys": False}, {"top": 5, "choice": False, "masked": False, "json": False}),
        ({"masked": False}, {"choice": True, "masked": False}),
        ({"logprobs": False}, {"top": 0, "choice": False, "json": True}),
        ({"top": 3}, {"top": 0}),
        ({"vllm": False}, {"version": "", "tokenize": False, "choice": True, "batches": False}),
        ({"chat": False}, {"api": "completions", "top": 5, "choice": True, "json": True, "batches": True}),
        ({"batches": False}, {"batches": False}),
    ],
)
def test_probed_capabilities_are_the_servers_features(features, expected):
    with FakeLLMServer(**features) as server, open_client(server) as client:
        found = probe_capabilities(client, client.endpoints[0], None).as_dict()
    assert {name: found[name] for name in expected} == expected
    assert found["model"] == found["root"] == "play-1b" and found["context"] == 2048
    assert json.loads(json.dumps(found))["url"] == server.url + "/v1"


def test_probing_finds_the_label_tokens_and_the_template(server):
    with open_client(server) as client:
        found = probe_capabilities(client, client.endpoints[0], "play-1b")
    assert dict(found.label_tokens)["E"] == ord("E")
    assert found.template == ("<|user|>", "<|end|><|assistant|>")


@pytest.mark.parametrize("fault", ["no_logprobs", "impossible", "no_choices", "500"])
def test_a_feature_that_fails_is_not_claimed(server, fault):
    with open_client(server) as client:
        # The first generation shows that there is an API, the second (three attempts for 500) has no log-probabilities.
        server.faults.extend(["", *[fault] * (3 if fault == "500" else 1)])
        found = probe_capabilities(client, client.endpoints[0], None)
    assert found.top == 0


def test_wrong_model_wrong_key_no_server(server):
    with open_client(server) as client:
        with pytest.raises(JudgeError, match="no model 'gpt-9'; it serves play-1b"):
            probe_capabilities(client, client.endpoints[0], "gpt-9")
        server.key = "secret"
        with pytest.raises(JudgeError, match="QR_JUDGE_KEY"):
            probe_capabilities(client, client.endpoints[0], None)
    with Client([server.url], api_key="secret") as client:
        assert probe_capabilities(client, client.endpoints[0], None).model == "play-1b"
        server.kill()
        with pytest.raises(JudgeError, match="is the judge's server up"):
            probe_capabilities(client, client.endpoints[0], None)
    with FakeLLMServer() as broken, open_client(broken) as client:
        broken.always = "500"
        with pytest.raises(JudgeError, match="generates nothing with 'play-1b': http_500"):
            probe_capabilities(client, client.endpoints[0], None)
