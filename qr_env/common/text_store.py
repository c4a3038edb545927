"""Store of texts by key and query, so that none is generated or computed twice: one SQLite file, shared by processes.

    store = TextStore("cache/texts.sqlite")
    key = text_key(model="smollm2-135m", prompt="3f9c…", settings={"max_new_tokens": 32, "temperature": 0})
    store.put(key, {"couch": "sofa"})
    store.get(key, ["couch", "settee"])            # {"couch": "sofa"}

The raw texts are stored, so that parsing may change without generating again. WAL mode with synchronous commits: a
killed process loses only what it has not put; several processes may read and write at once, on a local disk (not NFS).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from qr_env.common.errors import StoreError
from qr_env.common.hashing import sha256_text

FILE_NAME = "texts.sqlite"
BUSY_SECONDS = 60.0  # how long a process waits for the commit of another
CHUNK = 500  # queries a SELECT; SQLite versions before 3.32 allow at most 999 variables
SCHEMA = "CREATE TABLE IF NOT EXISTS texts (key TEXT, query TEXT, text TEXT NOT NULL, PRIMARY KEY (key, query))"


def text_key(model: str, prompt: str, settings: Mapping[str, object]) -> str:
    """Key of everything but the query that a text depends on. prompt: hash of the prompt, its examples included."""
    facts = json.dumps([model, prompt, dict(settings)], sort_keys=True)
    return f"{model}|{sha256_text(facts, 24)}"


class TextStore:
    """One file of texts by key and query. A forked child process opens its own connection.

    Args:
        path: the file, or its folder, in which it is called `texts.sqlite`.

    Every method, the constructor included, raises StoreError if the file is unusable.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path).expanduser()
        self.path = path if path.suffix else path / FILE_NAME
        self._connections: list[sqlite3.Connection] = []  # a child process must not use or close its parent's
        self._open()

    def get(self, key: str, queries: Sequence[str]) -> dict[str, str]:
        """Query → stored text; queries without one are left out."""
        found: dict[str, str] = {}
        distinct = list(dict.fromkeys(queries))
        with self._named_errors():
            for start in range(0, len(distinct), CHUNK):
                part = distinct[start : start + CHUNK]
                placeholders = ",".join("?" * len(part))
                rows = self._db.execute(
                    f"SELECT query, text FROM texts WHERE key = ? AND query IN ({placeholders})", (key, *part)
                )
                found.update(rows.fetchall())
        return found

    def put(self, key: str, texts: Mapping[str, str]) -> None:
        """Store texts by query in one transaction; a text that another process has stored meanwhile stays."""
        rows = [(key, query, text) for query, text in texts.items()]
        with self._named_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?, ?)", rows)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def count(self, key: str) -> int:
        """Number of texts of a key."""
        with self._named_errors():
            return int(self._db.execute("SELECT count(*) FROM texts WHERE key = ?", (key,)).fetchone()[0])

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        if self._connections and self._pid == os.getpid():
            self._connections.pop().close()

    def __del__(self) -> None:
        # As the garbage collector would, but explicitly: from Python 3.13 on it warns of connections left open.
        if getattr(self, "_connections", None):
            self.close()

    @property
    def _db(self) -> sqlite3.Connection:
        if self._pid != os.getpid() or not self._connections:
            self._open()
        return self._connections[-1]

    def _open(self) -> None:
        self._pid = os.getpid()
        with self._named_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
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
                f"{self.path}: cannot store texts here ({error}); committed texts are safe: free disk space, wait for "
                "the process that holds the file, or name another `store`"
            ) from error
