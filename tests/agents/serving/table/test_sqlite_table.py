"""The table in one file: what is written is read, damage is named, a kill at any moment leaves a whole table."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from agents.serving.rewritten import rewritten
from agents.serving.table.entry import TableEntry
from agents.serving.table.opening import open_table
from agents.serving.table.sqlite_table import SqliteTable, TableWriter
from qr_env.common.errors import ConfigError, DataError, RunFolderError

ROWS = 4_000
KILLS = int(os.environ.get("QR_KILLS", "4"))
PLAN = {"model": "m", "combine": "expand"}


def entry(number: int, rewrite: str = "couch^0.4") -> TableEntry:
    return TableEntry(rewritten(f"Query  {number}", f"{rewrite} w{number}", frequency=float(number)))


def built(path: Path, count: int = 50, rewrite: str = "couch^0.4") -> str:
    with TableWriter(path, PLAN) as writer:
        writer.add(entry(number, rewrite) for number in range(count))
        return writer.publish().version


def test_what_is_written_is_found_by_equal_texts(tmp_path: Path) -> None:
    version = built(tmp_path / "t.db")
    table = open_table(tmp_path / "t.db")
    assert table.version == version and table.facts.rows == 50 and table.facts.plan == PLAN
    assert table.look_up(["QUERY 7", "query 7 ", "ｑuery 7", "query 77"]) == [entry(7)] * 3 + [None]
    assert len(list(table.entries())) == 50 and table.look_up([]) == []
    table.close()


def test_the_version_is_of_the_rows_whatever_their_order(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "b.db", PLAN) as writer:
        writer.add(entry(number) for number in reversed(range(25, 50)))
        writer.add(entry(number) for number in range(25))
        version = writer.publish().version
    assert version == built(tmp_path / "a.db") != built(tmp_path / "c.db", rewrite="sofa")


def test_readers_keep_their_version_and_the_one_before_stays(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    first = built(path)
    reader = SqliteTable.open(path)
    second = built(path, rewrite="sofa")
    assert reader.look_up(["query 3"]) == [entry(3)]
    assert SqliteTable.open(path).look_up(["query 3"]) == [entry(3, "sofa")]
    assert SqliteTable.open(path.with_name("t.db.previous")).version == first != second
    assert sorted(file.name for file in tmp_path.iterdir()) == ["t.db", "t.db.previous"]


def test_an_interrupted_build_goes_on_and_another_plan_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with TableWriter(path, PLAN) as writer:
        writer.add([entry(1), entry(2)])
    assert not path.exists()
    with TableWriter(path, PLAN) as writer:
        assert writer.done() == {"query 1", "query 2"}
    with TableWriter(path, PLAN | {"model": "n"}) as writer:
        assert writer.done() == set()
        writer.add([entry(3)])
        assert writer.publish().rows == 1


def test_two_builds_of_one_file_do_not_mix(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "t.db", PLAN) as writer:
        writer.add([entry(1)])
        with pytest.raises(RunFolderError, match="being built by another process"):
            TableWriter(tmp_path / "t.db", PLAN)
        assert writer.publish().rows == 1


def test_a_part_that_is_no_database_or_has_a_journal_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".t.db.part").write_bytes(b"no database" * 1000)
    (tmp_path / ".t.db.part-journal").write_bytes(b"stale")
    assert built(tmp_path / "t.db") == built(tmp_path / "u.db")


def test_every_flipped_byte_is_named_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    version = built(path)
    whole, expected = path.read_bytes(), [entry(number) for number in range(50)]
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(8))
        (tmp_path / "d.db").write_bytes(damaged)
        try:
            table = open_table(tmp_path / "d.db")
        except DataError:
            refused += 1
            continue
        assert table.version == version
        assert table.look_up([f"query {number}" for number in range(50)]) == expected
        table.close()
    assert refused > 10


@pytest.mark.parametrize("size", [0, 10, 5000])
def test_a_file_that_is_cut_short_is_named(tmp_path: Path, size: int) -> None:
    built(tmp_path / "t.db")
    (tmp_path / "d.db").write_bytes((tmp_path / "t.db").read_bytes()[:size])
    with pytest.raises(DataError, match=r"d\.db"):
        open_table(tmp_path / "d.db")


def test_what_is_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        open_table(tmp_path / "none.db")
    sqlite3.connect(tmp_path / "other.db").execute("create table x (y)").connection.close()
    with pytest.raises(DataError, match=r"other.db cannot be read as a table"):
        open_table(tmp_path / "other.db")
    with TableWriter(tmp_path / "t.db", PLAN) as writer:
        writer.add([entry(1)])
    with pytest.raises(DataError, match="no finished table"):
        open_table(tmp_path / ".t.db.part")


def test_a_changed_description_is_damage(tmp_path: Path) -> None:
    built(tmp_path / "t.db")
    with sqlite3.connect(tmp_path / "t.db") as database:
        database.execute("UPDATE about SET value = replace(value, 'expand', 'union') WHERE name = 'plan'")
    database.close()
    with pytest.raises(DataError, match="description"):
        open_table(tmp_path / "t.db")


def test_threads_may_share_a_reader(tmp_path: Path) -> None:
    built(tmp_path / "t.db")
    table, wrong = SqliteTable.open(tmp_path / "t.db"), []

    def read() -> None:
        for number in range(50):
            if table.look_up([f"query {number}"]) != [entry(number)]:
                wrong.append(number)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


WRITER = """
import sys
from pathlib import Path
from tests.agents.serving.table.test_sqlite_table import PLAN, ROWS, TableWriter, entry
with TableWriter(Path(sys.argv[1]), PLAN) as writer:
    print("started", flush=True)
    done = writer.done()
    for start in range(0, ROWS, 100):
        if f"query {start}" not in done:
            writer.add(entry(number, "sofa") for number in range(start, start + 100))
    writer.publish()
"""


def test_a_build_killed_at_any_moment_leaves_the_old_table_and_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    path, rng = tmp_path / "t.db", np.random.default_rng(0)
    old = built(path)
    killed = 0
    for _ in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env=os.environ)
        assert process.stdout is not None and process.stdout.readline() == b"started\n"
        time.sleep(rng.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        table = SqliteTable.open(path)
        assert (table.version == old) == (table.facts.rows == 50)
        table.close()
    assert killed
    subprocess.run([sys.executable, "-c", WRITER, str(path)], check=True, capture_output=True)
    with TableWriter(tmp_path / "whole.db", PLAN) as writer:
        writer.add(entry(number, "sofa") for number in range(ROWS))
        whole = writer.publish()
    finished = SqliteTable.open(path)
    assert (finished.version, finished.facts.rows) == (whole.version, ROWS)
