"""Graded pairs of a file: the formats and scales of qrels, unknown products, queries by text or id, held-out ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from judges.validation.graded_pairs import read_graded_pairs
from qr_env.common.errors import BadRowError, DataError
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.options import ReadOptions
from tests.helpers.fakes import tiny_shop

SHOP = tiny_shop()


@pytest.mark.parametrize(
    ("name", "text", "grades"),
    [
        ("mine.csv", "query,product_id,level\ncouch,p00,E\ncouch,p01,I\n", ""),
        ("quepid.csv", "\ufeffquery;docid;rating\r\nCouch;p00;3\r\ncouch;p01;0\r\n", ""),
        ("graded.trec", "q01 0 p00 3\nq01 0 p01 0\n", ""),
        ("clicks.tsv", "Search term\tSKU\tjudgement\ncouch\tp00\t1\ncouch\tp01\t0\n", "1=E,0=I"),
        ("judged.jsonl", '{"user_query": "couch", "doc_id": "p00", "rel": 3}\n'
                         '{"user_query": "couch", "doc_id": "p01", "rel": 0}\n', ""),
    ],
)  # fmt: skip
def test_graded_pairs_have_the_formats_and_scales_of_qrels(tmp_path: Path, name: str, text: str, grades: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    sample = read_graded_pairs(tmp_path / name, SHOP, LoadReport(ReadOptions(grades=grades)))
    assert [query.id for query in sample.queries] == ["q01"]
    assert sample.rows_PK.tolist() == [[0, 1]] and sample.levels_PK.tolist() == [[3, 0]]


def test_a_scale_that_must_be_named_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("query,product_id,grade\ncouch,p00,1\ncouch,p01,0\n")
    with pytest.raises(DataError, match="grades='0=I,1=E'"):
        read_graded_pairs(tmp_path / "mine.csv", SHOP, LoadReport())


def test_unknown_products_are_counted_and_dirty_rows_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("query,product_id,grade\ncouch,p00,E\ncouch,P01,I\n,p02,E\ndivan,p02,S\n")
    with pytest.raises(BadRowError, match=r"mine\.csv:4: no text"):
        read_graded_pairs(path, SHOP, LoadReport())
    report = LoadReport(ReadOptions(on_bad_row="skip"))
    sample = read_graded_pairs(path, SHOP, report)
    assert [(query.text, query.row) for query in sample.queries] == [("couch", 1), ("divan", -1)]
    assert [bad.line for bad in report.bad_rows] == [4]
    told = "left out: 1 (the file says 'P01', the shop has 'p01'; the files differ in upper"
    assert any(told in note for note in report.notes)
    path.write_text("qid,product_id,grade\nq01,p00,E\nnone,p01,I\n")
    with pytest.raises(BadRowError, match=r"mine\.csv:3: no text of a query, and no id"):
        read_graded_pairs(path, SHOP, LoadReport())


def test_queries_of_a_split_are_left_out_and_the_last_grade_holds(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("query,product_id,grade\ncouch,p00,E\nIcebox,p00,E\nCOUCH,p00,I\n")
    report = LoadReport()
    sample = read_graded_pairs(path, SHOP, report, without=("test",))
    assert [query.text for query in sample.queries] == ["couch"] and sample.levels_PK.tolist() == [[0]]
    assert "mine.csv: pairs graded again, and differently: 1; the last grade holds" in report.notes
