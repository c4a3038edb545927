"""The verdict store's file: several processes and kill −9 lose nothing, unusable files raise and stay unchanged."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from judges.verdict_store import file as file_module
from judges.verdict_store import maintenance
from judges.verdict_store.index import digest
from judges.verdict_store.store import VerdictStore
from qr_env.common.errors import StoreError
from tests.helpers.fake_verdicts import JUDGE, keys, text_pairs, verdicts

# --- several processes, killed at random

# Children are forked from a process that has everything imported, and no threads.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["__main__", "tests.judges.verdict_store.test_file"])
SIZES = [1, 7, 40, 2, 120]  # verdicts a commit, over and over


def write_until_killed(path: Path, name: str, commits: Connection, stop: Any = None) -> None:
    """Commit verdicts of judge and query `name`, batch by batch; after each commit report how many there are, and pause
    a little, as a judge's work gives the others their turn."""
    with VerdictStore(path) as store:
        done = turn = 0
        while stop is None or not stop.is_set():
            pairs = [(name, f"p{n}") for n in range(done, done + SIZES[turn % len(SIZES)])]
            store.put(name, pairs, verdicts(pairs))
            done, turn = done + len(pairs), turn + 1
            commits.send(done)
            time.sleep(0.005)


def last_reported(commits: Connection) -> int:
    """The last number received through the pipe."""
    last = 0
    try:
        while commits.poll():
            last = commits.recv()
    except EOFError:
        pass
    return last


def start(path: Path, name: str, *args: Any) -> tuple[Any, Connection]:
    receiver, sender = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=write_until_killed, args=(path, name, sender, *args), daemon=True)
    process.start()
    sender.close()
    return process, receiver


def stored_count(path: Path, name: str) -> int:
    """Number of stored verdicts for query `name`, each checked to the bit; also checks the file."""
    with VerdictStore(path) as store:
        assert maintenance.integrity_errors(store) == []
        with store.reading() as db:
            count = db.execute("SELECT count(*) FROM verdicts WHERE query = ?", (digest(name),)).fetchone()[0]
        pairs = [(name, f"p{n}") for n in range(count)]
        assert store.get(name, keys(pairs)).tobytes() == verdicts(pairs).tobytes()
    return int(count)


def test_two_processes_write_and_one_is_killed_fifty_times(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    stop = FORKS.Event()
    survivor, survivors_commits = start(tmp_path, "survivor", stop)
    interrupted = committed = 0
    for turn in range(50):
        victim, commits = start(tmp_path, f"victim {turn}")
        if turn % 5:
            commits.poll(10)  # one in five is killed while it starts, the others while they write
        time.sleep(generator.uniform(0, 0.06))
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        known, count = last_reported(commits), stored_count(tmp_path, f"victim {turn}")
        boundaries = np.cumsum([0, *(SIZES * 50)]).tolist()
        assert count in boundaries, "a commit is there whole or not at all"
        assert known <= count <= boundaries[boundaries.index(known) + 1], "nothing committed is lost"
        committed += known
        interrupted += count == known
    stop.set()
    survivor.join(20)
    assert survivor.exitcode == 0 and stored_count(tmp_path, "survivor") == last_reported(survivors_commits) > 0
    assert committed > 0 and interrupted > 10, "the test kills writers in the middle"


def test_processes_that_start_at_once_share_one_new_file(tmp_path: Path) -> None:
    stop = FORKS.Event()
    writers = [start(tmp_path / "new", f"writer {n}", stop) for n in range(6)]
    for _, commits in writers:
        assert commits.poll(20)
    stop.set()
    for n, (process, commits) in enumerate(writers):
        process.join(20)
        assert process.exitcode == 0 and stored_count(tmp_path / "new", f"writer {n}") == last_reported(commits) > 0
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["verdicts.sqlite"]


# --- unusable files: the error names the file and a remedy, the file stays unchanged


def filled(path: Path, count: int = 3_000) -> Path:
    with VerdictStore(path) as store:
        store.put(JUDGE, text_pairs(count), verdicts(text_pairs(count)))
    return store.path


def test_foreign_empty_and_newer_files_are_not_changed(tmp_path: Path) -> None:
    text, empty, foreign, newer = (tmp_path / f"{name}.sqlite" for name in ("text", "empty", "foreign", "newer"))
    text.write_text("query,product,grade\n" * 100)
    empty.touch()
    for file, sql in ((foreign, "CREATE TABLE shopping (list)"), (filled(newer, 1), "PRAGMA user_version = 99")):
        db = sqlite3.connect(file)
        db.execute(sql)
        db.commit()
        db.close()
    messages = {text: "no SQLite file", empty: "empty file", foreign: "shopping", newer: "version 99.*update"}
    for file, message in messages.items():
        before = file.read_bytes()
        for read_only in (False, True):
            with pytest.raises(StoreError, match=message) as error:
                VerdictStore(file, read_only)
            assert str(file) in str(error.value)
        assert file.read_bytes() == before and sorted(tmp_path.glob(f"*{file.name}*")) == [file]


def test_a_damaged_file_raises_with_advice(tmp_path: Path) -> None:
    file = filled(tmp_path)
    content = bytearray(file.read_bytes())
    content[8_192 : len(content) - 4_096] = os.urandom(len(content) - 12_288)
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged.*\.recover"), VerdictStore(tmp_path) as store:
        store.get(JUDGE, keys(text_pairs(10)))
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match="damaged"), VerdictStore(tmp_path) as store:
        store.get(JUDGE, keys(text_pairs(10)))


def test_a_full_disk_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    pairs, more = text_pairs(500), text_pairs(20_000, "more ")
    with VerdictStore(tmp_path) as store:
        store.put(JUDGE, pairs, verdicts(pairs))
        with store.reading() as db:  # SQLite answers SQLITE_FULL, as on a full disk
            pages = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreError, match=r"disk is full.*committed is safe.*run again"):
            store.put(JUDGE, more, verdicts(more))
        assert store.get(JUDGE, keys(pairs)).tobytes() == verdicts(pairs).tobytes()
        assert np.isnan(store.get(JUDGE, keys(more))).all()
        with store.reading() as db:
            db.execute("PRAGMA max_page_count = 1000000")
        store.put(JUDGE, more, verdicts(more))
        assert store.get(JUDGE, keys(more)).tobytes() == verdicts(more).tobytes()
        assert maintenance.integrity_errors(store) == []


def test_a_locked_store_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "BUSY_SECONDS", 0.05)
    with VerdictStore(tmp_path) as store, VerdictStore(tmp_path) as other, other.writing():
        with pytest.raises(StoreError, match="locked"):
            store.put(JUDGE, text_pairs(1), verdicts(text_pairs(1)))
        assert np.isnan(store.get(JUDGE, keys(text_pairs(1)))).all(), "reading goes on"


def filled_store(folder: Path) -> VerdictStore:
    filled(folder, 5)
    return VerdictStore(folder)


def read_and_write_as_another_user(folder: str, results: Connection) -> None:
    """Report what happens to a user who may only read the store."""
    # Import everything while it may be read: the user "nobody" cannot read a private checkout.
    with tempfile.TemporaryDirectory() as other, filled_store(Path(other)) as store:
        store.get(JUDGE, keys(text_pairs(5)))
    if os.geteuid() == 0:  # root may write anything
        os.setuid(65_534)
    try:
        with VerdictStore(folder, read_only=True) as store:
            results.send(store.get(JUDGE, keys(text_pairs(5))).tobytes() == verdicts(text_pairs(5)).tobytes())
            store.put(JUDGE, text_pairs(9), verdicts(text_pairs(9)))
    except StoreError as error:
        results.send(str(error))
    try:
        VerdictStore(folder).put(JUDGE, text_pairs(9), verdicts(text_pairs(9)))
    except StoreError as error:
        results.send(str(error))


def test_another_users_store_can_be_read_and_raises_on_writing() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = filled(Path(folder), 5)
        file.chmod(0o444)
        Path(folder).chmod(0o555)
        receiver, sender = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=read_and_write_as_another_user, args=(folder, sender))
        process.start()
        process.join(20)
        Path(folder).chmod(0o755)
        sender.close()
        assert receiver.recv() is True
        for message in ("opened read-only", "may not be written"):
            answer = receiver.recv()
            assert message in answer and str(file) in answer


def test_read_only_creates_no_file_and_impossible_places_raise(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no verdict store"):
        VerdictStore(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        VerdictStore(tmp_path / "file" / "below.sqlite")
