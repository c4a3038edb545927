"""A table in Redis, by URL: `redis://127.0.0.1:6379/0?name=rewrites`.

    publish_to_redis(sqlite_table, "redis://127.0.0.1:6379/0?name=rewrites")
    table = RedisTable.open("redis://127.0.0.1:6379/0?name=rewrites")

A version is one hash, `qr:NAME:VERSION` (text key → entry as JSON), and `qr:NAME` names the version that is served.
Publishing writes the new version beside the old, compares what the server holds with the hash of the rows, switches the
name in one step, and then deletes versions older than the one before. A reader follows the name at every look-up, so
that it takes a new version without a restart, unless that one is for another engine, way to search or assortment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from agents.serving.table.entry import TableEntry, TableFacts
from agents.serving.table.sqlite_table import SqliteTable, hash_of
from qr_env.common.errors import ConfigError, DataError
from qr_env.common.packages import require
from qr_env.common.text_keys import text_key

BATCH = 1_000  # rows a command
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
FIXED = ("combine", "weight", "retriever", "products_hash")  # of the plan: a reader was opened for these
TIMEOUT = 2.0  # seconds for an answer: a look-up is on the request path


def parse_url(url: str) -> tuple[str, str]:
    """(URL without the name, name). Raises ConfigError for a URL without a name of letters, digits, - and _."""
    parts = urlsplit(url)
    name = parse_qs(parts.query).get("name", [""])[0]
    if parts.scheme not in ("redis", "rediss") or not NAME.fullmatch(name):
        raise ConfigError(
            f"table={shown(url)!r}: write redis://HOST:PORT/0?name=NAME, a name of letters, digits, - and _"
        )
    return urlunsplit(parts._replace(query="")), name


def shown(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def has_table(url: str) -> bool:
    """Whether the server serves a table of this name. Raises ConfigError where it does not answer."""
    base, name = parse_url(url)
    client = connect(base)
    try:
        with answered(shown(url)):
            return bool(client.exists(f"qr:{name}"))
    finally:
        client.close()


def connect(url: str) -> Any:
    """A client that answers texts. Raises ConfigError where the URL is wrong or the server does not answer."""
    require("redis", what="a table in Redis")
    import redis  # noqa: PLC0415 - for tables in Redis only

    try:
        client = redis.Redis.from_url(
            url, decode_responses=True, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT
        )
        client.ping()
    except (redis.RedisError, ValueError) as error:
        raise ConfigError(f"table={shown(url)!r}: Redis does not answer ({error}); start it, or name a file") from error
    return client


@contextmanager
def answered(place: str) -> Iterator[None]:
    """Turn an error of the server into a DataError that names the table."""
    import redis  # noqa: PLC0415 - for tables in Redis only

    try:
        yield
    except redis.RedisError as error:
        raise DataError(f"table={place!r}: Redis failed ({error}); the version before is served on") from error


class RedisTable:
    """The table of a name; `open` reads one."""

    def __init__(self, client: Any, name: str, place: str) -> None:
        self._client, self._name, self._place = client, name, place
        self.facts = self._facts()

    @classmethod
    def open(cls, url: str, verify: bool = True) -> RedisTable:
        """Open the table of a name.

        Args:
            verify: compare the hash of its rows with the one that was written.

        Raises:
            ConfigError: no server, or no table of this name. DataError: the table is incomplete or damaged.
        """
        base, name = parse_url(url)
        client, place = connect(base), shown(url)
        try:
            with answered(place):
                table = cls(client, name, place)
                rows = client.hlen(table._key)
                damaged = verify and hash_of(_rows(client, table._key)) != table.facts.version
            if damaged or rows != table.facts.rows:
                raise DataError(
                    f"table={place!r} is damaged: it has {rows:,} rows, {table.facts.rows:,} with another hash were "
                    "written: publish it again"
                )
        except Exception:
            client.close()
            raise
        return table

    @property
    def _key(self) -> str:
        return f"qr:{self._name}:{self.facts.version}"

    @property
    def version(self) -> str:
        """Of the content."""
        return self.facts.version

    def _facts(self) -> TableFacts:
        text = self._client.get(f"qr:{self._name}")
        if text is None:
            raise ConfigError(f"Redis has no table {self._name!r}; qr table build --out redis://…?name={self._name}")
        return TableFacts(**json.loads(text))

    def look_up(self, queries: Sequence[str]) -> list[TableEntry | None]:
        """The entry of each query, of the version that is served now; None where there is none.

        Raises:
            DataError: the server fails, or serves a version for another engine, way to search or assortment by now.
        """
        if not queries:
            return []
        with answered(self._place):
            facts = self._facts()
            if changed := [name for name in FIXED if facts.plan.get(name) != self.facts.plan.get(name)]:
                raise DataError(f"table={self._place!r} was replaced by one of another {changed[0]}: open it again")
            self.facts = facts
            texts = self._client.hmget(self._key, [text_key(query) for query in queries])
        return [None if text is None else TableEntry.from_text(text) for text in texts]

    def entries(self) -> Iterator[TableEntry]:
        """All entries, by the text key of their query."""
        with answered(self._place):
            rows = _rows(self._client, self._key)
        for _, text in rows:
            yield TableEntry.from_text(text)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _rows(client: Any, key: str) -> list[tuple[str, str]]:
    """(key, entry as text) of a version, in the order of the keys."""
    return sorted(dict(client.hscan_iter(key, count=BATCH)).items())


def publish_to_redis(table: SqliteTable, url: str) -> TableFacts:
    """Write a table's rows as a new version, and serve it.

    Raises:
        ConfigError: the server does not answer. DataError: it fails, or holds other rows than were written.
    """
    base, name = parse_url(url)
    client, facts, place = connect(base), table.facts, shown(url)
    key = f"qr:{name}:{facts.version}"
    try:
        with answered(place):
            before = client.get(f"qr:{name}")
            served = json.loads(before)["version"] if before else ""
            _write(client, key, table, place)
            client.set(f"qr:{name}", json.dumps(facts.__dict__))
            kept = {key, f"qr:{name}:{served}"}
            for old in list(client.scan_iter(f"qr:{name}:*", count=BATCH)):
                if old not in kept:
                    client.delete(old)
    finally:
        client.close()
    return facts


def _write(client: Any, key: str, table: SqliteTable, place: str) -> None:
    """Write the rows beside, and give them their key in one step once they are whole."""
    beside = f"{key}:part"
    client.delete(beside)
    rows = table.rows()
    while part := dict(islice(rows, BATCH)):
        client.hset(beside, mapping=part)
    if hash_of(_rows(client, beside)) != table.facts.version:
        raise DataError(f"table={place!r}: the server holds other rows than were written; publish it again")
    if table.facts.rows:
        client.rename(beside, key)
