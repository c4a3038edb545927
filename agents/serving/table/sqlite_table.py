"""A table in one SQLite file, and its builder, which can be killed at any moment and goes on where it was.

    with TableWriter(Path("rewrites.db"), plan) as writer:      # works in .rewrites.db.part
        writer.add(entries); …
        facts = writer.publish()                                # one rename: readers see the old table or the new one
    table = SqliteTable.open(Path("rewrites.db"))

Rows are committed in batches. A build that is started again with the same plan continues; one with another plan starts
anew. The version is a SHA-256 of all rows in the order of their keys, so that it does not depend on how often a build
was interrupted; it is checked when a table is opened. A reader keeps the file that it opened, whatever replaces it. The
table before stays beside the new one as NAME.previous. SQLite instead of LMDB: runs/results/table.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from agents.serving.table.entry import TableEntry, TableFacts
from qr_env.common.atomic_io import saving
from qr_env.common.errors import ConfigError, DataError, RunFolderError
from qr_env.common.hashing import sha256_text
from qr_env.common.text_keys import text_key
from qr_env.common.types import JsonDict

FORMAT = "qr-env rewrites 2"
MAPPED = (1 << 31) - (1 << 16)  # bytes of a file that are read as memory, SQLite's most: a system call a page is slower
CREATE = (
    "CREATE TABLE IF NOT EXISTS rewrites (key TEXT PRIMARY KEY, entry TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)


class SqliteTable:
    """A published table; `open` reads one."""

    def __init__(self, path: Path, connection: sqlite3.Connection, facts: TableFacts) -> None:
        self.path, self.facts = path, facts
        self._connection, self._lock = connection, threading.Lock()

    @classmethod
    def open(cls, path: Path, verify: bool = True) -> SqliteTable:
        """Open a table.

        Args:
            verify: compare the hash of its rows with the one that was written.

        Raises:
            ConfigError: no such file. DataError: it is no table, is not complete, or is damaged.
        """
        if not path.is_file():
            raise ConfigError(f"table={str(path)!r}: no such file; qr table build writes one")
        try:
            connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
            )
            connection.execute(f"PRAGMA mmap_size={MAPPED}")
            about = dict(connection.execute("SELECT name, value FROM about"))
            if about.get("format") != FORMAT or "seal" not in about:
                raise DataError(f"{path} is no finished table of {FORMAT!r}; build it again with qr table build")
            if about.pop("seal") != seal_of(about):
                raise DataError(
                    f"{path} is damaged: its description is not what was written; take {path.name}.previous, or build "
                    "it again with qr table build"
                )
            facts = TableFacts(about["version"], int(about["rows"]), json.loads(about["plan"]), about["built"])
            table = cls(path, connection, facts)
            if verify and (version := hash_of(table.rows())) != facts.version:
                connection.close()
                raise DataError(
                    f"{path} is damaged: its rows have the hash {version[:12]}, and {facts.version[:12]} was written; "
                    f"take {path.name}.previous, or build it again with qr table build"
                )
        except (sqlite3.Error, ValueError, KeyError) as error:
            raise DataError(
                f"{path} cannot be read as a table ({error}); build it again with qr table build"
            ) from error
        return table

    @property
    def version(self) -> str:
        """Hash of all rows."""
        return self.facts.version

    def look_up(self, queries: Sequence[str]) -> list[TableEntry | None]:
        """The entry of each query, by its text key; None where there is none."""
        found = (self.stored(text_key(query)) for query in queries)
        return [None if text is None else TableEntry.from_text(text) for text in found]

    def stored(self, key: str) -> str | None:
        """The entry of a text key, as it is stored."""
        with self._lock:
            row = self._connection.execute("SELECT entry FROM rewrites WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def rows(self) -> Iterator[tuple[str, str]]:
        """(key, entry as text) in the order of the keys."""
        yield from self._connection.execute("SELECT key, entry FROM rewrites ORDER BY key")

    def entries(self) -> Iterator[TableEntry]:
        """All entries in the order of their keys."""
        for _, text in self.rows():
            yield TableEntry.from_text(text)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class TableWriter:
    """Builds `path`; see the module docstring. Use it as a context manager.

    Args:
        path: file of the table.
        plan: what it is built from, JSON values; a build with another plan starts anew.
    """

    def __init__(self, path: Path, plan: JsonDict) -> None:
        self.path, self.plan = path, plan
        self.part = path.with_name(f".{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = self._opened()

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def _opened(self) -> sqlite3.Connection:
        written = json.dumps(self.plan, sort_keys=True)
        with self._writing():
            connection = sqlite3.connect(self.part, timeout=1.0)
            try:
                connection.execute("PRAGMA locking_mode=EXCLUSIVE")
                with connection:  # takes the lock, which is held until the end of the build
                    for statement in CREATE:
                        connection.execute(statement)
                    row = connection.execute("SELECT value FROM about WHERE name = 'plan'").fetchone()
                    same = row is None or row[0] == written
                    if same:
                        connection.execute("INSERT OR REPLACE INTO about VALUES ('plan', ?)", (written,))
            except sqlite3.OperationalError:
                connection.close()
                raise
            except sqlite3.DatabaseError:  # no database: what another program left
                same = False
            if same:
                return connection
            connection.close()
            self._delete_part()
            return self._opened()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what the disk or another build refuses into a named error."""
        try:
            with saving(self.path):
                yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                raise RunFolderError(f"{self.path} is being built by another process: wait for it") from error
            raise RunFolderError(
                f"{self.path} could not be written ({error}); the table before is intact: free disk space, or repair "
                "the disk, and repeat the command: the build goes on"
            ) from error

    def _delete_part(self) -> None:
        """With its journal, which SQLite would otherwise apply to a file of the same name."""
        for suffix in ("", "-journal", "-wal", "-shm"):
            self.part.with_name(self.part.name + suffix).unlink(missing_ok=True)

    def done(self) -> Collection[str]:
        """Keys of the rows that an interrupted build has written."""
        return {key for (key,) in self._connection.execute("SELECT key FROM rewrites")}

    def add(self, entries: Iterable[TableEntry]) -> None:
        """Write rows, in one transaction; a query that is there already is replaced."""
        rows = [(text_key(entry.rewritten.query), entry.as_text()) for entry in entries]
        with self._writing(), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO rewrites VALUES (?, ?)", rows)

    def entries(self) -> Iterator[TableEntry]:
        """The rows so far, in the order of their keys."""
        for (text,) in self._connection.execute("SELECT entry FROM rewrites ORDER BY key"):
            yield TableEntry.from_text(text)

    def publish(self) -> TableFacts:
        """Finish the table, and put it into the place of the old one by one rename, once its bytes are on the disk."""
        version = hash_of(self._connection.execute("SELECT key, entry FROM rewrites ORDER BY key"))
        (rows,) = self._connection.execute("SELECT COUNT(*) FROM rewrites").fetchone()
        built = datetime.now(UTC).isoformat(timespec="seconds")
        about = {"format": FORMAT, "version": version, "rows": str(rows), "built": built}
        about["seal"] = seal_of(about | {"plan": json.dumps(self.plan, sort_keys=True)})
        with self._writing():
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", about.items())
            self._connection.close()
            _sync(self.part)
            self._keep_previous()
            self.part.replace(self.path)
            _sync(self.path.parent)
        return TableFacts(version, rows, self.plan, built)

    def _keep_previous(self) -> None:
        """Give the old file a second name by a link, so that its own name is there at every moment."""
        previous, link = (self.path.with_name(f"{dot}{self.path.name}.previous") for dot in ("", "."))
        link.unlink(missing_ok=True)
        with suppress(OSError):  # there is no old file, or the file system has no links
            os.link(self.path, link)
            link.replace(previous)


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def seal_of(about: Mapping[str, str]) -> str:
    """SHA-256 of a table's description, without its seal."""
    return sha256_text(json.dumps({name: value for name, value in about.items() if name != "seal"}, sort_keys=True))


def hash_of(rows: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of (key, entry) rows in the order of the keys."""
    digest = hashlib.sha256()
    for key, text in rows:
        digest.update(key.encode("utf-8", "surrogatepass") + b"\0" + text.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
