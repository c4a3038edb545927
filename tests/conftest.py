"""Fixtures for all tests. The network is closed (pytest-socket); tests marked `live` reach 127.0.0.1 only."""

from __future__ import annotations

from pathlib import Path

import pytest

LOOPBACK = ["127.0.0.1", "::1", "localhost"]


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes are named "bytes": packed files hold the time, and pytest-xdist wants the same names in each process."""
    return "bytes" if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("live"):
            item.add_marker(pytest.mark.allow_hosts(LOOPBACK))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine stands before loopback."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, ",".join(LOOPBACK))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test alone: indexes, vectors, verdicts and models on disk."""
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the machine that runs the tests do not count."""
    names = ("QR_JUDGE_KEY", "QR_JUDGE_HEADERS", "QR_JUDGE_URL", "QR_JUDGE_MODEL", "OPENAI_API_KEY", "OPENAI_ORG_ID")
    names += ("OPENAI_PROJECT_ID", "OPENAI_ORGANIZATION")
    proxies = [name + "_proxy" for name in ("http", "https", "all", "no")]
    for name in (*names, *proxies, *map(str.upper, proxies)):
        monkeypatch.delenv(name, raising=False)
