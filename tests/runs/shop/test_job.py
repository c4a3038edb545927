"""`qr shop`: what it prints and writes, against slow counting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qr_env.common.tokenize import terms
from qr_env.evaluation.shop_difficulty import describe, word_gaps
from qr_env.retrieval.bm25 import BM25
from qr_env.shop.load import load_shop
from qr_env.shop.sources.files import write_shop
from runs.common.cli import main
from tests.helpers.fakes import tiny_shop


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_shop(tiny_shop(), tmp_path / "tiny")
    return tmp_path / "tiny"


def test_json_to_standard_output_is_nothing_but_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_word_gaps_are_those_of_slow_counting() -> None:
    shop = tiny_shop()
    bm25 = BM25.build(shop)
    texts = [query.text for query in shop.all_queries] + ["", "the", "red refrigerator sofa", "sofa red", "zzz"]
    columns = [shop.products[name].to_pylist() for name, _ in bm25.settings.fields]
    bags = [set(terms(" \n ".join(cells))) for cells in zip(*columns, strict=True)]
    known = set().union(*bags)
    unknown_N, none_N = word_gaps(bm25, texts)
    assert unknown_N.tolist() == [not set(terms(text)) <= known for text in texts]
    assert none_N.tolist() == [not any(set(terms(text)) <= bag for bag in bags) for text in texts]
    assert 0 < none_N.sum() < len(texts)


def test_difficulty_is_by_split_and_by_slice() -> None:
    shop = tiny_shop()
    rows = describe(shop)["difficulty"]
    assert [(row["split"], row["slice"], row["queries"]) for row in rows[:3]] == [
        ("train", "all", 7),
        ("dev", "all", 2),
        ("test", "all", 3),
    ]
    assert {row["slice"] for row in rows[3:]} >= {"head", "torso", "tail"}
    unknown_N, _ = word_gaps(BM25.build(shop), [query.text for query in shop.split("train")])
    assert rows[0]["unknown word"] == pytest.approx(unknown_N.mean())
    for row in rows:
        assert row["no product has all words"] >= row["unknown word"]
        assert 0 <= row["nDCG@10"] <= 1
        assert 0 <= row["R@100"] <= 1


def test_ndcg_is_that_of_the_evaluation() -> None:
    from qr_env.evaluation.scorers import LabelScorer

    shop = tiny_shop()
    queries = shop.split("train")
    hits = BM25.build(shop).search([query.text for query in queries], 30)
    scorer = LabelScorer(shop, queries, k=30)
    expected = scorer.rank(hits, scorer.grade(hits))["nDCG@10"].mean()
    assert describe(shop, "train")["difficulty"][0]["nDCG@10"] == pytest.approx(expected, abs=1e-6)


def test_samples_show_a_relevant_title() -> None:
    shop = tiny_shop()
    samples = describe(shop, samples=2)["samples"]
    assert samples == describe(shop, samples=2)["samples"]
    text_of = {query.text: query for query in shop.all_queries}
    for row in samples:
        levels = shop.levels(
            [text_of[row["query"]].row], np.array([[shop.titles.index(row["relevant title"])]], np.int32)
        )
        assert levels[0, 0] >= 2


def own_files(tmp_path: Path, products: str) -> str:
    (tmp_path / "products.csv").write_text(products)
    (tmp_path / "queries.csv").write_text("text\nsofa [red]\nlamp\n")
    return str(tmp_path)


def test_a_shop_without_labels_has_no_ndcg(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["shop", own_files(tmp_path, "id,title\n1,red sofa [new]\n2,desk\n")])
    shown = capsys.readouterr()
    assert "sofa [red]" in shown.out  # square brackets are no markup
    assert "note: products.csv: column 'id' is read as 'product_id'" in shown.err
    facts: dict[str, Any] = describe(tiny_shop())
    assert facts["report"] is None


def test_dirty_rows_stop_or_are_summed_up(
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
    assert "1 of 4 rows were dirty and left out" in caplog.text


def test_one_products_file_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["shop", f"{own_files(tmp_path, 'id,title' + chr(10) + '1,sofa' + chr(10))}/products.csv"])
    assert "Difficulty" not in capsys.readouterr().out


def test_a_shop_is_written_as_files_and_never_over_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["shop", str(folder), "--write", str(tmp_path / "copy"), "--json", str(tmp_path / "facts.json")])
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["hash"] == load_shop(str(tmp_path / "copy")).hash == tiny_shop().hash
    with pytest.raises(SystemExit) as stopped:
        main(["shop", str(folder), "--write", str(tmp_path / "copy")])
    assert stopped.value.code == 1 and "name a new folder" in capsys.readouterr().err
