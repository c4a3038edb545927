"""Texts that language models wrote, kept so that none is paid for twice: one SQLite file, shared by processes.

    store = TextStore("cache/texts.sqlite")
    key = text_key(model="smollm2-135m", prompt="3f9c…", settings={"max_new_tokens": 32, "temperature": 0})
    store.put(key, {"couch": "sofa"})
    store.get(key, ["couch", "settee"])            # {"couch": "sofa"}

What is kept is the raw text: how it is read may change without asking again. WAL mode with synchronous commits: a
process that is killed loses only what it had not put; several may read and write at once, on a local disk (not NFS).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qr_env.common.errors import StoreError
from qr_env.common.hashing import sha256_text

FILE_NAME = "texts.sqlite"
BUSY_SECONDS = 60.0  # how long a writer waits for another one's commit
CHUNK = 500  # queries a SELECT: below SQLite's oldest limit of 999 variables
SCHEMA = "CREATE TABLE IF NOT EXISTS texts (key TEXT, query TEXT, text TEXT NOT NULL, PRIMARY KEY (key, query))"


def text_key(model: str, prompt: str, settings: Mapping[str, Any]) -> str:
    """Name of everything but the query that a text depends on. prompt: hash of the prompt as it is, examples too."""
    facts = json.dumps([model, prompt, dict(settings)], sort_keys=True)
    return f"{model}|{sha256_text(facts, 24)}"


class TextStore:
    """One file of texts, by key and query; a forked child opens it for itself.

    path: the file, or a folder, in which it is called `texts.sqlite`. Raises StoreError, here and in every method.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path).expanduser()
        self.path = path if path.suffix else path / FILE_NAME
        self._connections: list[sqlite3.Connection] = []  # a parent's must not even be closed in its child
        self._open()

    def get(self, key: str, queries: Sequence[str]) -> dict[str, str]:
        """Query → text of those that are known."""
        found: dict[str, str] = {}
        distinct = list(dict.fromkeys(queries))
        with self._named_errors():
            for start in range(0, len(distinct), CHUNK):
                part = distinct[start : start + CHUNK]
                marks = ",".join("?" * len(part))
                rows = self._db.execute(
                    f"SELECT query, text FROM texts WHERE key = ? AND query IN ({marks})", (key, *part)
                )
                found.update(rows.fetchall())
        return found

    def put(self, key: str, texts: Mapping[str, str]) -> None:
        """Keep texts by query, all or none of them; where another process was faster, its text stays."""
        rows = [(key, query, text) for query, text in texts.items()]
        with self._named_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?, ?)", rows)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of the file; the next question opens it again."""
        if self._connections and self._pid == os.getpid():
            self._connections.pop().close()

    @property
    def _db(self) -> sqlite3.Connection:
        if self._pid != os.getpid() or not self._connections:
            self._open()
        return self._connections[-1]

    def _open(self) -> None:
        self._pid = os.getpid()
        with self._named_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            self._connections.append(db)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(SCHEMA)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"{self.path}: texts cannot be kept here ({error}); what was committed is safe: make room, wait for "
                "the process that holds it, or name another --store"
            ) from error
