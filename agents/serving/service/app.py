"""The service as an ASGI application.

    service = make_app(opener, ServiceSettings(), recorder=log, trial=experiment, key=key)
    uvicorn.run(service.app)

One process holds one application: batches, cache and counters are its own. Several processes are several services
behind a load balancer, each on its own port with its own log folder; sessions are assigned by their hash, so that they
agree where the folders hold the same key (`qr_env.common.privacy.open_key`).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from agents.serving.service.answer import Answerer
from agents.serving.service.batching import Batcher
from agents.serving.service.limits import Guard, json_response
from agents.serving.service.logs import log
from agents.serving.service.metrics import Metrics
from agents.serving.service.parts import Recorder, Trial
from agents.serving.service.reload import Opener, Reloader
from agents.serving.service.routes.control import reload
from agents.serving.service.routes.events import events, queries
from agents.serving.service.routes.health import experiment, health, metrics, ready
from agents.serving.service.routes.ml_inference import ml_inference
from agents.serving.service.routes.retrieve import retrieve
from agents.serving.service.routes.rewrite import rewrite, search
from agents.serving.service.settings import ServiceSettings
from agents.serving.service.state import SearchJob, ServiceState
from qr_env.common.types import JsonDict

DECIDE_SECONDS = 5.0  # between two looks of the experiment at its events
ROUTES = (
    Route("/rewrite", rewrite, methods=["GET", "POST"]),
    Route("/search", search, methods=["GET", "POST"]),
    Route("/retrieve", retrieve, methods=["POST"]),
    Route("/ml_inference", ml_inference, methods=["POST"]),
    Route("/events", events, methods=["POST"]),
    Route("/queries", queries, methods=["POST"]),
    Route("/reload", reload, methods=["POST"]),
    Route("/experiment", experiment, methods=["GET"]),
    Route("/health", health, methods=["GET"]),
    Route("/ready", ready, methods=["GET"]),
    Route("/metrics", metrics, methods=["GET"]),
)


@dataclass(frozen=True)
class Service:
    """An ASGI application and what it is made of."""

    app: ASGIApp
    """The application."""
    state: ServiceState
    """Its parts."""


def make_app(
    opener: Opener,
    settings: ServiceSettings,
    *,
    recorder: Recorder | None = None,
    trial: Trial | None = None,
    key: bytes = b"",
) -> Service:
    """The application.

    Args:
        opener: opens table, rules and rewriters, at the start and at every reload.
        recorder: log of queries and events.
        trial: A/B test.
        key: of the pseudonyms; random bytes that are kept with the log.
    """
    counters = Metrics()
    worker = ThreadPoolExecutor(1, thread_name_prefix="rewriter")
    answerer = Answerer(settings, counters, worker, trial)
    searches: Batcher[SearchJob, list[JsonDict]] = Batcher(_search_batch, worker, settings.queue, settings.max_batch)
    state = ServiceState(
        settings, counters, answerer, searches, Reloader(opener, answerer, counters), recorder, trial, key
    )
    life = _Life(state, worker)
    app = Starlette(
        routes=ROUTES, lifespan=life.span, exception_handlers={HTTPException: _refusal, Exception: _failure}
    )
    app.router.redirect_slashes = False
    app.state.service = state
    return Service(Guard(app, settings, counters, frozenset(route.path for route in ROUTES)), state)


def _search_batch(jobs: Sequence[SearchJob]) -> list[list[JsonDict]]:
    """Products of a batch, one engine call a version and length. Runs in the worker thread."""
    results: dict[SearchJob, list[JsonDict]] = {}
    groups: dict[tuple[int, int], list[SearchJob]] = {}
    for job in jobs:
        groups.setdefault((id(job[0]), job[3]), []).append(job)
    for group in groups.values():
        found = group[0][0].products([job[1] for job in group], [job[2] for job in group], group[0][3])
        results.update(zip(group, found, strict=True))
    return [results[job] for job in jobs]


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = json_response({"error": error.detail}, error.status_code)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


async def _failure(request: Request, error: Exception) -> Response:
    """Starlette raises the error again after this answer, and `Guard` logs its kind."""
    return json_response({"error": "internal error"}, 500)


class _Life:
    """Start and stop of a service: what runs beside the requests."""

    def __init__(self, state: ServiceState, worker: ThreadPoolExecutor) -> None:
        self._state, self._worker = state, worker
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def span(self, app: Starlette) -> AsyncIterator[None]:
        """Load in the background, so that `/health` answers at once; at the end finish what has been accepted."""
        self._begin(self._first_load())
        if self._state.trial is not None:
            self._begin(self._decide())
        with suppress(ValueError, RuntimeError, NotImplementedError):  # no main thread, or no such signal
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_hangup)
        yield
        self._state.closing = True
        for task in self._tasks:
            task.cancel()
        await self._state.answerer.close()
        await self._state.searches.close()
        if self._state.recorder is not None:
            await self._state.recorder.close()
        self._worker.shutdown(wait=False, cancel_futures=True)
        loaded = self._state.answerer.loaded
        if loaded is not None and loaded.table is not None:
            loaded.table.close()

    def _begin(self, coroutine) -> None:  # type: ignore[no-untyped-def]
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_hangup(self) -> None:
        self._begin(self._reload())

    async def _reload(self) -> None:
        with suppress(Exception):  # `Reloader` has logged it, and the old version stays
            await self._state.reloader.reload()

    async def _first_load(self) -> None:
        try:
            await self._state.reloader.reload()
        except Exception as error:
            self._state.failure = error
            signal.raise_signal(signal.SIGTERM)

    async def _decide(self) -> None:
        trial = self._state.trial
        assert trial is not None
        while True:
            await asyncio.sleep(DECIDE_SECONDS)
            try:
                await asyncio.to_thread(trial.decide)
            except Exception as error:
                log("experiment", outcome="failed", error=type(error).__name__)
