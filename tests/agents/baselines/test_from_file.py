"""Rewrites of a file: matched by query text, best first; queries that the file lacks are kept."""

import pytest

from agents.baselines.from_file import RewritesFromFile
from qr_env.common.errors import BadRowError, DataError
from qr_env.shop.readers.options import ReadOptions
from tests.helpers.fakes import tiny_shop


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "submission.csv"
    path.write_text("query,rewrite\nred lamp,crimson lamp\nRed  lamp,scarlet lamp\nsofa,\n", encoding="utf-8")
    return path


def test_rewrites_come_in_the_order_of_the_file(file):
    assert RewritesFromFile(file).rewrite(["RED lamp", "sofa"], n=3) == [
        ["crimson lamp", "scarlet lamp", ""],
        ["", "", ""],
    ]


def test_a_query_that_the_file_lacks_is_kept(file):
    assert RewritesFromFile(file).rewrite(["chair"]) == [[""]]


def test_a_file_without_queries_is_refused(tmp_path):
    path = tmp_path / "empty.csv"
    path.write_text("query,rewrite\n,lamp\n", encoding="utf-8")
    with pytest.raises(BadRowError, match=r"empty\.csv:2: empty query"):
        RewritesFromFile(path)
    with pytest.raises(DataError, match=r"empty\.csv: no row has a query"):
        RewritesFromFile(path, ReadOptions(on_bad_row="skip"))


def test_a_file_for_other_queries_is_refused_and_for_few_of_them_noted(tmp_path, caplog):
    path = tmp_path / "rewrites.csv"
    path.write_text("query,rewrite\nlawn mower,mower\n")
    with pytest.raises(DataError, match=r"1 of its 1 queries are not in .*file says 'lawn mower', the shop has 'sofa'"):
        RewritesFromFile(path, shop=tiny_shop())
    path.write_text("query,rewrite\nlawn mower,mower\nhose,tube\nCOUCH,sofa\n")
    with caplog.at_level("INFO"):
        assert RewritesFromFile(path, shop=tiny_shop()).rewrite(["couch"]) == [["sofa"]]
    assert "2 of its 3 queries are not in" in caplog.text
