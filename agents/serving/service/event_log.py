"""A durable log of served queries and events, in the files of User Behavior Insights (`qr_env.traffic.ubi`).

    log = EventLog("events/", retention_days=30)       # inside a running event loop, or before it
    await log.record_events(events)                    # returns when they, and all before them, are on disk

A writer thread takes what has gathered while it wrote before, appends it to two files, calls fsync once, and tells who
waits (group commit). Queries of a batch are written before its events, so that an event on disk never lacks its query.

A folder belongs to one process at a time. A process begins files of its own; a last line that a killed process left
unfinished, which nobody was told is on disk, is cut off by the next one. Files are begun every day and at `MAX_BYTES`,
and deleted `retention_days` after their last line.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agents.serving.service.logs import log
from qr_env.common.errors import RunFolderError
from qr_env.traffic.ubi import EVENT_LINES, QUERIES, ServedQuery, ShopperEvent, event_line, query_line

MAX_BYTES = 64 << 20
MAX_WAITING = 20_000  # calls that wait for a disk that does not answer; further ones fail at once
DAY = 86_400
LOCK_FILE = ".lock"


@dataclass(frozen=True)
class _Write:
    """Lines to append."""

    kind: str
    """`QUERIES` or `EVENT_LINES`."""
    lines: bytes
    """With line breaks."""
    done: asyncio.Future[None]
    """Is set when they are on disk."""


class EventLog:
    """Implements `agents.serving.service.parts.Recorder`.

    Args:
        folder: is made where it is missing.
        retention_days: age at which files are deleted; 0 keeps them.

    Raises:
        RunFolderError: another process writes there, or nothing can be written.
    """

    def __init__(self, folder: str | Path, retention_days: float = 30.0) -> None:
        self.folder, self._retention = Path(folder), retention_days
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / LOCK_FILE).open("wb")
            _lock(self._lock)
            cut_unfinished_lines(self.folder)
            self._files = {kind: _Segment(self.folder, kind) for kind in (QUERIES, EVENT_LINES)}
        except BlockingIOError as error:
            raise RunFolderError(f"{folder} is written by another process: name another folder") from error
        except OSError as error:
            raise RunFolderError(f"{folder} cannot be written ({error}): name another folder") from error
        self._swept = 0.0
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="event log", daemon=True)
        self._thread.start()

    def record_queries(self, queries: Sequence[ServedQuery]) -> asyncio.Future[None]:
        """Append queries; the result is set when they are on disk, or to the OSError that prevented it."""
        return self._record(QUERIES, [query_line(one) for one in queries])

    def record_events(self, events: Sequence[ShopperEvent]) -> asyncio.Future[None]:
        """Append events; as `record_queries`."""
        return self._record(EVENT_LINES, [event_line(one) for one in events])

    def _record(self, kind: str, lines: list[str]) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_seen)
        if self._writes.qsize() >= MAX_WAITING:
            done.set_exception(OSError("the disk is too slow"))
        elif not self._thread.is_alive():
            done.set_exception(OSError("the log is closed"))
        else:
            self._writes.put(_Write(kind, "".join(line + "\n" for line in lines).encode("utf-8", "replace"), done))
        return done

    async def close(self) -> None:
        """Write what waits, and release the folder."""
        self._writes.put(None)
        await asyncio.to_thread(self._thread.join)
        for segment in self._files.values():
            segment.close()
        self._lock.close()

    def _run(self) -> None:
        open_ = True
        while open_:
            batch = [self._writes.get()]
            while not self._writes.empty():
                batch.append(self._writes.get())
            writes = [one for one in batch if one is not None]
            open_ = len(writes) == len(batch)
            if writes:
                self._commit(writes)

    def _commit(self, writes: Sequence[_Write]) -> None:
        error: OSError | None = None
        try:
            for kind in (QUERIES, EVENT_LINES):
                self._files[kind].append(b"".join(one.lines for one in writes if one.kind == kind))
            self._sweep()
        except OSError as raised:
            error = raised
            log("log", outcome="failed", error=type(raised).__name__)
        for loop in {one.done.get_loop() for one in writes}:
            mine = [one.done for one in writes if one.done.get_loop() is loop]
            if not loop.is_closed():
                loop.call_soon_threadsafe(_tell, mine, error)

    def _sweep(self) -> None:
        """Delete what is older than the retention, once an hour."""
        if not self._retention or (time.monotonic() - self._swept < 3600 and self._swept):
            return
        self._swept = time.monotonic()
        delete_old(self.folder, self._retention, {segment.path for segment in self._files.values()})


class _Segment:
    """The file that lines of one kind are appended to."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder, self._kind = folder, kind
        self._begin()

    def _begin(self) -> None:
        self._day, self._size, number = time.strftime("%Y%m%d", time.gmtime()), 0, 0
        while True:
            self.path = self._folder / f"{self._kind}.{self._day}-{number:04d}.ndjson"
            try:
                self._file: BinaryIO = self.path.open("xb", buffering=0)
                break
            except FileExistsError:
                number += 1
        _sync_folder(self._folder)

    def append(self, lines: bytes) -> None:
        """Write and sync; after an error the file ends where it ended before."""
        if not lines:
            return
        if self._size >= MAX_BYTES or time.strftime("%Y%m%d", time.gmtime()) != self._day:
            self._file.close()
            self._begin()
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self._size)
            self._file.seek(self._size)
            raise
        self._size += len(lines)

    def close(self) -> None:
        """Close the file; one without a line is deleted, unless the folder would hold no file of queries."""
        self._file.close()
        if not self._size and len(list(self._folder.glob(f"{self._kind}*.ndjson"))) > 1:
            self.path.unlink(missing_ok=True)


def cut_unfinished_lines(folder: Path) -> None:
    """Cut what follows the last line break of each file: lines that a killed process was still writing."""
    for path in segments(folder):
        with path.open("r+b") as file:
            content = file.read()
            end = content.rfind(b"\n") + 1
            if end != len(content):
                file.truncate(end)
                os.fsync(file.fileno())


def delete_old(folder: Path, days: float, besides: set[Path]) -> list[Path]:
    """Delete the files whose last line is older than so many days, but not `besides`; those that were deleted."""
    oldest = time.time() - days * DAY
    old = [path for path in segments(folder) if path not in besides and path.stat().st_mtime < oldest]
    for path in old:
        path.unlink()
    if old:
        log("retention", deleted=len(old))
    return old


def segments(folder: Path) -> list[Path]:
    """The files of a log, oldest first."""
    return sorted([*folder.glob(f"{QUERIES}.*.ndjson"), *folder.glob(f"{EVENT_LINES}.*.ndjson")])


def _lock(file: BinaryIO) -> None:
    """Lock a file until it is closed. Raises BlockingIOError, with the file closed, where another process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise


def _sync_folder(folder: Path) -> None:
    """Make the names of files in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tell(futures: Sequence[asyncio.Future[None]], error: OSError | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def _seen(future: asyncio.Future[None]) -> None:
    """Read the error of a write that nobody waits for; it has been logged."""
    if not future.cancelled():
        future.exception()
