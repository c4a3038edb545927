"""`qr bench lucene`: the same rewrites with both engines; words of titles stand in for Lucene."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qr_env.common.errors import ConfigError
from qr_env.retrieval.bm25 import BM25Settings
from qr_env.shop.sources.files import write_shop
from runs.bench import lucene
from runs.bench.args import LuceneArgs
from tests.helpers.fakes import WordRetriever, tiny_shop


class WordsAsLucene(WordRetriever):
    """Finds words of titles; built as Lucene is."""

    ms_per_query = 0.5

    @classmethod
    def build(cls, shop, folder, fields):
        return cls(shop)


@pytest.fixture
def shop_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(lucene, "LuceneIndex", WordsAsLucene)
    monkeypatch.setattr(lucene, "missing", lambda: None)
    monkeypatch.setattr(lucene, "version", lambda: "8.7.0")
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))
    write_shop(tiny_shop(), tmp_path / "shop")
    return tmp_path / "shop"


def test_rewrites_are_scored_and_written_for_both_engines(shop_folder: Path, capsys: pytest.CaptureFixture) -> None:
    out, rewrites = shop_folder.parent, shop_folder.parent / "rewrites.csv"
    rewrites.write_text("query,rewrite\ncouch,sofa\nfridge,refrigerator^0.5\n")
    agents = ("identity", f"rewrites:{rewrites}")
    args = LuceneArgs(
        shop=str(shop_folder), agent=agents, split="train", run_out=out / "runs", json=str(out / "r.json")
    )
    lucene.main(args)
    report = json.loads((out / "r.json").read_text())
    assert (
        list(report["agents"])
        == [f"{name} @ {engine}" for engine in ("bm25", "lucene") for name in ("identity", "rewrites:rewrites.csv")]
        or len(report["agents"]) == 4
    )
    for record in report["agents"].values():
        assert 0 <= record["summary"]["all"]["metrics"]["R@100"]["mean"] <= 1
    gains = [record["summary"]["all"]["metrics"]["nDCG@10"]["difference"] for record in report["agents"].values()]
    assert gains[0] == gains[2] == 0 and gains[1] > 0 and gains[3] > 0
    assert report["ms/query"] == 0.5 and report["lucene"] == "8.7.0"
    assert len(list((out / "runs").glob("*.trec"))) == 4 and (out / "runs" / "lucene-identity.trec").read_text()
    table = capsys.readouterr().out
    assert "Lucene 8.7.0: 0.50 ms a query" in table and table.count("R@100") == 4


def test_fields_are_columns_with_counts() -> None:
    assert lucene.field_counts(()) == BM25Settings().fields
    assert lucene.field_counts(("title:3", "brand")) == (("title", 3), ("brand", 1))
    with pytest.raises(ConfigError, match="title:x: write NAME or NAME:COUNT"):
        lucene.field_counts(("title:x",))
    with pytest.raises(ConfigError, match="no text field 'size'"):
        lucene.field_counts(("size",))


def test_without_java_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lucene, "missing", lambda: "Lucene needs java")
    monkeypatch.setattr(lucene, "load_shop", pytest.fail)
    with pytest.raises(ConfigError, match="Lucene needs java"):
        lucene.main(LuceneArgs())
