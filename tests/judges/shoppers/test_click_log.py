"""The reader of click logs: lists, bad rows, gaps."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from judges.shoppers.click_log import read_click_log
from qr_env.common.errors import BadRowError, DataError
from qr_env.shop.readers.options import ReadOptions
from tests.helpers.fakes import tiny_shop

SHOP = tiny_shop()


def write_log(path: Path, lines: list[str]) -> Path:
    path.write_text("session,query_id,product_id,position,event\n" + "\n".join(lines) + "\n")
    return path


def test_a_click_log_is_read_as_lists(tmp_path: Path) -> None:
    lines = ["b,q01,p07,1,", "a,q00,p01,2,click", "a,q00,p00,1,purchase", "b,q01,p03,2,Cart", "c,q00,p02,1,none"]
    log = read_click_log(write_log(tmp_path / "log.csv", lines), SHOP)
    assert [query.id for query in log.queries] == ["q01", "q00", "q00"]
    assert log.rows_NK.tolist() == [[7, 3], [0, 1], [2, -1]]
    assert log.event_NK.tolist() == [[0, 2], [3, 1], [0, 0]]
    assert log.reached("click").tolist() == [[False, True], [True, True], [False, False]]


def test_bad_rows_stop_the_reader_or_drop_their_list(tmp_path: Path) -> None:
    good = ["a,q00,p00,1,click", "a,q00,p01,2,"]
    dirty = ["b,q00,p00,1,", "b,q00,nothing,2,", "b,q00,p02,3,click", "c,q01,p00,0,", "d,q00,p00,1,stolen"]
    path = write_log(
        tmp_path / "log.csv", [*good, *dirty, "e,q00,p00,1,", "e,q00,p01,1,", "f,q00,p00,1,", "f,q01,p01,2,"]
    )
    with pytest.raises(BadRowError, match=r"log\.csv:5: unknown product_id"):
        read_click_log(path, SHOP)
    log = read_click_log(path, SHOP, options=ReadOptions(on_bad_row="skip"))
    assert log.rows_NK.tolist() == [[0, 1]] and len(log.report.bad_rows) == 3
    assert "3 of 4 sessions" in log.report.notes[-1]
    with pytest.raises(DataError, match="no complete list"):
        read_click_log(write_log(tmp_path / "gaps.csv", ["a,q00,p00,2,click"]), SHOP)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "ubi.jsonl",
            '{"serp_id": "a", "user_query": "red sofa", "object_id": "p00", "pos": 1, "action_name": "buy"}\n'
            '{"serp_id": "a", "user_query": "red sofa", "object_id": "p01", "pos": 2, "action_name": "view"}\n',
        ),
        (
            "export.csv",
            "\ufeffSession ID;Query;SKU;Position;Clicked\r\n7;Red sofa;p00;1.0;1\r\n7;red  sofa;p01;2.0;0\r\n",
        ),
        ("words.csv", "session,query,sku,rank,click\ns,red sofa,p00,1,Yes\ns,red sofa,p01,2,no\n"),
        ("log.tsv.gz", "list_id\tqid\tsku\tpos\tevent\na\tq02\tp00\t1\tAdd to cart\na\tq02\tp01\t2\t\n"),
    ],
)
def test_click_logs_of_other_tools(tmp_path: Path, name: str, text: str) -> None:
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    log = read_click_log(tmp_path / name, SHOP)
    assert [query.id for query in log.queries] == ["q02"] and log.rows_NK.tolist() == [[0, 1]]
    assert log.reached("click").tolist() == [[True, False]]
