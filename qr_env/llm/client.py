"""HTTP client of LLM judges, shoppers and agents: concurrent requests to one or several servers, failures by kind.

    with Client(["http://127.0.0.1:8000/v1"]) as client:
        reply = client.post("/v1/chat/completions", body, affinity="red sofa")
        for result in client.run(work, jobs): ...

Transient failures are retried with exponential back-off and full jitter: 408, 425, 429 (after `Retry-After`), 5xx, a
timeout, a dropped connection, a reply that is no JSON. Each server has a circuit breaker: after 5 consecutive failures
it gets no request for a while, then one at a time. Connection errors use up no attempt: the request waits for the
server, or goes to another; once all servers have been down for longer than `patience`, requests fail at once.
A request that fails for good raises a `Failure` with its kind: connect, reset, timeout, http_500, bad_json, breaker,
stopped.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from qr_env.common.errors import ConfigError
from qr_env.common.packages import require

if TYPE_CHECKING:
    import httpx

TRIP = 5  # consecutive failures that open a server's circuit breaker
COOL, COOL_MOST = 0.2, 5.0  # seconds until an open breaker allows one request: first (then doubled), and at most
SLACK = 8  # a server with a cached prefix may have this many more requests in flight than another and still be chosen
TRANSIENT, NOT_IMPLEMENTED = {408, 425, 429}, 501
_Job = TypeVar("_Job")
_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


class Failure(Exception):
    """A failed request or verdict. kind: a short name, counted in the statistics. detail: the message."""

    def __init__(self, kind: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail, self.retry_after = kind, detail, retry_after

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        status = self.status
        return status is None or (status >= 500 and status != NOT_IMPLEMENTED) or status in TRANSIENT

    @property
    def status(self) -> int | None:
        """HTTP status; None without one."""
        return int(self.kind[5:]) if self.kind.startswith("http_") else None


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
    """State of one server: its load and its circuit breaker. Used by `Client` only, under its lock."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.in_flight = 0
        self.failures = 0
        self.closed_until = 0.0
        self.down_since: float | None = None

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
        urls: base URLs, with or without /v1, as a sequence or separated by commas; without any, QR_JUDGE_URL is read.
        api_key: sent as bearer token; None reads QR_JUDGE_KEY, and without that sends none.
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
        self.endpoints = [Endpoint(url) for url in dict.fromkeys(filter(None, named))]
        if not self.endpoints:
            raise ConfigError("no server: give its URL, or set QR_JUDGE_URL; `qr judge serve` starts one")
        api_key = api_key or os.environ.get("QR_JUDGE_KEY")
        for endpoint in self.endpoints:
            if not endpoint.url.startswith(("http://", "https://")):
                raise ConfigError(f"{endpoint.url!r} is no base URL; give one such as http://127.0.0.1:8000/v1")
        if concurrency < 1 or timeout <= 0 or retries < 0:
            raise ConfigError(
                f"{concurrency=}, {timeout=}, {retries=}: concurrency must be ≥ 1, timeout positive, retries ≥ 0"
            )
        self.concurrency, self.timeout, self.retries = concurrency, timeout, retries
        self.backoff, self.patience = backoff, patience
        self.tally = Tally()
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._http: httpx.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        with self._changed:
            http, self._http = self._http, None
        if http is not None:
            http.close()

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

    def ask(self, url: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request to one server, without retries: GET, or POST with a body. Raises Failure."""
        endpoint = next(endpoint for endpoint in self.endpoints if endpoint.url == url)
        with self._changed:
            endpoint.in_flight += 1
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
            reply = self._exchange(method, endpoint.url + path, body)
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
            if failure is not None and (failure.status or 500) >= 500 and failure.kind != "bad_json":
                endpoint.failed(now)
                if endpoint.failures == TRIP:
                    _log.warning("%s gets no requests for now: %s", endpoint.url, failure)
            else:
                endpoint.answered()
            if failure is not None and failure.retry_after is not None:
                endpoint.closed_until = max(endpoint.closed_until, now + min(failure.retry_after, self.patience))
            self._changed.notify_all()

    def _exchange(self, method: str, url: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        with _failures(url):
            response = self._connections().request(method, url, json=body, headers=self._headers)
        if response.status_code != 200:
            detail = f"{url}: {response.text[:300]}"
            raise Failure(f"http_{response.status_code}", detail, _seconds(response.headers.get("Retry-After")))
        try:
            reply = response.json()
        except ValueError as error:
            raise Failure("bad_json", f"{url}: {response.text[:100]!r}") from error
        if not isinstance(reply, dict):
            raise Failure("bad_json", f"{url}: no JSON object, {response.text[:100]!r}")
        return reply

    def _connections(self) -> httpx.Client:
        import httpx

        with self._changed:
            if self._http is None:
                limits = httpx.Limits(max_connections=self.concurrency + 1, max_keepalive_connections=self.concurrency)
                timeout = httpx.Timeout(self.timeout, connect=min(self.timeout, 10.0))
                direct = {
                    f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")
                }  # never through a proxy
                self._http = httpx.Client(limits=limits, timeout=timeout, mounts=direct)
                weakref.finalize(self, self._http.close)  # of a client that is never closed
            return self._http

    def wait(self, failure: Failure, attempt: int) -> None:
        """Wait before attempt n with full jitter (Brooker 2015, "Exponential backoff and jitter").

        After a Retry-After the endpoint's state delays the next attempt instead.
        """
        if failure.retry_after is None:
            self._stop.wait(random.uniform(0, self.backoff * 2.0**attempt))
        if self._stop.is_set():
            raise Failure("stopped", f"the run was cancelled; the last attempt: {failure}")


@contextmanager
def _failures(url: str) -> Iterator[None]:
    """Turn exceptions of httpx into Failures: not reachable, dropped, or too slow, which are retried differently."""
    import httpx

    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL) as error:
        raise Failure("connect", f"{url}: {error}") from error
    except httpx.TimeoutException as error:
        raise Failure("timeout", f"{url}: {type(error).__name__}") from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise Failure("reset", f"{url}: {error!r}") from error


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds: a number or a date (RFC 9110, 10.2.3); None if it is absent or invalid."""
    if not retry_after:
        return None
    try:
        return max(float(retry_after), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
