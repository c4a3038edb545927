"""The verdict store: every verdict is computed once and kept for all later runs.

    with VerdictStore(folder) as store:                                   # folder/verdicts.sqlite, created if missing
        keys_M2 = pair_keys(digests(queries), digests(products))
        probs_M4 = store.get(judge.fingerprint, keys_M2)                  # NaN where unknown
        probs_M4 = store.put(judge.fingerprint, pairs, probs_M4)          # the stored ones: the first verdict of a pair
    qr judge store --stats                                                # and --export, --merge, --prune

Content-addressed: the key of a verdict is the judge's fingerprint (judge, model revision, prompt version, options), the
query text and the product text as the judge reads it, to the byte. The texts are stored too, so that a verdict can be
audited and exported without the shop. Look-ups are vectorised on an index in memory (48 bytes a verdict of the judges
in use), which is updated with what other processes commit. Several processes may write; a commit survives kill −9.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from judges.verdict_store.file import connect, store_errors, store_file
from judges.verdict_store.index import DAY, ROW, Digests, Index, digest, pair_keys
from qr_env.common.errors import StoreError
from qr_env.common.types import LEVELS, FloatArray

FLUSH_SECONDS = 60.0  # interval at which usage counts are written to the file when no verdict is written
LOAD_ROWS = 100_000  # rows read from the file at a time
_OPEN: WeakSet[VerdictStore] = WeakSet()  # open stores of this process


class VerdictStore:
    """One file of verdicts. Threads of a process may share it; a forked child reopens it by itself.

    Args:
        path: a folder, in which `verdicts.sqlite` is kept, or the file itself, named by its suffix.
        read_only: never write; the file must be there.

    Raises StoreError, here and in every method; what was committed is never lost by it.
    """

    def __init__(self, path: str | Path, read_only: bool = False) -> None:
        self.path = store_file(path)
        self.read_only = read_only
        self._lock = RLock()
        self._connections: list[sqlite3.Connection] = []  # a forked child must not close its parent's connection
        self._reopen()
        _OPEN.add(self)

    def _reopen(self) -> None:
        self._pid = os.getpid()
        self._connections.append(connect(self.path, self.read_only))
        self._indexes: dict[str, Index] = {}
        self._writes = 0
        self._flushed = time.monotonic()
        self._total = {"asked": 0, "hits": 0}

    def __reduce__(self) -> tuple[type[VerdictStore], tuple[Path, bool]]:
        return VerdictStore, (self.path, self.read_only)

    def __enter__(self) -> VerdictStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the usage counts and close the file. Called at the end of the process if not before."""
        with self._lock:
            if self._connections and self._pid == os.getpid():
                self._flush()
                self._connections.pop().close()

    def __del__(self) -> None:
        # As the garbage collector would, but explicitly: from Python 3.13 on it warns of connections left open.
        if getattr(self, "_pid", None) == os.getpid():
            while self._connections:
                self._connections.pop().close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, locked against other threads."""
        with self._lock, store_errors(self.path):
            if self._pid != os.getpid():
                self._reopen()
            if not self._connections:
                raise StoreError(f"{self.path}: this store was closed; open it again with VerdictStore(path)")
            yield self._connections[-1]

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, committed at the end, rolled back on any exception."""
        if self.read_only:
            raise StoreError(f"{self.path} was opened read-only: open it without, or copy it")
        with self.reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                self._write_usage(db)  # after the body: a judge's first verdicts create its row
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            self._reset_usage()
            self._writes += 1

    def get(self, fingerprint: str, keys_M2: Digests) -> FloatArray:
        """Verdicts of M pairs, (M, 4) float32, NaN where there is none; `keys_M2` from `index.pair_keys`."""
        with self.reading() as db:
            index = self._index(db, fingerprint)
            if time.monotonic() - self._flushed > FLUSH_SECONDS:
                self._flush()
            return index.find(keys_M2)

    def put(self, fingerprint: str, pairs: Sequence[tuple[str, str]], probs_M4: FloatArray) -> FloatArray:
        """Store verdicts of M (query text, product text) pairs, in one commit; missing ones (NaN) are not stored.

        Returns (M, 4): what the store now holds. Where another process was faster, that is its verdict: the first
        one stays, so a run that continues with it can be replayed.
        """
        probs_M4 = np.array(probs_M4, "<f4")
        known = np.flatnonzero(~np.isnan(probs_M4).any(axis=1)).tolist()
        if not known:
            return probs_M4
        texts = {text: digest(text) for m in known for text in pairs[m]}
        keys = [(texts[pairs[m][0]], texts[pairs[m][1]]) for m in known]
        now = int(time.time())
        with self.writing() as db:
            judge = _judge_id(db, fingerprint)
            # SQLite refuses lone surrogates; the digests of such texts still differ.
            readable = [(key, text.encode("utf-8", "replace").decode()) for text, key in texts.items()]
            db.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?)", readable)
            rows = [(judge, *key, probs_M4[m].tobytes(), now, now // DAY) for key, m in zip(keys, known, strict=True)]
            insert = "INSERT OR IGNORE INTO verdicts (judge, query, product, probs, made, used) VALUES (?,?,?,?,?,?)"
            if db.executemany(insert, rows).rowcount < len(rows):
                select = "SELECT probs FROM verdicts WHERE judge = ? AND query = ? AND product = ?"
                kept = b"".join(db.execute(select, row[:3]).fetchone()[0] for row in rows)
                probs_M4[known] = np.frombuffer(kept, "<f4").reshape(-1, len(LEVELS))
        return probs_M4

    def drop_index(self) -> None:
        """Drop the index in memory, so that verdicts pruned from the file are no longer found."""
        with self._lock:
            self._flush()
            self._indexes.clear()

    def _index(self, db: sqlite3.Connection, fingerprint: str) -> Index:
        """The judge's index, updated with all commits of this and other processes."""
        index = self._indexes.setdefault(fingerprint, Index())
        version = (db.execute("PRAGMA data_version").fetchone()[0], self._writes)
        if index.version != version:
            # The + keeps SQLite from using the index by judge: new rows are at the end of the table.
            select = "SELECT id, query, product, probs, used FROM verdicts WHERE id > ? AND +judge = ? ORDER BY id"
            judge = db.execute("SELECT id FROM judges WHERE fingerprint = ?", (fingerprint,)).fetchone()
            cursor = db.execute(select, (index.last_id, judge[0])) if judge else None
            while cursor is not None and (found := cursor.fetchmany(LOAD_ROWS)):
                index.add(*self._decode(found))
            index.version = version
        return index

    def _decode(self, found: list[tuple[int, bytes, bytes, bytes, int]]) -> tuple[Digests, npt.NDArray[Any]]:
        """Keys (M, 2) and index rows (M,) of rows of the file."""
        ids, queries, products, probs, used = zip(*found, strict=True)
        rows = np.zeros(len(found), ROW)
        try:
            halves = [np.frombuffer(b"".join(part), "<u8").reshape(len(found), 2) for part in (queries, products)]
            rows["probs"] = np.frombuffer(b"".join(probs), "<f4").reshape(len(found), len(LEVELS))
        except ValueError as error:
            raise StoreError(
                f"{self.path}: verdicts {ids[0]} … {ids[-1]} are damaged ({error}); move it away"
            ) from error
        keys_M2 = pair_keys(*halves)
        rows["low"], rows["id"], rows["used"] = keys_M2[:, 1], ids, used
        return keys_M2, rows

    def _flush(self) -> None:
        """Write the usage counts. A full disk or a lock does not stop the run: it is tried again later."""
        self._flushed = time.monotonic()
        if not self.read_only and any(index.asked for index in self._indexes.values()):
            with suppress(StoreError), self.writing():
                pass

    def _write_usage(self, db: sqlite3.Connection) -> None:
        for fingerprint, index in self._indexes.items():
            use = (index.asked, index.hits, fingerprint)
            db.execute("UPDATE judges SET asked = asked + ?, hits = hits + ? WHERE fingerprint = ?", use)
            touched = np.concatenate([np.zeros(0, np.int64), *index.touched]).tolist()
            day = int(time.time()) // DAY
            db.executemany("UPDATE verdicts SET used = ? WHERE id = ?", ((day, row) for row in touched))

    def _reset_usage(self) -> None:
        for index in self._indexes.values():
            self._total["asked"] += index.asked
            self._total["hits"] += index.hits
            index.asked = index.hits = 0
            index.touched.clear()

    def save_shop_digests(self, fingerprint: str, products_hash: str, digests_C2: Digests) -> None:
        """Store digests of the judge's product texts of a shop: a replay needs them in place of the judge."""
        blob = digests_C2.astype("<u8").tobytes()
        if self.read_only or self._shop_blob(fingerprint, products_hash) == blob:
            return
        with self.writing() as db:
            row = (_judge_id(db, fingerprint), products_hash, blob)
            db.execute("INSERT OR REPLACE INTO shops VALUES (?, ?, ?)", row)

    def shop_digests(self, fingerprint: str, products_hash: str) -> Digests | None:
        """(C, 2) digests of the judge's texts of that catalogue's products; None where the judge never graded it."""
        blob = self._shop_blob(fingerprint, products_hash)
        return None if blob is None else np.frombuffer(blob, "<u8").reshape(-1, 2)

    def _shop_blob(self, fingerprint: str, products_hash: str) -> bytes | None:
        select = """SELECT digests FROM shops JOIN judges ON judges.id = shops.judge
                    WHERE fingerprint = ? AND products_hash = ?"""
        with self.reading() as db:
            row = db.execute(select, (fingerprint, products_hash)).fetchone()
        return row[0] if row else None

    def judges(self) -> list[dict[str, Any]]:
        """Each judge: fingerprint, verdicts, first and last (Unix seconds), asked, hits, shops (products hashes)."""
        select = """SELECT fingerprint, asked, hits, count(verdicts.id), min(made), max(made) FROM judges
                    LEFT JOIN verdicts ON verdicts.judge = judges.id GROUP BY judges.id ORDER BY judges.id"""
        shops = "SELECT products_hash FROM shops JOIN judges ON judges.id = judge WHERE fingerprint = ?"
        names = ("fingerprint", "asked", "hits", "verdicts", "first", "last")
        with self.reading() as db:
            found = [dict(zip(names, row, strict=True)) for row in db.execute(select)]
            return [row | {"shops": [s for (s,) in db.execute(shops, (row["fingerprint"],))]} for row in found]

    def stats(self) -> dict[str, float]:
        """Size of the file, and look-ups since it was opened: verdicts, texts, bytes, asked, hits, hit_rate."""
        with self.reading() as db:
            counts = {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("verdicts", "texts")}
            asked, hits = (
                self._total[name] + sum(getattr(index, name) for index in self._indexes.values())
                for name in ("asked", "hits")
            )
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        size = sum(file.stat().st_size for file in files if file.exists())
        return {**counts, "bytes": size, "asked": asked, "hits": hits, "hit_rate": hits / asked if asked else np.nan}


@atexit.register
def _close_all() -> None:
    for store in tuple(_OPEN):
        store.close()


def _judge_id(db: sqlite3.Connection, fingerprint: str) -> int:
    """Id of the judge in this file; a new judge is inserted."""
    db.execute("INSERT OR IGNORE INTO judges (fingerprint) VALUES (?)", (fingerprint,))
    return int(db.execute("SELECT id FROM judges WHERE fingerprint = ?", (fingerprint,)).fetchone()[0])
