"""Downloads against a real server on loopback: resume, truncation, wrong checksums, nothing half-written."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from qr_env.common.download import LOCK, Remote, cache_root, fetch
from qr_env.common.errors import DownloadError

BODY = bytes(range(256)) * 2000
SHA = hashlib.sha256(BODY).hexdigest()

pytestmark = pytest.mark.live


class Server:
    """Serves BODY; `cut` is how many bytes each of the coming answers sends before the connection is dropped."""

    def __init__(self) -> None:
        self.body, self.cut, self.ranges, self.status, self.resumes = BODY, [], [], 200, True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/file.bin"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        if self.status != 200:
            request.send_error(self.status)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.resumes else 0  # type: ignore[index]
        if asked and self.resumes and start >= len(self.body):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.body)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if asked and self.resumes else 200)
        request.send_header("Content-Length", str(len(self.body) - start))
        if asked and self.resumes:
            request.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        request.end_headers()
        end = start + self.cut.pop(0) if self.cut else len(self.body)
        request.wfile.write(self.body[start:end])


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_downloads_once_and_leaves_only_the_file(server: Server, tmp_path: Path) -> None:
    remote = Remote(server.url, "file.bin", SHA, len(BODY))
    assert fetch(remote, tmp_path / "new").read_bytes() == BODY
    assert fetch(remote, tmp_path / "new").read_bytes() == BODY
    assert server.ranges == [None]
    assert names(tmp_path / "new") == {"file.bin"}


def test_a_broken_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.cut = [100_000, 50_000]
    path = fetch(Remote(server.url, "file.bin", SHA), tmp_path, pause=0)
    assert path.read_bytes() == BODY
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_call_resumes_a_failed_download(server: Server, tmp_path: Path) -> None:
    server.cut = [100_000]
    remote = Remote(server.url, "file.bin", SHA)
    with pytest.raises(DownloadError, match=r"ended after 100,000 of 512,000 bytes.*by hand.*file\.bin.*data=DIR"):
        fetch(remote, tmp_path, attempts=1)
    assert names(tmp_path) == {"file.bin.part"}
    assert fetch(remote, tmp_path).read_bytes() == BODY
    assert server.ranges[-1] == "bytes=100000-"
    assert names(tmp_path) == {"file.bin"}


def test_without_range_support_the_file_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    server.cut, server.resumes = [100_000], False
    assert fetch(Remote(server.url, "file.bin", SHA), tmp_path, pause=0).read_bytes() == BODY


def test_a_wrong_checksum_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"{SHA}.*is not the pinned {'0' * 64}"):
        fetch(Remote(server.url, "file.bin", "0" * 64), tmp_path)
    assert names(tmp_path) == set()


def test_a_truncated_file_on_the_server_is_refused(server: Server, tmp_path: Path) -> None:
    server.body = BODY[:-1]
    with pytest.raises(DownloadError, match="511,999 bytes"):
        fetch(Remote(server.url, "file.bin", SHA), tmp_path)
    assert names(tmp_path) == set()


def test_a_complete_part_is_used_and_one_that_is_too_long_is_deleted(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(BODY)
    assert fetch(Remote(server.url, "file.bin", SHA), tmp_path).read_bytes() == BODY
    (tmp_path / "other.bin.part").write_bytes(BODY + b"junk")
    assert fetch(Remote(server.url, "other.bin", SHA), tmp_path, pause=0).read_bytes() == BODY


def test_a_part_of_another_file_does_not_survive_the_checksum(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
    remote = Remote(server.url, "file.bin", SHA)
    with pytest.raises(DownloadError, match="It was deleted; try again"):
        fetch(remote, tmp_path)
    assert fetch(remote, tmp_path).read_bytes() == BODY


def test_a_file_in_the_cache_that_was_changed_is_refused(server: Server, tmp_path: Path) -> None:
    remote = Remote(server.url, "file.bin", SHA)
    fetch(remote, tmp_path).write_bytes(BODY[:-1] + b"!")
    with pytest.raises(DownloadError, match=r"Delete .*file\.bin to download it again"):
        fetch(remote, tmp_path)


def test_without_a_pin_later_downloads_must_equal_the_first(server: Server, tmp_path: Path) -> None:
    remote = Remote(server.url, "file.bin")
    fetch(remote, tmp_path).unlink()
    lock = json.loads((tmp_path / LOCK).read_text())
    assert lock == {"file.bin": {"url": server.url, "sha256": SHA, "size": len(BODY)}}
    assert fetch(remote, tmp_path).read_bytes() == BODY
    (tmp_path / "file.bin").unlink()
    server.body = BODY[::-1]
    with pytest.raises(DownloadError, match=r"the first download's \(in .*downloads\.lock\.json\)"):
        fetch(remote, tmp_path)
    assert names(tmp_path) == {LOCK}


def test_http_404_is_not_retried_and_503_is(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(DownloadError, match=r"HTTP 404 .*by hand"):
        fetch(Remote(server.url, "file.bin", SHA), tmp_path, pause=0)
    assert len(server.ranges) == 1
    server.status = 503
    with pytest.raises(DownloadError, match="HTTP 503"):
        fetch(Remote(server.url, "file.bin", SHA), tmp_path, attempts=3, pause=0)
    assert len(server.ranges) == 4


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_only_loopback_is_open_in_live_tests() -> None:
    import socket

    from pytest_socket import SocketConnectBlockedError

    with pytest.raises(SocketConnectBlockedError), socket.socket() as outside:
        outside.connect(("192.0.2.1", 80))


def test_cache_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QR_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("QR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_root() == Path("/x/qr-env")
