"""`qr bench table` on a small table: every figure is there, and both stores give the same entries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runs.bench.args import TableBenchArgs
from runs.bench.serving import table


def test_both_stores_answer_alike_and_are_measured(tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    table.build_sqlite(tmp_path / "t.db", 300)
    table.build_lmdb(tmp_path / "t.lmdb", tmp_path / "t.db")
    sqlite, lmdb = table.sqlite_reader(tmp_path / "t.db", False), table.lmdb_reader(tmp_path / "t.lmdb", False)
    first, second = next(sqlite), next(lmdb)
    for number in (0, 7, 299):
        assert first(table.query_of(number)) == [second(table.query_of(number))] == [table.entry_of(number)]
    sqlite.close()
    lmdb.close()
    table.main(TableBenchArgs((300,), 50, 1, tmp_path, str(tmp_path / "bench.json")))
    found = json.loads((tmp_path / "bench.json").read_text())["tables"]["300 entries"]
    assert set(found["LMDB"]) < set(found["SQLite"])
    assert all(value > 0 for figures in found.values() for value in figures.values())
