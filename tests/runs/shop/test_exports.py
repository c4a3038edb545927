"""`qr shop` on four exports in their published columns, each as a folder and as a single file, without a flag."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runs.common.cli import main
from tests.helpers.shops.exports import write_exports

FILES = {
    "woocommerce": "products.csv",
    "shopify": "products.csv",
    "google-merchant": "products.tsv",
    "elasticsearch": "products.jsonl",
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    write_exports(folder, products=60)
    return folder


def facts_of(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    """The JSON of `qr shop PATH`, and its notes."""
    main(["shop", str(path), "--json", "-"])
    shown = capsys.readouterr()
    facts: dict[str, Any] = json.loads(shown.out)
    assert not facts["report"]["bad_rows"]
    return facts, shown.err


@pytest.mark.parametrize(
    ("system", "products", "known", "note"),
    [
        (
            "woocommerce",
            80,
            {"description": 1, "category": 1, "price": 0.75},
            "category ← Categories, price ← Reg",
        ),
        (
            "shopify",
            60,
            {"description": 1, "brand": 1, "category": 1, "price": 1},
            "product_id ← Handle, title ← Title",
        ),
        ("google-merchant", 60, {"brand": 1, "category": 1, "color": 1, "price": 1}, "category ← product_type, color"),
        ("elasticsearch", 60, {"brand": 1, "category": 1, "color": 1, "price": 1}, "product_id ← _id, title ← name"),
    ],
)
def test_an_export_is_read_without_a_flag(
    exports: Path,
    system: str,
    products: int,
    known: dict[str, float],
    note: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    facts, notes = facts_of(exports / system, capsys)
    assert facts["products"]["products"] == products
    assert {name: facts["products"]["known"][name] for name in known} == known
    assert note in notes
    assert "query ← Top queries, frequency ← Impressions; not used: Clicks, CTR, Position" in notes
    alone, notes = facts_of(exports / system / FILES[system], capsys)
    assert alone["products"] == facts["products"]
    assert note in notes
