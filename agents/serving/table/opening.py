"""Open a table by its file or URL: `open_table("rewrites.db")`, `open_table("redis://127.0.0.1:6379/0?name=rewrites")`."""

from __future__ import annotations

from pathlib import Path

from agents.serving.table.entry import RewriteTable
from agents.serving.table.redis_table import RedisTable
from agents.serving.table.sqlite_table import SqliteTable


def open_table(place: str | Path, verify: bool = True) -> RewriteTable:
    """The table at a path, or in Redis.

    Args:
        verify: compare the rows with the hash that was written.

    Raises:
        ConfigError: there is none. DataError: it is no table, is incomplete or damaged.
    """
    if is_redis(place):
        return RedisTable.open(str(place), verify)
    return SqliteTable.open(Path(place), verify)


def is_redis(place: str | Path) -> bool:
    """Whether a table's place is a URL of Redis."""
    return str(place).startswith(("redis:", "rediss:"))
