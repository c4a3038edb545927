"""Graded pairs as other tools write them: Quepid's exports, OpenSearch's Workbench, RRE, ranx, LETOR."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qr_env.common.errors import BadRowError
from qr_env.shop.load import load_shop
from qr_env.shop.readers.options import ReadOptions

WORKBENCH = {
    "name": "imported", "type": "IMPORT_JUDGMENT", "judgmentRatings": [
        {"query": "sofa", "ratings": [{"docId": "d1", "rating": "3.0"}, {"docId": "d2", "rating": "0.0"}]},
        {"query": "table", "ratings": [{"docId": "d2", "rating": "2.0"}]},
    ],
}  # fmt: skip


def rre(documents: list[dict[str, Any]]) -> dict[str, Any]:
    groups = [
        {"name": name, "queries": [{"template": "t.json"}], "relevant_documents": of_query}
        for name, of_query in zip(("sofa", "table"), documents, strict=True)
    ]
    return {"id": "case", "topics": [{"description": "all", "query_groups": groups}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "products.csv").write_text("id,title\nd1,red sofa\nd2,oak table\n")
    (tmp_path / "queries.csv").write_text("query_id,query\nq1,sofa\nq2,table\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("qrels.csv", "query,docid,rating\nsofa,d1,3\nsofa,d2,0\n table,d2,2\ntable,d1,\n"),
        ("qrels.txt", "3\tqid:7\t# d1\tsofa\n0\tqid:7\t# d2\tsofa\n2\tqid:8\t# d2\ttable\n"),
        ("qrels.txt", "3 qid:q1 1:0.5 2:0 # d1\n0 qid:q1 1:0.1 # d2\n\n2 qid:q2 2:1e-3 # d2\n"),
        ("qrels.json", json.dumps(WORKBENCH)),
        ("qrels.json", json.dumps(WORKBENCH, indent=2)),
        ("qrels.json", json.dumps(rre([{"3.0": ["d1"], "0.0": ["d2"]}, {"2.0": ["d2"]}]))),
        ("qrels.json", json.dumps(rre([{"d1": {"gain": 3}, "d2": {"gain": 0}}, {"d2": {"gain": 2}}]), indent=1)),
        ("qrels.json", '{"q1": {"d1": 3, "d2": 0}, "q2": {"d2": 2}}'),
    ],
)
def test_judgments_of_other_tools_are_labels(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    shop = load_shop(str(folder))
    levels = {(int(q), int(p)): int(v) - 1 for q, p, v in zip(*_entries(shop.qrels), strict=True)}
    assert levels == {(0, 0): 3, (0, 1): 0, (1, 1): 2}


def _entries(matrix: Any) -> tuple[Any, Any, Any]:
    pairs = matrix.tocoo()
    return pairs.row, pairs.col, pairs.data


def test_letor_without_products_is_told_what_lacks(folder: Path) -> None:
    (folder / "qrels.txt").write_text("3 qid:1 1:0.3 2:0.4\n0 qid:1 1:0.1 2:0.3\n")
    with pytest.raises(BadRowError, match=r"qrels\.txt:1: no line of LETOR with its product \(grade qid:query_id … #"):
        load_shop(str(folder))


def test_a_line_that_is_not_of_letor_is_named(folder: Path) -> None:
    (folder / "qrels.txt").write_text("3 qid:q1 # d1\n0 qid:q1 1:0.1\n2 qid:q2 # d2\n")
    with pytest.raises(BadRowError, match=r"qrels\.txt:2: no line of LETOR"):
        load_shop(str(folder))
    shop = load_shop(str(folder), options=ReadOptions(on_bad_row="skip"))
    assert shop.qrels.nnz == 2


def test_columns_of_pandas_are_no_nested_grades(folder: Path) -> None:
    text = '{"query_id": {"0": "q1"}, "product_id": {"0": "d1"}, "grade": {"0": 3}}'
    (folder / "qrels.json").write_text(text)
    assert load_shop(str(folder)).qrels.nnz == 1
