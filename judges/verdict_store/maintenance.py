"""Maintenance of verdict stores: export for audit and training, merge stores of several machines, prune, check.

qr judge store --export verdicts.parquet | --merge other.sqlite | --prune --unused 90 | --stats
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from judges.verdict_store.file import read_uri, store_errors, store_file
from judges.verdict_store.index import DAY
from judges.verdict_store.store import VerdictStore
from qr_env.common.errors import ConfigError, StoreError
from qr_env.common.types import LEVELS

BATCH = 50_000  # rows exported or merged at a time; other writers wait for one batch at most
# One line a verdict, with the texts that the judge read; `made` in Unix seconds.
EXPORT_SCHEMA = pa.schema(
    [("fingerprint", pa.string()), ("query", pa.string()), ("product", pa.string())]
    + [(level.lower(), pa.float32()) for level in LEVELS]
    + [("made", pa.int64())]
)


def export(store: VerdictStore, file: Path, fingerprint: str | None = None) -> int:
    """Write the verdicts with their texts to FILE.parquet or FILE.jsonl, oldest first. Returns their number.

    A progress bar on standard error counts them.
    """
    if file.suffix not in (".parquet", ".jsonl"):
        raise ConfigError(f"export={str(file)!r}: the name must end in .parquet or .jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.{os.getpid()}")
    write = _write_parquet if file.suffix == ".parquet" else _write_jsonl
    try:
        count = write(new, _batches(store, fingerprint))
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)
    return count


def _batches(store: VerdictStore, fingerprint: str | None) -> Iterator[pa.RecordBatch]:
    select = """SELECT fingerprint, q.text, p.text, probs, made FROM verdicts JOIN judges ON judges.id = judge
                LEFT JOIN texts q ON q.digest = query LEFT JOIN texts p ON p.digest = product
                WHERE ? IN (fingerprint, '') ORDER BY verdicts.id"""
    count = "SELECT count(*) FROM verdicts JOIN judges ON judges.id = judge WHERE ? IN (fingerprint, '')"
    chosen = (fingerprint or "",)
    with store.reading() as db:
        total = db.execute(count, chosen).fetchone()[0]
        cursor = db.execute(select, chosen)
        with tqdm(total=total, desc="export", unit=" verdicts", unit_scale=True) as bar:
            while rows := cursor.fetchmany(BATCH):
                names, queries, products, probs, made = zip(*rows, strict=True)
                probs_4M = np.frombuffer(b"".join(probs), "<f4").reshape(-1, len(LEVELS)).T
                columns = [names, queries, products, *probs_4M, made]
                arrays = [pa.array(column, field.type) for column, field in zip(columns, EXPORT_SCHEMA, strict=True)]
                yield pa.record_batch(arrays, schema=EXPORT_SCHEMA)
                bar.update(len(rows))


def _write_parquet(file: Path, batches: Iterator[pa.RecordBatch]) -> int:
    count = 0
    with pq.ParquetWriter(file, EXPORT_SCHEMA, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            count += len(batch)
    return count


def _write_jsonl(file: Path, batches: Iterator[pa.RecordBatch]) -> int:
    count = 0
    with file.open("w", encoding="utf-8") as lines:
        for batch in batches:
            lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())
            count += len(batch)
    return count


def merge(store: VerdictStore, other: Path) -> dict[str, int]:
    """Copy another store's verdicts into this one, batch by batch; after an interruption, merge again.

    A progress bar on standard error counts them.

    Returns counts: added; same: already stored with this verdict; conflicts: stored with another one, which is kept.
    Raises StoreError or ConfigError where `other` is no store, or this one.
    """
    other = store_file(other)
    if other.exists() and other.samefile(store.path):
        raise ConfigError(f"merge={str(other)!r}: that is the store itself; name another one")
    VerdictStore(other, read_only=True).close()  # raises before anything is written if it is no store
    counts = {"added": 0, "same": 0, "conflicts": 0}
    with store.reading() as db, store_errors(other):
        db.execute("ATTACH ? AS other", (read_uri(other),))
        try:
            last = db.execute("SELECT coalesce(max(id), 0) FROM other.verdicts").fetchone()[0]
            total = db.execute("SELECT count(*) FROM other.verdicts").fetchone()[0]
            with tqdm(total=total, desc=f"merge {other.name}", unit=" verdicts", unit_scale=True) as bar:
                for start in range(0, last + 1, BATCH):
                    found = _merge_batch(store, (start, start + BATCH - 1))
                    counts = {name: count + found[name] for name, count in counts.items()}
                    bar.update(sum(found.values()))
        finally:
            db.execute("DETACH other")
    return counts


def _merge_batch(store: VerdictStore, ids: tuple[int, int]) -> dict[str, int]:
    """Copy the other store's verdicts with ids from … to, both included, with their texts, judges and shops."""
    theirs = """other.verdicts o JOIN other.judges oj ON oj.id = o.judge
                JOIN main.judges j ON j.fingerprint = oj.fingerprint"""
    with store.writing() as db:
        db.execute("INSERT OR IGNORE INTO main.judges (fingerprint) SELECT fingerprint FROM other.judges ORDER BY id")
        db.execute(
            """INSERT OR IGNORE INTO main.shops SELECT j.id, products_hash, digests FROM other.shops o
               JOIN other.judges oj ON oj.id = o.judge JOIN main.judges j ON j.fingerprint = oj.fingerprint"""
        )
        for side in ("query", "product"):
            db.execute(
                f"""INSERT OR IGNORE INTO main.texts SELECT t.digest, t.text FROM other.texts t
                    JOIN other.verdicts o ON o.{side} = t.digest WHERE o.id BETWEEN ? AND ?""",
                ids,
            )
        added = db.execute(
            f"""INSERT OR IGNORE INTO main.verdicts (judge, query, product, probs, made, used)
                SELECT j.id, o.query, o.product, o.probs, o.made, o.used FROM {theirs}
                WHERE o.id BETWEEN ? AND ? ORDER BY o.id""",
            ids,
        ).rowcount
        total, conflicts = db.execute(
            f"""SELECT count(*), coalesce(sum(v.probs <> o.probs), 0) FROM {theirs}
                JOIN main.verdicts v ON v.judge = j.id AND v.query = o.query AND v.product = o.product
                WHERE o.id BETWEEN ? AND ?""",
            ids,
        ).fetchone()
    return {"added": added, "same": total - added - conflicts, "conflicts": conflicts}


def prune(
    store: VerdictStore,
    fingerprint: str | None = None,
    older_days: float | None = None,
    unused_days: float | None = None,
    dry_run: bool = False,
) -> int:
    """Delete verdicts that meet all criteria given, and unused texts. Returns the number of verdicts.

    Args:
        fingerprint: verdicts of this judge.
        older_days: verdicts made longer ago than this.
        unused_days: verdicts not looked up for this many days.
        dry_run: count, delete nothing.

    Other processes that have the store open keep them in memory until they end. Raises ConfigError without a criterion.
    """
    now = time.time()
    criteria: dict[str, Any] = {
        "judge = (SELECT id FROM judges WHERE fingerprint = ?)": fingerprint,
        "made < ?": None if older_days is None else int(now - older_days * DAY),
        "used < ?": None if unused_days is None else int(now / DAY - unused_days),
    }
    given = {text: value for text, value in criteria.items() if value is not None}
    if not given:
        raise ConfigError("`prune` needs a criterion: `fingerprint`, `older_than` or `unused`")
    if fingerprint is not None and fingerprint not in (known := [row["fingerprint"] for row in store.judges()]):
        raise ConfigError(f"{store.path}: no judge {fingerprint!r}; there are {known}")
    where, values = " AND ".join(given), list(given.values())
    if dry_run:
        with store.reading() as db:
            return int(db.execute(f"SELECT count(*) FROM verdicts WHERE {where}", values).fetchone()[0])
    count = _delete(store, where, values)
    store.drop_index()
    with suppress(StoreError), store.reading() as db:
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return count


def _delete(store: VerdictStore, where: str, values: list[Any]) -> int:
    with store.writing() as db:
        distinct = f"SELECT DISTINCT judge FROM verdicts WHERE {where}"
        affected = [judge for (judge,) in db.execute(distinct, values)]
        count = db.execute(f"DELETE FROM verdicts WHERE {where}", values).rowcount
        # A judge of a run that has just begun has no verdict yet; it is not affected and stays.
        left = {judge for (judge,) in db.execute("SELECT DISTINCT judge FROM verdicts")}
        gone = [(judge,) for judge in affected if judge not in left]
        db.executemany("DELETE FROM shops WHERE judge = ?", gone)
        db.executemany("DELETE FROM judges WHERE id = ?", gone)
        db.execute(
            """DELETE FROM texts WHERE digest NOT IN (SELECT query FROM verdicts UNION SELECT product FROM verdicts)"""
        )
    return count


def integrity_errors(store: VerdictStore) -> list[str]:
    """Errors that SQLite finds in the file (PRAGMA integrity_check); [] for a sound one."""
    with store.reading() as db:
        return [line for (line,) in db.execute("PRAGMA integrity_check") if line != "ok"]
