"""`qr shop`: its tables, its JSON, notes on invalid rows, and the shop written as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qr_env.evaluation.shop_difficulty import describe
from qr_env.retrieval.factory import checked_retriever
from qr_env.shop.load import load_shop
from qr_env.shop.sources.files import write_shop
from runs.common.cli import main
from tests.helpers.fakes import tiny_shop
from tests.helpers.shops.described_shop import described_shop


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_shop(tiny_shop(), tmp_path / "tiny")
    return tmp_path / "tiny"


def test_standard_output_holds_only_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["shop", str(folder), "--json", "-"])
    facts = json.loads(capsys.readouterr().out)
    shop = tiny_shop()
    assert facts["hash"] == shop.hash
    assert facts["products"]["products"] == len(shop.products)
    assert {name: split["queries"] for name, split in facts["queries"].items()} == {"train": 7, "dev": 2, "test": 3}
    assert sum(facts["labels"]["levels"].values()) == facts["labels"]["pairs"] == shop.qrels.nnz
    assert sum(facts["purchases"].values()) == len(shop.purchases)


def test_the_tables_show_sizes_difficulty_and_samples(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["shop", str(folder), "--split", "test", "--json", str(folder / "out" / "shop.json")])
    out = capsys.readouterr().out
    for text in ("Sizes", "Difficulty for BM25", "Samples", "unknown word", "no product has all words", "nDCG@10"):
        assert text in out
    facts = json.loads((folder / "out" / "shop.json").read_text())
    assert facts["difficulty"][0]["split"] == "test"
    assert facts["difficulty"][0]["queries"] == 3
    assert {row["split"] for row in facts["samples"]} == {"test"}


def own_files(tmp_path: Path, products: str) -> str:
    (tmp_path / "products.csv").write_text(products)
    (tmp_path / "queries.csv").write_text("text\nsofa [red]\nlamp\n")
    return str(tmp_path)


def test_a_shop_without_labels_has_no_ndcg(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["shop", own_files(tmp_path, "id,title\n1,red sofa [new]\n2,desk\n")])
    shown = capsys.readouterr()
    assert "sofa [red]" in shown.out  # square brackets are no markup
    assert "note: products.csv: product_id ← id, title\n" in shown.err
    facts: dict[str, Any] = describe(tiny_shop())
    assert facts["report"] is None


def test_invalid_rows_stop_or_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    source = own_files(tmp_path, "id,title\n1,sofa\n2,\n")
    with pytest.raises(SystemExit) as stopped:
        main(["shop", source])
    assert stopped.value.code == 1
    assert "BadRowError" in (err := capsys.readouterr().err)
    assert "products.csv:3: empty title" in err
    main(["shop", source, "--on-bad-row", "skip", "--json", "-"])
    facts = json.loads(capsys.readouterr().out)
    assert [bad["line"] for bad in facts["report"]["bad_rows"]] == [3]
    assert "1 of 4 rows were invalid and left out" in caplog.text


def test_one_products_file_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["shop", f"{own_files(tmp_path, 'id,title' + chr(10) + '1,sofa' + chr(10))}/products.csv"])
    assert "Difficulty" not in capsys.readouterr().out


def test_a_shop_is_written_as_files_into_a_new_folder_only(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["shop", str(folder), "--write", str(tmp_path / "copy"), "--json", str(tmp_path / "facts.json")])
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["hash"] == load_shop(str(tmp_path / "copy")).hash == tiny_shop().hash
    with pytest.raises(SystemExit) as stopped:
        main(["shop", str(folder), "--write", str(tmp_path / "copy")])
    assert stopped.value.code == 1 and "name a new folder" in capsys.readouterr().err


def test_the_engine_check_is_printed_and_its_settings_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))
    write_shop(described_shop(), tmp_path / "described")
    out = tmp_path / "engine.json"
    flags = ["--check-engine", "--engine-out", str(out), "--json", str(tmp_path / "shop.json")]
    main(["shop", str(tmp_path / "described"), *flags])
    shown = capsys.readouterr().out
    assert "index the description: +" in shown and "(in use)" in shown and "undervalues hybrid engines" in shown
    facts = json.loads((tmp_path / "shop.json").read_text())["engine check"]
    assert facts["is clear"] and facts["baseline"]["judged nDCG@10"] == 0
    assert checked_retriever(f"bm25:{out}") == facts["best"]["retriever"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--engine-out", "x.json"], "give --check-engine too"),
        (["--check-engine", "--dense", "--engine-judge", "blend"], "leave --dense out"),
    ],
)
def test_flags_of_the_engine_check_that_do_not_fit(
    folder: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["shop", str(folder), *flags])
    assert message in capsys.readouterr().err
