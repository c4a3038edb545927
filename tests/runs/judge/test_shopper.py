"""`qr judge shopper`: purchases and click logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from judges.shoppers.click_models import MODELS
from judges.shoppers.model import ModelShopper
from qr_env.common.errors import DataError
from qr_env.common.types import Grades
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import write_shop
from runs.judge.args import ShopperArgs
from runs.judge.shopper import main
from tests.helpers.fakes import tiny_shop
from tests.judges.shoppers.test_fidelity import random_lists

SHOP = tiny_shop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny shop as files, its index cached beside it."""
    path = tmp_path_factory.mktemp("shop")
    write_shop(SHOP, path)
    return path


def report_of(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **settings: Any) -> dict[str, Any]:
    monkeypatch.setenv("QR_CACHE", str(folder / "cache"))
    main(ShopperArgs(shop=str(folder), json=str(tmp_path / "report.json"), k=10, split="train", **settings))
    return json.loads((tmp_path / "report.json").read_text())


def test_the_verb_reports_purchases(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    report = report_of(folder, monkeypatch, tmp_path)
    names = ["grades only", "preference", "preference, fitted", *MODELS]
    assert all(0 <= report["purchases"][name]["AUC search"]["mean"] <= 1 for name in names)
    figure = report["purchases"]["preference"]["AUC search"]
    assert figure["low"] <= figure["mean"] <= figure["high"] and figure["queries"] > 0
    assert sum(report["purchases"]["by rank"]["observed"]) == pytest.approx(1)
    assert report["purchases"]["dbn"]["chance"] > 1 and report["profile"]["name"] == "average, fitted"


def test_the_verb_reads_a_log(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    queries, rows_NK, _ = random_lists(3_000)
    grades = Grades(np.eye(4, dtype=np.float32)[SHOP.levels([q.row for q in queries], rows_NK)])
    done_NK = ModelShopper(SHOP, model=MODELS["cascade"]).sample(queries, rows_NK, grades, np.random.default_rng(0))
    event_NK = np.array(["none", "click", "click", "cart", "purchase"])[done_NK]
    n, k = rows_NK.shape
    columns = {
        "session": np.repeat(np.arange(n), k).astype(str).tolist(),
        "query_id": np.repeat([query.id for query in queries], k).tolist(),
        "product_id": [f"p{row:02d}" for row in rows_NK.ravel()],
        "position": np.tile(np.arange(1, k + 1), n).tolist(),
        "event": event_NK.ravel().tolist(),
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "log.parquet")
    clicks = report_of(folder, monkeypatch, tmp_path, log=tmp_path / "log.parquet", fit=0)["clicks"]
    assert clicks["clicks"] == int((done_NK > 0).sum())
    assert min(clicks["perplexity"], key=lambda name: clicks["perplexity"][name]) == "cascade"
    np.testing.assert_allclose(clicks["rate by rank"]["cascade"], clicks["rate by rank"]["observed"], atol=0.03)


def test_without_purchases_the_verb_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shop(Shop("bare", SHOP.products, SHOP.queries, SHOP.qrels, SHOP.purchases.slice(0, 0), True), tmp_path)
    with pytest.raises(DataError, match="no --log"):
        report_of(tmp_path, monkeypatch, tmp_path, fit=0)
