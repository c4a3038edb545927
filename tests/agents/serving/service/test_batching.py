"""Batches, their bounds, and errors."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from agents.serving.service.batching import Batcher


class Work:
    """Doubles numbers; the first batch waits until it may go on."""

    def __init__(self):
        self.batches, self.go = [], threading.Event()

    def __call__(self, keys):
        self.batches.append(list(keys))
        if len(self.batches) == 1:
            self.go.wait(10)
        if 13 in keys:
            raise ValueError("unlucky")
        return [2 * key for key in keys]


def run(scenario, **limits):
    work = Work()

    async def main():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(work, executor, **limits)
            result = await scenario(batcher, work)
            await batcher.close()
            return result

    return asyncio.run(main()), work.batches


def test_what_waits_becomes_a_batch_of_distinct_keys():
    async def scenario(batcher, work):
        futures = [batcher.submit(1)]
        await asyncio.sleep(0.05)
        futures += [batcher.submit(key) for key in (2, 3, 2, 4)]
        assert batcher.depth == 3
        work.go.set()
        return await asyncio.gather(*futures)

    results, batches = run(scenario, limit=10, max_batch=2)
    assert results == [2, 4, 6, 4, 8]
    assert batches == [[1], [2, 3], [4]]


def test_a_full_queue_takes_no_more():
    async def scenario(batcher, work):
        first = batcher.submit(1)
        await asyncio.sleep(0.05)
        taken = [batcher.submit(key) is not None for key in (2, 3, 4, 2, 1)]
        work.go.set()
        await first
        return taken

    assert run(scenario, limit=2, max_batch=8)[0] == [True, True, False, True, True]


def test_an_error_reaches_those_who_wait_and_the_next_batch_works():
    async def scenario(batcher, work):
        work.go.set()
        with pytest.raises(ValueError, match="unlucky"):
            await batcher.submit(13)
        return await batcher.submit(5)

    assert run(scenario, limit=2, max_batch=8)[0] == 10


def test_work_that_forgets_a_key_is_an_error():
    async def main():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(_nothing, executor, 2, 2)
            with pytest.raises(ValueError):
                await batcher.submit(1)

    asyncio.run(main())


def _nothing(keys):
    return []
