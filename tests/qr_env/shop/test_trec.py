"""TREC run files: round trip, order kept for trec_eval, every bad line named."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from qr_env.common.errors import BadRowError, DataError
from qr_env.common.types import Hits, Query
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop
from qr_env.shop.trec import read_run, strictly_decreasing, write_run, write_topics
from tests.helpers.fakes import WordRetriever, tiny_shop


@pytest.fixture(scope="module")
def shop() -> Shop:
    return tiny_shop()


def test_round_trip_keeps_the_lists_in_order(shop: Shop, tmp_path: Path) -> None:
    queries = shop.all_queries
    hits = WordRetriever(shop).search([query.text for query in queries], 8)
    path = write_run(tmp_path / "deep" / "a.trec", shop, queries, hits, tag="my system")
    again, tag = read_run(path, shop, queries, k=8)
    np.testing.assert_array_equal(again.rows_NK, hits.rows_NK)
    np.testing.assert_allclose(again.scores_NK, hits.scores_NK, rtol=1e-5)
    assert tag == "my_system"
    assert all(len(line.split()) == 6 for line in path.read_text().splitlines())
    assert path.read_text().splitlines()[0].split()[:4] == ["q00", "Q0", "p00", "1"]


def test_written_scores_fall_strictly_even_where_the_engine_ties() -> None:
    scores = np.array([[2.0, 2.0, 2.0, 1.0, -np.inf], [0.0, 0.0, -np.inf, -np.inf, -np.inf]], np.float32)
    falling = strictly_decreasing(scores)
    assert (np.diff(falling[0, :4]) < 0).all()
    assert falling[1, 1] < falling[1, 0]
    np.testing.assert_allclose(falling[np.isfinite(scores)], scores[np.isfinite(scores)], rtol=1e-6, atol=1e-40)


def test_reading_sorts_by_score_then_rank_and_cuts_at_k(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "other.trec"
    path.write_text("q00 Q0 p03 3 0.5 x\nq00 Q0 p01 2 0.5 x\n\nq00 Q0 p02 1 0.9 x\nq05 Q0 p00 1 1 x\n")
    hits, tag = read_run(path, shop, [shop.all_queries[1], shop.all_queries[0]], k=2)
    assert hits.rows_NK.tolist() == [[-1, -1], [2, 1]]
    assert tag == "x"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("q00 Q0 p01 1 0.5", "5 columns"),
        ("q00 Q0 nope 1 0.5 x", "the product is not in .*nope"),
        ("nope Q0 p01 1 0.5 x", "the query is not in .*nope"),
        ("q00 Q0 p01 1 high x", "the score a number.*high"),
        ("q00 Q0 p01 1 nan x", "finite"),
        ("q00 Q0 p00 1 0.4 x", "twice"),
    ],
)
def test_a_bad_line_is_named(shop: Shop, tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "bad.trec"
    path.write_text(f"q00 Q0 p00 1 0.5 x\n{line}\n")
    with pytest.raises(BadRowError, match=reason) as error:
        read_run(path, shop, shop.all_queries)
    assert f"{path}:2" in str(error.value)
    hits, _ = read_run(path, shop, shop.all_queries[:1], 3, ReadOptions(on_bad_row="skip"))
    assert hits.rows_NK.tolist() == [[0, -1, -1]]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("run.trec.gz", gzip.compress(b"q00 Q0 p02 1 0.9 x\nq00 Q0 p01 2 0.5 x\n")),
        ("run.txt", "\ufeffq00\tQ0\tp02\t1\t9e-1\tx\r\nq00\tQ0\tp01\t2\t0.5\tx\r\n".encode()),
        ("msmarco.tsv", b"q00\tp01\t2\nq00\tp02\t1\n"),
    ],
)
def test_runs_may_be_packed_have_marks_or_three_columns(shop: Shop, tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    hits, tag = read_run(tmp_path / name, shop, shop.all_queries[:1], k=2)
    assert hits.rows_NK.tolist() == [[2, 1]] and tag == ("run" if name == "msmarco.tsv" else "x")


def test_no_file_and_ids_with_spaces_are_refused(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_run(tmp_path / "none.trec", shop, shop.all_queries)
    hits = Hits(np.zeros((1, 1), np.int32), np.ones((1, 1), np.float32))
    with pytest.raises(DataError, match="white space"):
        write_run(tmp_path / "x.trec", shop, [Query(0, "my query", "sofa")], hits, "x")


def test_topics_are_a_line_a_query_with_id_and_string(shop: Shop, tmp_path: Path) -> None:
    path = write_topics(tmp_path / "deep" / "topics.tsv", shop.all_queries[:2], ["red sofa^0.4", ""])
    assert path.read_text() == "q00\tred sofa^0.4\nq01\t\n"
    with pytest.raises(DataError, match=r"'red\\tsofa' of 'q00' has a tab"):
        write_topics(path, shop.all_queries[:1], ["red\tsofa"])
