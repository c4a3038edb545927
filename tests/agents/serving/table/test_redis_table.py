"""The table in a real Redis, which the tests start on a port of their own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.serving.table.opening import is_redis, open_table
from agents.serving.table.redis_table import RedisTable, connect, has_table, parse_url, publish_to_redis, shown
from agents.serving.table.sqlite_table import SqliteTable, TableWriter
from qr_env.common.errors import ConfigError, DataError
from tests.agents.serving.table.test_sqlite_table import PLAN, built, entry


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    redis = pytest.importorskip("redis")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server on this machine")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, cwd=tmp_path_factory.mktemp("redis"), stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)
    for _ in range(200):
        try:
            client.ping()
            break
        except redis.RedisError:
            time.sleep(0.05)
    client.close()
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait(10)


def published(folder: Path, url: str, count: int = 50, rewrite: str = "couch^0.4") -> SqliteTable:
    built(folder / "t.db", count, rewrite)
    table = SqliteTable.open(folder / "t.db")
    publish_to_redis(table, url)
    return table


@pytest.mark.live
def test_it_answers_as_the_file_does(tmp_path: Path, server: str) -> None:
    url = f"{server}?name=same"
    assert is_redis(url) and not has_table(url)
    file = published(tmp_path, url, 2_500)
    table = open_table(url)
    assert table.version == file.version and table.facts.plan == PLAN and has_table(url)
    asked = ["QUERY 7", "query  2499", "query 9999"]
    assert table.look_up(asked) == file.look_up(asked) and table.look_up([]) == []
    assert list(table.entries()) == list(file.entries())
    table.close()


@pytest.mark.live
def test_a_new_version_is_switched_to_and_the_one_before_stays_for_a_while(tmp_path: Path, server: str) -> None:
    url = f"{server}?name=week"
    published(tmp_path, f"{server}?name=other")
    versions = [published(tmp_path, url, rewrite=rewrite).version for rewrite in ("a", "b", "c")]
    reader = open_table(url)
    assert reader.look_up(["query 3"]) == [entry(3, "c")]
    versions.append(published(tmp_path, url, rewrite="d").version)
    assert reader.look_up(["query 3"]) == [entry(3, "d")] and reader.version == versions[-1]
    client = connect(server)
    assert set(client.scan_iter("qr:week:*")) == {f"qr:week:{version}" for version in versions[-2:]}
    client.close()
    reader.close()
    assert open_table(f"{server}?name=other").facts.rows == 50


@pytest.mark.live
def test_damage_is_named_and_repaired_by_publishing_again(tmp_path: Path, server: str) -> None:
    url = f"{server}?name=hurt"
    file = published(tmp_path, url)
    client, key = connect(server), f"qr:hurt:{file.version}"
    client.hset(key, "query 3", entry(3, "zebra").as_text())
    with pytest.raises(DataError, match="damaged"):
        open_table(url)
    publish_to_redis(file, url)
    open_table(url).close()
    client.hdel(key, "query 3")
    with pytest.raises(DataError, match="49 rows"):
        open_table(url)
    client.close()


@pytest.mark.live
def test_a_publication_that_was_killed_is_not_served(tmp_path: Path, server: str) -> None:
    url = f"{server}?name=killed"
    file = published(tmp_path, url)
    client = connect(server)
    client.hset("qr:killed:ffff:part", "query 3", "half")
    assert open_table(url).version == file.version
    publish_to_redis(file, url)
    assert set(client.scan_iter("qr:killed:*")) == {f"qr:killed:{file.version}"}
    client.close()


@pytest.mark.live
def test_a_version_for_another_engine_is_not_followed(tmp_path: Path, server: str) -> None:
    url = f"{server}?name=engine"
    published(tmp_path, url)
    reader = open_table(url)
    with TableWriter(tmp_path / "u.db", PLAN | {"combine": "replace"}) as writer:
        writer.add([entry(1)])
        writer.publish()
    publish_to_redis(SqliteTable.open(tmp_path / "u.db"), url)
    with pytest.raises(DataError, match="another combine"):
        reader.look_up(["query 1"])


@pytest.mark.live
def test_who_is_not_there_is_named_without_a_password(server: str) -> None:
    with pytest.raises(ConfigError, match="has no table 'nobody'"):
        open_table(f"{server}?name=nobody")
    with pytest.raises(ConfigError, match="does not answer") as caught:
        RedisTable.open("redis://user:secret@127.0.0.1:1/0?name=x")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://h/0", "redis://h/0?name=", "redis://h/0?name=a*", "redis://h/0?name=a:b"])
def test_a_url_needs_a_plain_name(url: str) -> None:
    with pytest.raises(ConfigError, match="NAME"):
        parse_url(url)


def test_parts_of_a_url() -> None:
    assert parse_url("redis://h:1/2?name=a-b_1") == ("redis://h:1/2", "a-b_1")
    assert shown("redis://u:p@h:1/2?name=a") == "redis://h:1/2?name=a" and not is_redis("rewrites.db")
