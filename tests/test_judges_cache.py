"""The verdict store: exact, first verdict stays, safe with several processes and kill −9, errors with the way out."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from hashlib import blake2b
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from judges import cache_file, cache_upkeep
from judges.cache import VerdictStore
from judges.cache_index import DAY, digest, digests, pair_keys
from qr_env.errors import ConfigError, StoreError
from qr_env.types import FloatArray

JUDGE = "fake@1"
Pairs = list[tuple[str, str]]


def verdicts(pairs: Pairs, salt: str = "") -> FloatArray:
    """A verdict that only its pair decides, (M, 4)."""
    raw = b"".join(digest(f"{query}|{product}|{salt}") for query, product in pairs)
    weights_M4 = np.frombuffer(raw, "<u4").reshape(-1, 4).astype(np.float64) + 1.0
    return (weights_M4 / weights_M4.sum(axis=1, keepdims=True)).astype(np.float32)


def keys(pairs: Pairs) -> np.ndarray:
    return pair_keys(digests(query for query, _ in pairs), digests(product for _, product in pairs))


def some(count: int, query: str = "q") -> Pairs:
    return [(f"{query}{n % 7}", f"p{n}") for n in range(count)]


# --- keys


def test_keys_are_of_the_texts_bytes_and_do_not_collide() -> None:
    reference = blake2b("röd soffa".encode(), digest_size=16).digest()
    assert digests(["röd soffa"]).tobytes() == digest("röd soffa") == reference
    texts = digests([f"text {n}" for n in range(300)])
    grid_M2 = pair_keys(np.repeat(texts, 300, axis=0), np.tile(texts, (300, 1)))
    for half in grid_M2.T:  # each half tells all 90,000 ordered pairs apart, (a, b) from (b, a) too
        assert len(np.unique(half)) == len(half)
    assert digests([]).shape == (0, 2)
    assert len(np.unique(digests(["a", "a ", "A", "a\0", "\ud800", "?"]), axis=0)) == 6


# --- get and put


def test_verdicts_come_back_to_the_bit_and_missing_ones_are_not_kept(tmp_path: Path) -> None:
    pairs = [*some(50), ("", ""), ("nul \0", "lone \ud800"), ("röd", "soffa")]
    probs = verdicts(pairs)
    probs[3], probs[4, 2] = np.nan, np.nan
    with VerdictStore(tmp_path) as store:
        assert np.isnan(store.get(JUDGE, keys(pairs))).all()
        store.put(JUDGE, pairs, probs)
    with VerdictStore(tmp_path / "verdicts.sqlite") as store:
        got = store.get(JUDGE, keys(pairs))
        known = np.delete(np.arange(len(pairs)), [3, 4])
        assert got[known].tobytes() == probs[known].tobytes() and got.dtype == np.float32
        assert np.isnan(got[[3, 4]]).all()
        assert np.isnan(store.get("fake@2", keys(pairs))).all(), "another judge's verdicts are its own"
        assert np.isnan(store.get(JUDGE, keys([(product, query) for query, product in pairs[:3]]))).all()
        assert store.get(JUDGE, keys([])).shape == (0, 4)
        assert store.stats() | {"asked": 109, "hits": 51, "hit_rate": 51 / 109} == store.stats()


def test_use_is_written_down_from_the_first_look_up_on_and_by_whoever_forgets_to_close(tmp_path: Path) -> None:
    pairs = some(6)
    code = """
    import sys
    from tests.test_judges_cache import JUDGE, VerdictStore, keys, some, verdicts
    store, pairs = VerdictStore(sys.argv[1]), some(6)
    store.get(JUDGE, keys(pairs))  # nobody knows the judge yet
    store.put(JUDGE, pairs, verdicts(pairs))
    store.get(JUDGE, keys(pairs[:4]))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], check=True)
    with VerdictStore(tmp_path, read_only=True) as store:
        judge = store.judges()[0]
        assert (judge["asked"], judge["hits"], judge["verdicts"]) == (10, 4, len(pairs))


def test_the_first_verdict_stays_and_put_says_so(tmp_path: Path) -> None:
    pairs = some(20)
    with VerdictStore(tmp_path) as first, VerdictStore(tmp_path) as second:
        first.put(JUDGE, pairs[:12], verdicts(pairs[:12]))
        later = verdicts(pairs, "later")
        kept = second.put(JUDGE, pairs, later)
        assert kept[:12].tobytes() == verdicts(pairs[:12]).tobytes() and kept[12:].tobytes() == later[12:].tobytes()
        for store in (first, second):
            assert store.get(JUDGE, keys(pairs)).tobytes() == kept.tobytes()


def test_two_handles_agree_with_a_dictionary(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    universe = [(f"q{q}", f"p{p}") for q in range(30) for p in range(30)]
    model: dict[tuple[str, str, str], bytes] = {}
    with VerdictStore(tmp_path) as a, VerdictStore(tmp_path) as b:
        for turn in range(80):
            store, judge = (a, b)[turn % 2], ("j1", "j2")[generator.integers(2)]
            pairs = [universe[n] for n in generator.integers(len(universe), size=40)]
            distinct = list(dict.fromkeys(pairs))
            probs = verdicts(distinct, str(turn))
            store.put(judge, distinct, probs)
            for pair, row in zip(distinct, probs, strict=True):
                model.setdefault((judge, *pair), row.tobytes())
            asked = [universe[n] for n in generator.integers(len(universe), size=60)]
            got = store.get(judge, keys(asked))
            for pair, row in zip(asked, got, strict=True):
                expected = model.get((judge, *pair))
                assert np.isnan(row).all() if expected is None else row.tobytes() == expected


def test_a_batch_costs_less_than_five_microseconds_a_pair(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    queries, products = [f"query {n}" for n in range(2_000)], [f"product {n}" for n in range(1_000)]
    chosen = generator.choice(len(queries) * len(products), size=25_000, replace=False)
    pairs = [(queries[n // 1_000], products[n % 1_000]) for n in chosen.tolist()]
    query_digests, product_digests = digests(queries), digests(products)
    with VerdictStore(tmp_path) as store:
        store.put(JUDGE, pairs, verdicts(pairs))
        times = []
        for _ in range(8):
            wanted = generator.choice(chosen, size=25_000)
            start = time.process_time()
            got = store.get(JUDGE, pair_keys(query_digests[wanted // 1_000], product_digests[wanted % 1_000]))
            times.append((time.process_time() - start) / len(wanted))
            assert not np.isnan(got).any()
    assert min(times) < 5e-6, f"{1 / min(times):,.0f} look-ups/s of processor time"


def test_pickled_and_forked_stores_open_the_file_again(tmp_path: Path) -> None:
    pairs = some(3)
    with VerdictStore(tmp_path) as store:
        store.put(JUDGE, pairs, verdicts(pairs))
        with pickle.loads(pickle.dumps(store)) as copy:
            assert copy.get(JUDGE, keys(pairs)).tobytes() == verdicts(pairs).tobytes()
    code = """
import os, sys
from tests.test_judges_cache import JUDGE, VerdictStore, keys, some, verdicts
store, pairs = VerdictStore(sys.argv[1]), some(9)
assert store.get(JUDGE, keys(pairs))[:3].tobytes() == verdicts(pairs[:3]).tobytes()
if not (child := os.fork()):
    store.put(JUDGE, pairs[3:6], verdicts(pairs[3:6]))
    os._exit(0)
store.put(JUDGE, pairs[6:], verdicts(pairs[6:]))
assert os.waitpid(child, 0)[1] == 0
assert store.get(JUDGE, keys(pairs)).tobytes() == verdicts(pairs).tobytes()
store.close()
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = VerdictStore(tmp_path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.get(JUDGE, keys(some(1)))


# --- several processes, killed at random

# Children are forked from a process that has everything imported, and no threads.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["__main__", "tests.test_judges_cache"])
SIZES = [1, 7, 40, 2, 120]  # verdicts a commit, over and over


def write_until_killed(path: Path, name: str, commits: Connection, stop: Any = None) -> None:
    """Commit verdicts of judge and query `name`, batch by batch; after each commit tell how many there are, and rest
    a little, as a judge's work gives the others their turn."""
    with VerdictStore(path) as store:
        done = turn = 0
        while stop is None or not stop.is_set():
            pairs = [(name, f"p{n}") for n in range(done, done + SIZES[turn % len(SIZES)])]
            store.put(name, pairs, verdicts(pairs))
            done, turn = done + len(pairs), turn + 1
            commits.send(done)
            time.sleep(0.005)


def told(commits: Connection) -> int:
    """The last number that came through the pipe."""
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


def held(path: Path, name: str) -> int:
    """How many verdicts the store holds for query `name`, each checked to the bit; the file is checked as well."""
    with VerdictStore(path) as store:
        assert cache_upkeep.damage(store) == []
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
        known, count = told(commits), held(tmp_path, f"victim {turn}")
        boundaries = np.cumsum([0, *(SIZES * 50)]).tolist()
        assert count in boundaries, "a commit is there whole or not at all"
        assert known <= count <= boundaries[boundaries.index(known) + 1], "nothing committed is lost"
        committed += known
        interrupted += count == known
    stop.set()
    survivor.join(20)
    assert survivor.exitcode == 0 and held(tmp_path, "survivor") == told(survivors_commits) > 0
    assert committed > 0 and interrupted > 10, "the test kills writers in the middle"


def test_processes_that_start_at_once_share_one_new_file(tmp_path: Path) -> None:
    stop = FORKS.Event()
    writers = [start(tmp_path / "new", f"writer {n}", stop) for n in range(6)]
    for _, commits in writers:
        assert commits.poll(20)
    stop.set()
    for n, (process, commits) in enumerate(writers):
        process.join(20)
        assert process.exitcode == 0 and held(tmp_path / "new", f"writer {n}") == told(commits) > 0
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["verdicts.sqlite"]


# --- files that cannot be used: named, with the way out, and untouched


def filled(path: Path, count: int = 3_000) -> Path:
    with VerdictStore(path) as store:
        store.put(JUDGE, some(count), verdicts(some(count)))
    return store.path


def test_foreign_empty_and_newer_files_are_left_alone(tmp_path: Path) -> None:
    text, empty, foreign, newer = (tmp_path / f"{name}.sqlite" for name in ("text", "empty", "foreign", "newer"))
    text.write_text("query,product,grade\n" * 100)
    empty.touch()
    for file, sql in ((foreign, "CREATE TABLE shopping (list)"), (filled(newer, 1), "PRAGMA user_version = 99")):
        db = sqlite3.connect(file)
        db.execute(sql)
        db.commit()
        db.close()
    says = {text: "no SQLite file", empty: "empty file", foreign: "shopping", newer: "version 99.*update"}
    for file, message in says.items():
        before = file.read_bytes()
        for read_only in (False, True):
            with pytest.raises(StoreError, match=message) as error:
                VerdictStore(file, read_only)
            assert str(file) in str(error.value)
        assert file.read_bytes() == before and sorted(tmp_path.glob(f"*{file.name}*")) == [file]


def test_a_damaged_file_is_named_with_the_way_to_save_it(tmp_path: Path) -> None:
    file = filled(tmp_path)
    content = bytearray(file.read_bytes())
    content[8_192 : len(content) - 4_096] = os.urandom(len(content) - 12_288)
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged.*\.recover"), VerdictStore(tmp_path) as store:
        store.get(JUDGE, keys(some(10)))
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match="damaged"), VerdictStore(tmp_path) as store:
        store.get(JUDGE, keys(some(10)))


def test_a_full_disk_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    pairs, more = some(500), some(20_000, "more ")
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
        assert cache_upkeep.damage(store) == []


def test_a_locked_store_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_file, "BUSY_SECONDS", 0.05)
    with VerdictStore(tmp_path) as store, VerdictStore(tmp_path) as other, other.writing():
        with pytest.raises(StoreError, match="locked"):
            store.put(JUDGE, some(1), verdicts(some(1)))
        assert np.isnan(store.get(JUDGE, keys(some(1)))).all(), "reading goes on"


def filled_store(folder: Path) -> VerdictStore:
    filled(folder, 5)
    return VerdictStore(folder)


def read_and_write_as_nobody(folder: str, says: Connection) -> None:
    """Tell what happens to a user who may read the store only."""
    # Whatever is imported late, while it may still be read: nobody cannot look into a private checkout.
    with tempfile.TemporaryDirectory() as other, filled_store(Path(other)) as store:
        store.get(JUDGE, keys(some(5)))
    if os.geteuid() == 0:  # root may write anything
        os.setuid(65_534)
    try:
        with VerdictStore(folder, read_only=True) as store:
            says.send(store.get(JUDGE, keys(some(5))).tobytes() == verdicts(some(5)).tobytes())
            store.put(JUDGE, some(9), verdicts(some(9)))
    except StoreError as error:
        says.send(str(error))
    try:
        VerdictStore(folder).put(JUDGE, some(9), verdicts(some(9)))
    except StoreError as error:
        says.send(str(error))


def test_a_store_of_somebody_else_can_be_read_and_says_why_it_is_not_written() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = filled(Path(folder), 5)
        file.chmod(0o444)
        Path(folder).chmod(0o555)
        receiver, sender = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=read_and_write_as_nobody, args=(folder, sender))
        process.start()
        process.join(20)
        Path(folder).chmod(0o755)
        sender.close()
        assert receiver.recv() is True
        for message in ("opened read-only", "may not be written"):
            answer = receiver.recv()
            assert message in answer and str(file) in answer


def test_read_only_never_makes_a_file_and_impossible_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no verdict store"):
        VerdictStore(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        VerdictStore(tmp_path / "file" / "below.sqlite")


# --- upkeep


def test_export_holds_texts_and_exact_verdicts(tmp_path: Path) -> None:
    pairs = some(30)
    with VerdictStore(tmp_path) as store:
        store.put(JUDGE, pairs, verdicts(pairs))
        store.put("other", pairs[:2], verdicts(pairs[:2], "other"))
        assert cache_upkeep.export(store, tmp_path / "out" / "all.parquet") == 32
        assert cache_upkeep.export(store, tmp_path / "one.jsonl", JUDGE) == 30
        with pytest.raises(ConfigError, match=r"all\.csv.*parquet"):
            cache_upkeep.export(store, tmp_path / "all.csv")
    names = ["irrelevant", "complement", "substitute", "exact"]
    table = pq.read_table(tmp_path / "out" / "all.parquet")
    assert table["fingerprint"].to_pylist() == [JUDGE] * 30 + ["other"] * 2
    assert list(zip(table["query"].to_pylist(), table["product"].to_pylist(), strict=True)) == pairs + pairs[:2]
    assert np.stack([table[name].to_numpy() for name in names], axis=1)[:30].tobytes() == verdicts(pairs).tobytes()
    lines = [json.loads(line) for line in (tmp_path / "one.jsonl").read_text().splitlines()]
    assert [(line["query"], line["product"]) for line in lines] == pairs
    assert (
        np.array([[line[name] for name in names] for line in lines], np.float32).tobytes() == verdicts(pairs).tobytes()
    )


def test_merge_keeps_the_first_and_counts_conflicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_upkeep, "BATCH", 7)
    pairs = some(40)
    with VerdictStore(tmp_path / "b") as b:
        b.put("only here", pairs[:5], verdicts(pairs[:5], "only"))
        b.put(JUDGE, pairs[10:], np.concatenate([verdicts(pairs[10:20]), verdicts(pairs[20:], "b")]))
        b.keep_shop(JUDGE, "hash", digests(["x", "y"]))
    with VerdictStore(tmp_path / "a") as a:
        a.put(JUDGE, pairs[:30], verdicts(pairs[:30]))
        assert cache_upkeep.merge(a, tmp_path / "b") == {"added": 15, "same": 10, "conflicts": 10}
        assert cache_upkeep.merge(a, tmp_path / "b") == {"added": 0, "same": 25, "conflicts": 10}
        expected = np.concatenate([verdicts(pairs[:30]), verdicts(pairs[30:], "b")])
        assert a.get(JUDGE, keys(pairs)).tobytes() == expected.tobytes()
        assert a.get("only here", keys(pairs[:5])).tobytes() == verdicts(pairs[:5], "only").tobytes()
        assert np.array_equal(a.shop(JUDGE, "hash"), digests(["x", "y"]))
        cache_upkeep.export(a, tmp_path / "a.jsonl")
        assert "null" not in (tmp_path / "a.jsonl").read_text(), "the texts came along"
        with pytest.raises(ConfigError, match="the store itself"):
            cache_upkeep.merge(a, tmp_path / "a")
        with pytest.raises(StoreError, match="no verdict store"):
            cache_upkeep.merge(a, tmp_path / "nowhere")
        assert cache_upkeep.damage(a) == []


def test_prune_by_judge_age_and_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    today = time.time()
    pairs = some(40)

    def day(shift: float) -> None:
        monkeypatch.setattr(time, "time", lambda: today + shift * DAY)

    day(-100)
    with VerdictStore(tmp_path) as store:
        store.put(JUDGE, pairs[:20], verdicts(pairs[:20]))
        store.put("other", pairs[:20], verdicts(pairs[:20]))
    day(-10)
    with VerdictStore(tmp_path) as store:
        store.get(JUDGE, keys(pairs[:8]))  # used since, which closing the store writes down
        store.put(JUDGE, pairs[20:], verdicts(pairs[20:]))
    day(0)
    with VerdictStore(tmp_path) as store:
        with pytest.raises(ConfigError, match="say which"):
            cache_upkeep.prune(store)
        with pytest.raises(ConfigError, match="no judge 'fakes'"):
            cache_upkeep.prune(store, "fakes")
        assert cache_upkeep.prune(store, unused_days=30, dry_run=True) == 32
        assert cache_upkeep.prune(store, JUDGE, unused_days=30) == 12
        left = store.get(JUDGE, keys(pairs))
        assert np.flatnonzero(np.isnan(left[:, 0])).tolist() == list(range(8, 20))
        assert cache_upkeep.prune(store, older_days=50) == 28
        assert [row["fingerprint"] for row in store.judges()] == [JUDGE]
        assert not np.isnan(store.get(JUDGE, keys(pairs[20:]))).any()
        assert store.stats()["texts"] == 7 + 20, "texts of no verdict are gone"
        store.put(JUDGE, pairs, verdicts(pairs))
        assert store.get(JUDGE, keys(pairs)).tobytes() == verdicts(pairs).tobytes()
