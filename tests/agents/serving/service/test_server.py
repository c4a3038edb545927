"""A real server process: slow and greedy clients, reload and stop under load."""

import json
import signal
import socket
import threading
import time

import httpx
import pytest

from agents.serving.service.server import address_of, listen
from qr_env.common.errors import ConfigError
from qr_env.shop.sources.files import write_shop
from tests.helpers.fakes import tiny_shop
from tests.helpers.live_service import LiveService


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "shop"
    write_shop(tiny_shop(), folder)
    return folder


@pytest.fixture(scope="module")
def service(shop):
    with LiveService(shop, "repair", "--read-seconds", "0.5", "--connections", "20") as service:
        yield service


def raw(service, *parts, wait=0.0):
    """What a client gets that sends these bytes, with a pause between them; b"" where it is cut off."""
    with socket.create_connection((service.host, service.port), timeout=10) as client:
        try:
            for part in parts:
                client.sendall(part)
                time.sleep(wait)
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := client.recv(65536):
                answer += piece
        except OSError:
            return b""
        return answer


def answers(service):
    return httpx.post(f"{service.url}/rewrite", json={"query": "runing shoos"}).json()["query"] == "runing shoos"


@pytest.mark.live
def test_a_client_that_is_slow_with_its_headers_is_cut_off(service):
    started = time.monotonic()
    assert raw(service, b"POST /rewrite HTTP/1.1\r\n", b"a: b\r\n", b"c: d\r\n", b"e: f\r\n", wait=0.3) == b""
    assert raw(service, b"", wait=0.8) == b""
    assert time.monotonic() - started < 10 and answers(service)


@pytest.mark.live
def test_a_client_that_is_slow_with_its_body_gets_408(service):
    head = b"POST /rewrite HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n"
    with socket.create_connection((service.host, service.port), timeout=10) as client:
        client.sendall(head + b'{"que')
        assert client.recv(4096).startswith(b"HTTP/1.1 408")
    assert answers(service)


@pytest.mark.live
@pytest.mark.parametrize(
    "text",
    [
        b"GET /rewrite HTTP/1.1\r\nx: " + b"a" * 200_000,
        b"GET /" + b"a" * 200_000,
        b"\x16\x03\x01\x02\x00 TLS to a plain port",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /rewrite HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\n{}",
        b"POST /rewrite HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
        b"\x00" * 1000,
    ],
    ids=["long header", "long path", "tls", "version", "negative length", "bad chunk", "zeros"],
)
def test_broken_http_is_refused_or_cut_off(service, text):
    answer = raw(service, text)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert b"Traceback" not in answer and answers(service)


@pytest.mark.live
def test_too_many_connections_are_closed(service):
    held = [socket.create_connection((service.host, service.port), timeout=5) for _ in range(40)]
    try:
        time.sleep(0.2)
    finally:
        for client in held:
            client.close()
    time.sleep(0.2)
    assert answers(service)


@pytest.mark.live
def test_reload_and_stop_lose_no_request(shop, tmp_path):
    with LiveService(shop, "repair", "--log", str(tmp_path / "log")) as service:
        failed, done, over = [], [], threading.Event()

        def ask():
            with httpx.Client(base_url=service.url) as client:
                while not over.is_set():
                    response = client.post("/rewrite", json={"query": f"runing shoos {len(done)}"})
                    (done if response.status_code == 200 else failed).append(response.status_code)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            service.process.send_signal(signal.SIGHUP)
            time.sleep(0.2)
        over.set()
        for thread in threads:
            thread.join()
        assert failed == [] and len(done) > 50
        assert service.stop(signal.SIGTERM) == 0
        outcomes = [json.loads(line) for line in service.lines if line.startswith("{")]
        assert [one["outcome"] for one in outcomes if one["event"] == "reload"].count("loaded") >= 2
    written = "".join(path.read_text() for path in (tmp_path / "log").glob("ubi_queries*.ndjson"))
    assert written.count("\n") == len(done)


@pytest.mark.live
def test_an_address_that_cannot_be_had_is_refused():
    with listen("127.0.0.1", 0) as taken:
        assert address_of(taken).startswith("http://127.0.0.1:")
        with pytest.raises(ConfigError, match="port"):
            listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(ConfigError, match="port"):
        listen("127.0.0.1", 99_999)
