"""HTTP client of LLM judges, shoppers and agents: concurrent requests to one or several servers, failures by kind.

    with Client(["http://127.0.0.1:8000/v1"]) as client:
        reply = client.post("/chat/completions", body, affinity="red sofa")
        for result in client.run(work, jobs): ...

Transient failures are retried with exponential back-off and full jitter: 408, 425, 429 (after `Retry-After`), 5xx, a
timeout, a dropped connection, a reply that is no JSON. Each server has a circuit breaker: after 5 consecutive failures
it gets no request for a while, then one at a time. Connection errors use up no attempt: the request waits for the
server, or goes to another; once all servers have been down for longer than `patience`, requests fail at once.
A request that fails for good raises a `Failure` (`qr_env.llm.failures`) with its kind: connect, no_host, tls, proxy,
reset, timeout, http_500, bad_json, web_page, quota, breaker, stopped. Paths are those of OpenAI's API behind its base.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Self, TypeVar

from qr_env.common.errors import ConfigError
from qr_env.common.packages import require
from qr_env.llm.address import Address, shown
from qr_env.llm.failures import Failure
from qr_env.llm.transport import Transport

TRIP = 5  # consecutive failures that open a server's circuit breaker
COOL, COOL_MOST = 0.2, 5.0  # seconds until an open breaker allows one request: first (then doubled), and at most
SLACK = 8  # a server with a cached prefix may have this many more requests in flight than another and still be chosen
_Job = TypeVar("_Job")
_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


class Tally:
    """Thread-safe counts by name."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, **amounts: float) -> None:
        """Add to the counts; "__" in a name stands for "/"."""
        with self._lock:
            for name, amount in amounts.items():
                self._counts[name.replace("__", "/")] += amount  # type: ignore[assignment]

    def read(self) -> dict[str, float]:
        """A copy of the counts."""
        with self._lock:
            return {name: float(count) for name, count in sorted(self._counts.items())}


class Endpoint:
    """State of one server: its address, its load and its circuit breaker. Used by `Client` only, under its lock.

    `base` is the first of the address's bases until `qr_env.llm.probing` finds the one that answers.
    """

    def __init__(self, address: Address) -> None:
        self.address, self.base = address, address.bases[0]
        self.in_flight = 0
        self.failures = 0
        self.closed_until = 0.0
        self.busy_until = 0.0  # after a Retry-After
        self.down_since: float | None = None

    @property
    def url(self) -> str:
        """The base URL as messages show it."""
        return shown(self.base)

    def ready(self, now: float) -> bool:
        """Whether it may get a request; with an open breaker one at a time, after the cool-down."""
        return now >= self.closed_until and (self.failures < TRIP or self.in_flight == 0)

    def failed(self, now: float) -> None:
        """Record a failure of the server; requests in flight when the breaker opened no longer count."""
        self.down_since = self.down_since or now
        if now < self.closed_until:
            return
        self.failures += 1
        if self.failures >= TRIP:
            self.closed_until = now + min(COOL * 2.0 ** (self.failures - TRIP), COOL_MOST)

    def answered(self) -> None:
        """Record any answer that is not a 5xx: the server is up."""
        self.failures, self.down_since = 0, None

    def lost(self, now: float, patience: float) -> bool:
        """Whether its breaker has been open for longer than `patience`."""
        return self.failures >= TRIP and now - (self.down_since or now) > patience


class Client:
    """Requests to servers that all serve the same model.

    Args:
        urls: base URLs (`qr_env.llm.address`), as a sequence or separated by commas; without any, QR_JUDGE_URL is read.
        api_key: sent as bearer token; None reads the environment (`qr_env.llm.headers`).
        concurrency: requests in flight, over all servers.
        timeout: seconds without an answer after which a request has failed.
        retries: attempts after the first one.
        backoff: seconds; the wait before attempt n is at most backoff · 2ⁿ.
        patience: seconds that requests wait for servers that are down; also the upper limit for Retry-After.
    """

    def __init__(
        self,
        urls: str | Iterable[str] | None = None,
        api_key: str | None = None,
        concurrency: int = 64,
        timeout: float = 120.0,
        retries: int = 5,
        backoff: float = 0.5,
        patience: float = 120.0,
    ) -> None:
        require("httpx", what="a language model behind a server")
        urls = urls or os.environ.get("QR_JUDGE_URL", "")
        named = [url.strip() for url in (urls.split(",") if isinstance(urls, str) else urls)]
        self.endpoints = [Endpoint(address) for address in dict.fromkeys(map(Address.parse, filter(None, named)))]
        if not self.endpoints:
            raise ConfigError("no server: give its URL, or set QR_JUDGE_URL; `qr judge serve` starts one")
        if concurrency < 1 or timeout <= 0 or retries < 0:
            raise ConfigError(
                f"{concurrency=}, {timeout=}, {retries=}: concurrency must be ≥ 1, timeout positive, retries ≥ 0"
            )
        self.concurrency, self.timeout, self.retries = concurrency, timeout, retries
        self.backoff, self.patience = backoff, patience
        self.tally = Tally()
        addresses = [endpoint.address for endpoint in self.endpoints]
        self._transport = Transport(addresses, api_key, timeout, concurrency + 1)
        self._changed = threading.Condition()
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        self._transport.close()

    def post(self, path: str, body: Mapping[str, Any], affinity: str = "") -> dict[str, Any]:
        """The JSON object of a server's answer. affinity: requests with the same text go to the same server while it is
        up, so that shared prompt prefixes stay in its cache. Raises Failure."""
        attempt = 0
        while True:
            endpoint = self._take(affinity)
            try:
                return self._once(endpoint, "POST", path, body)
            except Failure as failure:
                # The request did not reach the server: limited by `patience`, not by the number of attempts.
                attempt += failure.kind != "connect"
                if not failure.transient or attempt > self.retries:
                    raise
                self.tally.add(retries=1, **{f"retries__{failure.kind}": 1})
                self.wait(failure, attempt)

    def ask(self, endpoint: Endpoint, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request to one server, without retries, though its breaker be open: GET, or POST with a body. Raises
        Failure."""
        with self._changed:
            pause = endpoint.busy_until - time.monotonic()
            endpoint.in_flight += 1
        if pause > 0:
            self._stop.wait(pause)
        return self._once(endpoint, "GET" if body is None else "POST", path, body)

    def run(
        self, work: Callable[[_Job], _Result], jobs: Iterable[_Job], threads: int | None = None
    ) -> Generator[_Result, None, None]:
        """Yield work(job) of every job in order of completion, `threads` at a time (None: `concurrency`). Closing the
        iterator cancels the remaining jobs."""
        threads = threads or self.concurrency
        pool = ThreadPoolExecutor(threads, thread_name_prefix="judge")
        pending: set[Future[_Result]] = set()
        try:
            for job in jobs:
                pending.add(pool.submit(work, job))
                if len(pending) >= 2 * threads:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            if pending:
                self._stop.set()
            pool.shutdown(cancel_futures=True)
            self._stop.clear()

    def _take(self, affinity: str) -> Endpoint:
        """Choose a server and count one more request in flight there; waits while none is ready."""
        preferred = hash(affinity) % len(self.endpoints)
        with self._changed:
            while True:
                now = time.monotonic()
                ready = [endpoint for endpoint in self.endpoints if endpoint.ready(now)]
                if ready:
                    chosen = min(ready, key=lambda e: e.in_flight - SLACK * (e is self.endpoints[preferred]))
                    chosen.in_flight += 1
                    return chosen
                if self._stop.is_set():
                    raise Failure("stopped", "the run was cancelled")
                if all(endpoint.lost(now, self.patience) for endpoint in self.endpoints):
                    raise Failure("breaker", f"no server has answered for {self.patience:g} s")
                soonest = min(endpoint.closed_until for endpoint in self.endpoints) - now
                self._changed.wait(min(max(soonest, 0.005), 0.5))

    def _once(self, endpoint: Endpoint, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        """One attempt at an endpoint that already counts the request as in flight."""
        failure: Failure | None = None
        start = time.monotonic()
        try:
            address = endpoint.address
            reply = self._transport.exchange(method, address, address.url(endpoint.base, path), body)
        except Failure as error:
            failure = error
            raise
        finally:
            self.tally.add(requests=1, request_seconds=time.monotonic() - start)
            self._release(endpoint, failure)
        return reply

    def _release(self, endpoint: Endpoint, failure: Failure | None) -> None:
        with self._changed:
            now = time.monotonic()
            endpoint.in_flight -= 1
            if failure is not None and failure.is_outage:
                endpoint.failed(now)
                if endpoint.failures == TRIP:
                    _log.warning("%s gets no requests for now: %s", endpoint.url, failure)
            else:
                endpoint.answered()
            if failure is not None and failure.retry_after is not None:
                endpoint.busy_until = max(endpoint.busy_until, now + min(failure.retry_after, self.patience))
                endpoint.closed_until = max(endpoint.closed_until, endpoint.busy_until)
            self._changed.notify_all()

    def wait(self, failure: Failure, attempt: int) -> None:
        """Wait before attempt n with full jitter (Brooker 2015, "Exponential backoff and jitter").

        After a Retry-After the endpoint's state delays the next attempt instead.
        """
        if failure.retry_after is None:
            self._stop.wait(random.uniform(0, self.backoff * 2.0**attempt))
        if self._stop.is_set():
            raise Failure("stopped", f"the run was cancelled; the last attempt: {failure}")
