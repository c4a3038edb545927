"""What stands between a client and a server: pages, refusals, waits, keys, headers, proxies, TLS."""

from __future__ import annotations

import importlib.util
import json
import time

import pytest

from qr_env.common.errors import ConfigError, JudgeError
from qr_env.llm.address import Address
from qr_env.llm.client import Client
from qr_env.llm.failures import Failure, server_words
from qr_env.llm.headers import headers_for
from qr_env.llm.transport import _connect_kind
from tests.helpers.odd_server import Answer, OddServer, Request, probe, refusal

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("no_settings")]
PAGE = "<!DOCTYPE html><html><head><title>Sign in</title><style>a{}</style></head><body>Corp &amp; Co</body></html>"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(200, PAGE, {"Content-Type": "text/html"}), "web_page.*Sign in Corp & Co.*base URL of the API"),
        (Answer(502, PAGE.replace("Sign in", "Bad Gateway")), "http_502: .*a web page, 'Bad Gateway"),
        (
            Answer(404, PAGE.replace("Sign in", "Not Found")),
            "http_404: .*Not Found.*give the URL that stands before /chat",
        ),
        (Answer(200, "hello"), "bad_json.*'hello'.*no OpenAI-compatible API"),
        (Answer(200, "[1, 2]"), "bad_json"),
        (Answer(200, {"error": "Unexpected endpoint or method."}), "Unexpected endpoint or method"),
        (Answer(200, {"ok": True}), "no choice with a text"),
        (Answer(302, "", {"Location": "https://login.example/x"}), "http_302.*moved to https://login.example/x"),
        (refusal(401, "no key"), "http_401.*no key.*QR_JUDGE_KEY"),
        (refusal(403, "forbidden region"), "http_403.*forbidden region"),
        (refusal(402, "no credit"), "http_402.*no credit.*account has no credit"),
        (Answer(429, {"error": {"message": "Out of credit", "code": "insufficient_quota"}}), "quota.*Out of credit"),
        (
            Answer(422, {"detail": [{"loc": ["body", "x"], "msg": "Field required"}]}),
            "http_422: .*body.x: Field required",
        ),
        (Answer(400, "The plain HTTP request was sent to HTTPS port"), "plain HTTP request was sent to HTTPS port"),
        (Answer(404, {"error": "x" * 5000}), r"x{300} …"),
    ],
)
def test_what_no_server_of_this_api_says_is_told(answer: Answer, message: str) -> None:
    with OddServer(answer=lambda _: answer) as server, pytest.raises(JudgeError, match=message) as caught:
        probe(server.url, retries=1)
    assert len(str(caught.value)) < 2500 and f"http://{server.host}" in str(caught.value)


def test_a_busy_server_is_waited_for() -> None:
    busy = [refusal(429, "slow down", Retry_After="0.3"), refusal(429, "slow down", retry_after_ms="250")]
    with OddServer(check=lambda _: busy.pop() if busy else None) as server:
        start = time.monotonic()
        assert probe(server.url).top == 20
        assert time.monotonic() - start > 0.5
    message = r"http_429.*slow down.*lower the client's concurrency"
    with OddServer(check=lambda _: refusal(429, "slow down")) as server, pytest.raises(JudgeError, match=message):
        probe(server.url, retries=2)


def test_keys_and_headers_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(request: Request) -> Answer | None:
        return None if request.headers.get("authorization") == "Bearer sk-1" else refusal(401, "wrong key sk-2-secret")

    with OddServer(check=check) as server:
        monkeypatch.setenv("OPENAI_API_KEY", " sk-1\n")
        monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
        monkeypatch.setenv("QR_JUDGE_HEADERS", "X-Team: search\nX-Trace: a:b")
        assert probe(server.url).top == 20
        sent = server.seen[-1].headers
        assert (sent["openai-organization"], sent["x-team"], sent["x-trace"]) == ("org-1", "search", "a:b")
        monkeypatch.setenv("QR_JUDGE_KEY", "sk-2-secret")
        with pytest.raises(JudgeError, match=r"http_401: .*wrong key ….*set QR_JUDGE_KEY"):
            probe(server.url)
        monkeypatch.setenv("QR_JUDGE_HEADERS", json.dumps({"authorization": "Bearer sk-1"}))
        assert probe(server.url).top == 20


def test_openais_key_is_not_sent_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    for url in ("https://api.openai.com", "http://gpu-box:8000", "http://10.0.0.5:4000", "localhost:8000"):
        assert headers_for(Address.parse(url), None) == {"Authorization": "Bearer sk-1"}, url
    assert headers_for(Address.parse("https://api.example.com/v1"), None) == {}
    azure = headers_for(Address.parse("https://me.openai.azure.com"), None)
    assert azure == {"Authorization": "Bearer sk-1", "api-key": "sk-1"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QR_JUDGE_KEY", "“sk-1”"),
        ("QR_JUDGE_KEY", "sk\n1"),
        ("QR_JUDGE_HEADERS", "no colon"),
        ("QR_JUDGE_HEADERS", "{broken"),
        ("QR_JUDGE_HEADERS", '["a"]'),
        ("QR_JUDGE_HEADERS", "X-Name: ü"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name) as caught:
        Client("http://127.0.0.1:1")
    assert "sk" not in str(caught.value)


def test_a_server_on_this_machine_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "socks5://127.0.0.1:1"}.items():
        monkeypatch.setenv(name, value)
    with OddServer() as server:
        assert probe(server.url).top == 20


def test_a_server_elsewhere_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with OddServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.host)  # without a scheme, as many have it
        assert probe("http://gpu.example:8000").top == 20
        proxy.answer = lambda _: Answer(403, PAGE.replace("Sign in", "Blocked by policy"))
        with pytest.raises(JudgeError, match=r"http_403.*Blocked by policy"):
            probe("http://gpu.example:8000")
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{proxy.host}")
        with pytest.raises(JudgeError, match=r"proxy: .* through the proxy http://…@.*NO_PROXY") as caught:
            probe("https://gpu.example:8443")
        assert "secret" not in str(caught.value)
    with pytest.raises(JudgeError, match=f"connect: .* through the proxy http://{proxy.host}"):
        probe("http://gpu.example:8000")


@pytest.mark.skipif(importlib.util.find_spec("socksio") is not None, reason="the package for SOCKS is installed")
def test_a_socks_proxy_without_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    message = r"the proxy socks5://127.0.0.1:1 .*pip install 'httpx\[socks\]'.*NO_PROXY=gpu.example"
    with pytest.raises(ConfigError, match=message):
        probe("http://gpu.example:8000")
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"proxy gopher://127.0.0.1:1 .* cannot be used"):
        probe("http://gpu.example:8000")


def test_a_wrong_scheme_is_told_from_a_server_that_is_down() -> None:
    with OddServer() as server, pytest.raises(JudgeError, match=r"tls: .*give http:// if the server has no TLS"):
        probe(f"https://{server.host}/v1")
    with pytest.raises(JudgeError, match=r"connect: .*is the judge's server up"):
        probe(server.url)
    assert _connect_kind("[Errno -2] Name or service not known") == "no_host"


def test_words_of_a_server_are_found_in_every_form_of_an_error() -> None:
    for body in (
        {"error": {"message": "bad"}},
        {"error": "bad"},
        {"message": "bad"},
        {"detail": "bad"},
        {"object": "error", "message": "bad", "code": 400},
        [{"error": {"message": "bad"}}],
    ):
        assert server_words(json.dumps(body)) == "bad"
    assert server_words('{"code": 7}') == '{"code": 7}' and server_words("") == ""
    assert not Failure("web_page", "").transient and Failure("http_503", "").transient
