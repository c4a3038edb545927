"""`qr bench table`: a table's file against LMDB with the same rows; settings: `runs/bench/args.py`.

Both hold the same entries, of the size that `qr table build` writes. Measured are building, size, opening (with the
comparison of all rows with their hash), and look-ups of random queries: cold, after the system was asked to drop the
file from its memory; warm; and warm in several processes at once. A look-up is the text key, the search and the entry
as an object; "raw" leaves out key and object.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from agents.serving.rewritten import rewritten
from agents.serving.table.entry import Judged, TableEntry
from agents.serving.table.sqlite_table import SqliteTable, TableWriter
from qr_env.common.packages import require
from qr_env.common.text_keys import text_key
from runs.bench.args import TableBenchArgs
from runs.bench.output import publish

WARM_UP = 1_000  # look-ups before the warm ones are timed
PART = 5_000  # entries a transaction
LookUp = Callable[[str], object]


def main(args: TableBenchArgs) -> None:
    """Build both, time both, print, write."""
    require("lmdb", what="the comparison with LMDB")
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        sizes = {f"{count:,} entries": measured(args, Path(name), count) for count in args.entries}
    lines = [
        f"{size}: {store}: " + "  ".join(f"{name} {value:,.1f}" for name, value in figures.items())
        for size, stores in sizes.items()
        for store, figures in stores.items()
    ]
    asked = {"lookups": args.lookups, "readers": args.readers}
    publish({"ratios": {}, "tables": sizes, "sizes": asked}, lines, args.json)


def measured(args: TableBenchArgs, folder: Path, count: int) -> dict[str, dict[str, float]]:
    """Store → figure → value; times of look-ups in microseconds."""
    sqlite, lmdb = folder / f"{count}.db", folder / f"{count}.lmdb"
    figures = {"SQLite": {"build s": timed(build_sqlite, sqlite, count)}}
    figures["LMDB"] = {"build s": timed(build_lmdb, lmdb, sqlite)}
    os.sync()
    for store, path in (("SQLite", sqlite), ("LMDB", lmdb)):
        found = figures[store]
        found["MB"] = path.stat().st_size / 2**20
        if store == "SQLite":
            found["open and verify s"] = timed(open_and_close, path)
        drop_from_memory(path)
        found |= named("cold", look_ups(store, path, count, args.lookups, False))
        found |= named("warm", look_ups(store, path, count, args.lookups, True))
        jobs = [(store, path, count, args.lookups, True, seed) for seed in range(args.readers)]
        with multiprocessing.get_context("spawn").Pool(args.readers) as pool:
            found |= named(f"{args.readers} processes", np.concatenate(pool.starmap(look_ups, jobs)))
        found |= named("raw", look_ups(store, path, count, args.lookups, True, raw=True))
    return figures


def timed(action: Callable[..., object], *arguments: object) -> float:
    """Seconds."""
    started = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - started


def query_of(number: int) -> str:
    """A query that is like others at its beginning."""
    return f"{('red', 'blue', 'navy')[number % 3]} sofa bed {number * 7919 % 9_999_991}"


def entry_of(number: int) -> TableEntry:
    """An entry of ordinary size."""
    ids = tuple(f"P{(number * 31 + rank * 977) % 99_991:06d}" for rank in range(20))
    row = rewritten(query_of(number), "sofa couch^0.4 settee^0.3 sleeper^0.25", model="tiny@0123456789ab")
    return TableEntry(row, True, "judged +0.100 [-0.050 +0.250]", Judged(ids[:10], ids[10:], 0.4, 0.5, -0.05, 0.25))


def build_sqlite(path: Path, count: int) -> None:
    """As `qr table build` does, with its transactions and the final hash."""
    with TableWriter(path, {"entries": count}) as writer:
        for start in tqdm(range(0, count, PART), desc=f"SQLite {count:,}", unit=f"{PART} entries"):
            writer.add(map(entry_of, range(start, min(start + PART, count))))
        writer.publish()


def build_lmdb(path: Path, source: Path) -> None:
    """The same rows, appended in the order of their keys."""
    import lmdb  # noqa: PLC0415, for this comparison only

    table = SqliteTable.open(source, verify=False)
    space = 2 * source.stat().st_size + (16 << 20)
    with lmdb.open(str(path), subdir=False, lock=False, map_size=space) as store, store.begin(write=True) as writing:
        for key, text in table.rows():
            writing.put(key.encode(), text.encode(), append=True)
    table.close()


def open_and_close(path: Path) -> None:
    """Open with verification."""
    SqliteTable.open(path).close()


def drop_from_memory(path: Path) -> None:
    """Ask the system to forget the file's pages."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def look_ups(
    store: str, path: Path, count: int, lookups: int, warm: bool, seed: int = 0, raw: bool = False
) -> np.ndarray:
    """Seconds of each look-up of a random query, (N,)."""
    rng = np.random.default_rng(seed)
    opened = (sqlite_reader if store == "SQLite" else lmdb_reader)(path, raw)
    look_up = next(opened)
    for number in rng.integers(0, count, WARM_UP if warm else 0).tolist():
        look_up(query_of(number))
    seconds = np.empty(lookups)
    for at, number in enumerate(rng.integers(0, count, lookups).tolist()):
        query = query_of(number)
        started = time.perf_counter()
        look_up(query)
        seconds[at] = time.perf_counter() - started
    opened.close()
    return seconds


def sqlite_reader(path: Path, raw: bool) -> Generator[LookUp, None, None]:
    """A table's look-up."""
    table = SqliteTable.open(path, verify=False)
    yield table.stored if raw else _Listed(table)
    table.close()


def lmdb_reader(path: Path, raw: bool) -> Generator[LookUp, None, None]:
    """The same from LMDB."""
    import lmdb  # noqa: PLC0415, for this comparison only

    with lmdb.open(str(path), subdir=False, lock=False, readonly=True) as store, store.begin() as reading:
        yield _Encoded(reading.get) if raw else _Parsed(reading.get)


class _Listed:
    def __init__(self, table: SqliteTable) -> None:
        self.table = table

    def __call__(self, query: str) -> object:
        return self.table.look_up([query])


class _Encoded:
    def __init__(self, get: Callable[..., bytes]) -> None:
        self.get = get

    def __call__(self, query: str) -> object:
        return self.get(query.encode())


class _Parsed(_Encoded):
    def __call__(self, query: str) -> object:
        return TableEntry.from_text(self.get(text_key(query).encode()))


def named(kind: str, seconds_N: np.ndarray) -> dict[str, float]:
    """Median and 99th percentile in microseconds."""
    return {f"{kind} p{part} µs": float(np.percentile(seconds_N, part) * 1e6) for part in (50, 99)}
