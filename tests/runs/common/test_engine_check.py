"""The engine check of the verbs: which queries, one sentence, read from disk the second time."""

from __future__ import annotations

from pathlib import Path

import pytest

from runs.common import engine_check
from runs.common.engine_check import brief_check, log_queries
from tests.helpers.fakes import tiny_shop
from tests.helpers.shops.described_shop import described_shop


def test_the_brief_check_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QR_CACHE", str(tmp_path))
    shop = described_shop()
    assert brief_check(shop, "bm25") is None  # fewer queries than it needs
    monkeypatch.setattr(engine_check, "FEWEST_QUERIES", 5)
    advice = brief_check(shop, "bm25")
    assert advice is not None and advice.startswith("index the description: +")
    assert brief_check(shop, advice.rpartition("--retriever ")[2]) is None  # its advice was taken
    monkeypatch.setattr(engine_check, "check_engines", None)
    assert brief_check(shop, "bm25") == advice
    monkeypatch.setattr(engine_check, "BRIEF_PRODUCTS", 10)
    assert "left out for 60 products" in str(brief_check(shop, "bm25"))


def test_test_queries_are_spared_where_there_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = tiny_shop()
    assert {query.split for query in log_queries(shop, 2_000, 0)} == {"train", "dev", "test"}
    assert {query.split for query in log_queries(shop, 9, 0)} == {"train", "dev"}
    assert len(log_queries(shop, 4, 0)) == 4
