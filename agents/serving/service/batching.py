"""Requests are gathered into small batches for a worker thread, so that the event loop never waits for a model.

    batcher = Batcher(work, executor, limit=64, max_batch=32)      # inside a running event loop
    future = batcher.submit(key)                                   # None: the queue is full
    result = await asyncio.wait_for(asyncio.shield(future), 0.05)

A batch is what has arrived while the worker was busy, so that no request waits for a timer: one that arrives at an idle
worker is a batch of one. Equal keys that wait share one result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class Batcher(Generic[Key, Result]):
    """Batches for one worker.

    Args:
        work: results of a batch of distinct keys, in their order; runs in the executor.
        executor: of one thread, which several batchers may share.
        limit: keys that wait at most.
        max_batch: keys of a batch at most.
    """

    def __init__(
        self, work: Callable[[Sequence[Key]], Sequence[Result]], executor: Executor, limit: int, max_batch: int
    ) -> None:
        self._work, self._executor = work, executor
        self._limit, self._max_batch = limit, max_batch
        self._waiting: dict[Key, asyncio.Future[Result]] = {}
        self._running: dict[Key, asyncio.Future[Result]] = {}
        self._worker: asyncio.Task[None] | None = None

    @property
    def depth(self) -> int:
        """Keys that wait."""
        return len(self._waiting)

    def submit(self, key: Key) -> asyncio.Future[Result] | None:
        """The result to come; None if the queue is full. Await it through `asyncio.shield`: others may wait for it."""
        known = self._waiting.get(key) or self._running.get(key)
        if known is not None:
            return known
        if len(self._waiting) >= self._limit:
            return None
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_seen)
        self._waiting[key] = future
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._drain())
        return future

    async def close(self) -> None:
        """Wait until everything that was submitted is done."""
        while self._worker is not None and not self._worker.done():
            await self._worker

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            keys = list(self._waiting)[: self._max_batch]
            self._running = {key: self._waiting.pop(key) for key in keys}
            try:
                results = await loop.run_in_executor(self._executor, self._work, keys)
                outcomes = list(zip(self._running.values(), results, strict=True))
            except Exception as error:
                for future in self._running.values():
                    _set(future, error=error)
            else:
                for future, result in outcomes:
                    _set(future, result=result)
            finally:
                self._running = {}


def _set(future: asyncio.Future[Result], result: Result | None = None, error: Exception | None = None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)  # type: ignore[arg-type]


def _seen(future: asyncio.Future[Result]) -> None:
    """Read the exception of a result that nobody waits for any longer: asyncio logs those that were never read."""
    if not future.cancelled():
        future.exception()
