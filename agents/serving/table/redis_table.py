"""A table in Redis, by URL: `redis://127.0.0.1:6379/0?name=rewrites`.

    publish_to_redis(sqlite_table, "redis://127.0.0.1:6379/0?name=rewrites")
    table = RedisTable.open("redis://127.0.0.1:6379/0?name=rewrites")

A version is one hash, `qr:NAME:VERSION` (text key → entry as JSON), and `qr:NAME` names the version that is served.
Publishing writes the new version beside the old, checks its number of rows, switches the name in one step, and then
deletes versions older than the one before. A reader follows the name at every look-up, so that it takes a new version
without a restart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from agents.serving.table.entry import TableEntry, TableFacts
from agents.serving.table.sqlite_table import SqliteTable
from qr_env.common.errors import ConfigError, DataError
from qr_env.common.packages import require
from qr_env.common.text_keys import text_key

BATCH = 1_000  # rows a command
TIMEOUT = 2.0  # seconds for an answer: a look-up is on the request path


def parse_url(url: str) -> tuple[str, str]:
    """(URL without the name, name). Raises ConfigError for a URL without a name."""
    parts = urlsplit(url)
    name = parse_qs(parts.query).get("name", [""])[0]
    if parts.scheme not in ("redis", "rediss") or not name:
        raise ConfigError(f"table={url!r}: write redis://HOST:PORT/0?name=NAME")
    return urlunsplit(parts._replace(query="")), name


def connect(url: str) -> Any:
    """A client that answers texts. Raises ConfigError where the server does not answer."""
    require("redis", what="a table in Redis")
    import redis  # noqa: PLC0415 - for tables in Redis only

    client = redis.Redis.from_url(url, decode_responses=True, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT)
    try:
        client.ping()
    except redis.RedisError as error:
        raise ConfigError(f"table={url!r}: Redis does not answer ({error}); start it, or name a file") from error
    return client


class RedisTable:
    """The table of a name; `open` reads one."""

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name
        self.facts = self._facts()

    @classmethod
    def open(cls, url: str) -> RedisTable:
        """Raises ConfigError: no server, or no table of this name. DataError: the table is incomplete."""
        base, name = parse_url(url)
        table = cls(connect(base), name)
        if (rows := table._client.hlen(table._key)) != table.facts.rows:
            raise DataError(f"table={url!r} has {rows:,} of {table.facts.rows:,} rows: publish it again")
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
        """The entry of each query, of the version that is served now; None where there is none."""
        if not queries:
            return []
        self.facts = self._facts()
        texts = self._client.hmget(self._key, [text_key(query) for query in queries])
        return [None if text is None else TableEntry.from_text(text) for text in texts]

    def entries(self) -> Iterator[TableEntry]:
        """All entries, by the text key of their query."""
        texts = dict(self._client.hscan_iter(self._key, count=BATCH))
        for key in sorted(texts):
            yield TableEntry.from_text(texts[key])

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def publish_to_redis(table: SqliteTable, url: str) -> TableFacts:
    """Write a table's rows as a new version, and serve it. Raises ConfigError where the server does not answer."""
    base, name = parse_url(url)
    client, facts = connect(base), table.facts
    key = f"qr:{name}:{facts.version}"
    client.delete(key)
    rows = table.rows()
    while part := dict(islice(rows, BATCH)):
        client.hset(key, mapping=part)
    if (written := client.hlen(key)) != facts.rows:
        raise DataError(f"table={url!r}: {written:,} of {facts.rows:,} rows were written; publish it again")
    before = client.get(f"qr:{name}")
    client.set(f"qr:{name}", json.dumps(facts.__dict__))
    kept = {key, f"qr:{name}:{json.loads(before)['version']}" if before else key}
    for old in client.scan_iter(f"qr:{name}:*"):
        if old not in kept:
            client.delete(old)
    client.close()
    return facts
