"""`qr bench retrieval`: the report has its keys, and ours is as fast as the engines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runs.bench import retrieval
from runs.bench.args import RetrievalArgs
from runs.bench.retrieval import bench
from tests.helpers.catalogue import random_titles, shop_of
from tests.helpers.fakes import tiny_shop


def test_ratios_of_a_small_catalogue() -> None:
    report = bench(shop_of(random_titles(3000, vocabulary=2000)), queries=500, k=20, pairs=3, threads=1)
    assert report["ratios"].keys() == {"bm25", "bm25, theirs tokenized", "bm25 one by one", "dense"}
    assert report["ratios"]["bm25"] < 2  # the aim is 1.3, on a quiet machine and a large shop
    assert report["sizes"]["products"] == 3000
    assert report["queries_per_second"]["bm25"]["ours"] > 0


def test_the_verb_writes_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("runs.bench.retrieval.load_shop", lambda *_, **__: tiny_shop())
    out = tmp_path / "bench.json"
    retrieval.main(RetrievalArgs(encoder="", queries=20, rounds=1, json=str(out)))
    assert json.loads(out.read_text()).keys() >= {"ratios", "sizes", "commit", "versions", "machine"}
    assert "bm25 one by one" in capsys.readouterr().out
