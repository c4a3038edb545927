"""A folder of labels with a file a split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qr_env.common.errors import DataError
from qr_env.shop.sources.files import read_folder
from tests.helpers.shops.files import notes, rows


def write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    write_json(
        tmp_path / "corpus.jsonl",
        [
            {"_id": "d1", "title": "Sofa", "text": "red and soft", "metadata": {}},
            {"_id": "d2", "title": "", "text": "a lamp without a title", "metadata": {}},
        ],
    )
    texts = {"q1": "couch", "q2": "lamp", "q3": "light", "q4": "desk"}
    write_json(tmp_path / "queries.jsonl", [{"_id": name, "text": text} for name, text in texts.items()])
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\tE\nq2\td2\tE\n")
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq3\td2\tE\nq2\td2\tS\nq2\td1\tI\n")
    return tmp_path


def test_beir_has_a_file_of_labels_for_each_split(beir: Path) -> None:
    shop = read_folder(beir)
    assert rows(shop, "product_id", "title", "description") == [
        ("d1", "Sofa", "red and soft"),
        ("d2", "a lamp without a title", "a lamp without a title"),
    ]
    assert [(query.id, query.split) for query in shop.all_queries] == [
        ("q1", "train"),
        ("q2", "test"),
        ("q3", "test"),
        ("q4", "train"),
    ]
    assert shop.qrels.toarray().tolist() == [[4, 0], [1, 4], [0, 4], [0, 0]]
    assert "80/10/10" not in notes(shop)
    assert "train 2, dev 0, test 2, the 1 without labels being train" in notes(shop)


def test_a_folder_of_qrels_without_a_split_is_refused(beir: Path) -> None:
    for path in (beir / "qrels").iterdir():
        path.rename(path.with_name(f"x-{path.name}"))
    with pytest.raises(DataError, match=r"has train.tsv, dev.tsv or test.tsv, this has x-test.tsv, x-train.tsv"):
        read_folder(beir)
