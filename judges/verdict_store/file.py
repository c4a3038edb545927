"""The file of a verdict store: SQLite in WAL mode; its schema, how it is created and opened, its errors.

    db = connect(store_file(folder))

A new file is completed under a temporary name and hard-linked to its place, so two processes that start at once share
one file. Commits are synchronous: they survive kill −9 and power loss. WAL needs shared memory, so the file must lie on
a local disk, not on NFS.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from qr_env.common.errors import StoreError

FILE_NAME = "verdicts.sqlite"
APPLICATION_ID = 0x51525653  # "QRVS" in the file's header identifies a verdict store
VERSION = 1
BUSY_SECONDS = 60.0  # how long a writer waits for another one's commit

# digest: BLAKE2b-128 of a text. probs: four little-endian float32 in the order of LEVELS, exactly as the judge
# returned them. made: Unix seconds. used: the last day it was looked up, in days since 1970. AUTOINCREMENT: an id is
# never reused, so "id > last seen" selects exactly the new rows. shops: digests of the judge's product texts, by row.
SCHEMA = f"""
CREATE TABLE judges (
    id INTEGER PRIMARY KEY AUTOINCREMENT, fingerprint TEXT NOT NULL UNIQUE,
    asked INTEGER NOT NULL DEFAULT 0, hits INTEGER NOT NULL DEFAULT 0);
CREATE TABLE texts (digest BLOB PRIMARY KEY CHECK (length(digest) = 16), text TEXT NOT NULL);
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, judge INTEGER NOT NULL,
    query BLOB NOT NULL, product BLOB NOT NULL, probs BLOB NOT NULL CHECK (length(probs) = 16),
    made INTEGER NOT NULL, used INTEGER NOT NULL, UNIQUE (judge, query, product));
CREATE TABLE shops (
    judge INTEGER NOT NULL, products_hash TEXT NOT NULL, digests BLOB NOT NULL, PRIMARY KEY (judge, products_hash));
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""


def store_file(path: str | Path) -> Path:
    """The store's file: `path` itself where it has a suffix or is a file, else `verdicts.sqlite` in that folder."""
    path = Path(path).expanduser()
    return path if path.is_file() or (path.suffix and not path.is_dir()) else path / FILE_NAME


def connect(file: Path, read_only: bool = False) -> sqlite3.Connection:
    """An open store, in autocommit mode; the file is created where there is none, unless `read_only`.

    Raises StoreError where the file is damaged, foreign, of another version, may not be written, or cannot be opened.
    """
    with store_errors(file):
        if not file.exists():
            if read_only:
                raise StoreError(
                    f"{file}: there is no verdict store; name the right `store`, or run with a judge first"
                )
            _create(file)
        writable = os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)
        if not writable and not read_only:
            # Raised here rather than after the first new verdict has been computed.
            raise StoreError(
                f"{file} or its folder may not be written: change the permissions, copy it, or choose another `store`"
            )
        db = _open(_uri(file, "rw") if writable else read_uri(file))
        try:
            _check(db, file)
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA query_only = {read_only:d}")
        except BaseException:
            db.close()
            raise
        return db


def _uri(file: Path, mode: str) -> str:
    return f"file:{quote(str(file.resolve()))}?mode={mode}"


def _open(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def read_uri(file: Path) -> str:
    """SQLite URI of a store that may not be written.

    WAL needs its side files, or a folder that can take them. Where there are none and the folder is read-only, no
    process can be changing the file, and it is opened as immutable.
    """
    uri = _uri(file, "ro")
    db = _open(uri)
    try:
        db.execute("SELECT * FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        if file.with_name(file.name + "-wal").exists():
            raise
        uri += "&immutable=1"
    finally:
        db.close()
    return uri


def _create(file: Path) -> None:
    """Create a complete empty store atomically; where another process was faster, its file stays."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}.{os.getpid()}")
        new.unlink(missing_ok=True)
        try:
            db = _open(_uri(new, "rwc"))
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(SCHEMA)
            db.close()
            file.hardlink_to(new)
        except FileExistsError:
            pass
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{file}: cannot be made ({error.strerror}); choose another `store`") from error


def _check(db: sqlite3.Connection, file: Path) -> None:
    """StoreError unless this is a store that this version reads."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    application, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if application != APPLICATION_ID:
        kind = f"SQLite file of something else, with tables {sorted(tables)[:5]}" if tables else "empty file"
        raise StoreError(f"{file}: not a verdict store but an {kind}; it was not changed, choose another `store`")
    if version != VERSION:
        raise StoreError(
            f"{file}: a verdict store of version {version}, this program reads {VERSION}; it was not changed: update "
            "qr-env, or choose another `store`"
        )


@contextmanager
def store_errors(file: Path) -> Iterator[None]:
    """Raise SQLite's errors as StoreError with advice. What was committed before stays committed."""
    advice = {
        sqlite3.SQLITE_FULL: "the disk is full; what was committed is safe: make room and run again",
        sqlite3.SQLITE_IOERR: "reading or writing failed; what was committed is safe: check the disk and run again",
        sqlite3.SQLITE_READONLY: "is read-only here: make it writable, copy it, or choose another `store`",
        sqlite3.SQLITE_CANTOPEN: "cannot be opened: check its permissions and those of its folder, or copy it with "
        "its -wal file to where you may write",
        sqlite3.SQLITE_BUSY: f"another process kept it locked for {BUSY_SECONDS:.0f} s: wait for it, or end it",
        sqlite3.SQLITE_NOTADB: "is no SQLite file; it was not changed, choose another `store`",
        sqlite3.SQLITE_CORRUPT: "is damaged; move it away and save what can be read: "
        f"sqlite3 {file} .recover | sqlite3 new.sqlite",
    }
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        raise StoreError(f"{file}: {advice.get(code, 'cannot be used')} ({error})") from error
