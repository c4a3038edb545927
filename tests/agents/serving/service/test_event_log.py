"""What is acknowledged is on disk, also after a kill; old files go."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from agents.serving.service import event_log
from agents.serving.service.event_log import EventLog, cut_unfinished_lines, delete_old, segments
from qr_env.common.errors import RunFolderError
from qr_env.traffic.ubi import ServedQuery, ShopperEvent, read_ubi

WRITER = """
import asyncio, sys
from agents.serving.service.event_log import EventLog
from qr_env.traffic.ubi import ServedQuery, ShopperEvent

async def main():
    log = EventLog(sys.argv[1])
    for at in range(1_000_000):
        log.record_queries([ServedQuery(f"q{at}", "navy couch")])
        await log.record_events([ShopperEvent(f"q{at}", "click", "p1", event_id=f"e{at}")])
        print(at, flush=True)

asyncio.run(main())
"""


def event(at):
    return ShopperEvent(f"q{at}", "purchase", "p1", 2, price=9.5, event_id=f"e{at}")


def test_what_is_recorded_is_read_again(tmp_path):
    async def main():
        log = EventLog(tmp_path)
        queries = log.record_queries([ServedQuery("q1", "navy couch", rewrite="sofa^0.5", propensity=0.25)])
        await log.record_events([event(1)])
        assert queries.done(), "queries are on disk before the events that follow them"
        await asyncio.gather(*(log.record_events([event(at)]) for at in range(2, 50)))
        await log.close()

    asyncio.run(main())
    log = read_ubi(tmp_path)
    assert (log.queries[0].rewrite, log.queries[0].propensity) == ("sofa^0.5", 0.25)
    assert [one.event_id for one in log.events] == [f"e{at}" for at in range(1, 50)]
    assert log.events[0].price == 9.5


def test_a_folder_has_one_writer(tmp_path):
    async def main():
        log = EventLog(tmp_path)
        with pytest.raises(RunFolderError, match="another process"):
            EventLog(tmp_path)
        await log.close()
        await EventLog(tmp_path).close()

    asyncio.run(main())


def test_a_closed_log_takes_nothing(tmp_path):
    async def main():
        log = EventLog(tmp_path)
        await log.close()
        with pytest.raises(OSError, match="closed"):
            await log.record_events([event(1)])

    asyncio.run(main())


def test_a_full_disk_is_told_and_leaves_whole_lines(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    async def main():
        log = EventLog(tmp_path)
        await log.record_events([event(1)])
        monkeypatch.setattr(event_log.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            await log.record_events([event(2)])
        monkeypatch.undo()
        await log.record_events([event(3)])
        await log.close()

    asyncio.run(main())
    assert [one.event_id for one in read_ubi(tmp_path).events] == ["e1", "e3"]


def test_files_are_begun_anew_when_they_are_large(tmp_path, monkeypatch):
    monkeypatch.setattr(event_log, "MAX_BYTES", 500)

    async def main():
        log = EventLog(tmp_path)
        for at in range(10):
            await log.record_events([event(at)])
        await log.close()

    asyncio.run(main())
    assert len(list(tmp_path.glob("ubi_events*"))) > 2
    assert [one.event_id for one in read_ubi(tmp_path).events] == [f"e{at}" for at in range(10)]


def test_old_files_are_deleted(tmp_path):
    old, young, other = (tmp_path / name for name in ("ubi_events.1.ndjson", "ubi_events.2.ndjson", "notes.txt"))
    for path in (old, young, other):
        path.write_text("{}\n")
    for path in (old, other):
        os.utime(path, (time.time() - 31 * 86_400,) * 2)
    assert delete_old(tmp_path, 30, set()) == [old]
    assert segments(tmp_path) == [young] and other.exists()

    async def main():
        os.utime(young, (time.time() - 2 * 86_400,) * 2)
        log = EventLog(tmp_path, retention_days=1)
        await log.record_events([event(1)])
        await log.close()

    asyncio.run(main())
    assert not young.exists()


def test_unfinished_lines_are_cut(tmp_path):
    path = tmp_path / "ubi_events.1.ndjson"
    path.write_bytes(b'{"a": 1}\n{"b": ')
    cut_unfinished_lines(tmp_path)
    assert path.read_bytes() == b'{"a": 1}\n'


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        acknowledged = [process.stdout.readline() for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.readlines()
    whole = [int(line) for line in acknowledged if line.endswith("\n")]
    asyncio.run(_reopened(tmp_path))
    log = read_ubi(tmp_path)
    assert set(map("e{}".format, whole)) <= {one.event_id for one in log.events}
    assert {one.query_id for one in log.events} <= {one.query_id for one in log.queries}


async def _reopened(folder):
    await EventLog(folder).close()
