"""One query's answer: a person's override → the table → the rewriter under a deadline → the original.

Whatever fails, is late or is refused serves the original, and is counted with its reason:

| reason | why |
|---|---|
| empty, too_long | nothing to rewrite, or more than `ServiceSettings.max_query` characters |
| queue_full, deadline | the rewriter has too much to do, or was late; a late rewrite is remembered |
| rules_error, table_error, rewriter_error, assign_error | it raised an error |
| guard | the table holds a rewrite that did not pass its comparison with the original |
| holdout | the session belongs to the experiment's holdout |
| not_ready | nothing has been loaded yet |
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from agents.serving.experiment.assignment import BASELINE, CANDIDATE, HOLDOUT
from agents.serving.experiment.settings import SHADOW
from agents.serving.rewritten import Rewritten, rewritten
from agents.serving.service.batching import Batcher
from agents.serving.service.logs import log
from agents.serving.service.metrics import Metrics
from agents.serving.service.parts import Entry, Loaded, RewriteMany, Trial
from agents.serving.service.settings import ServiceSettings
from agents.serving.service.text import clean_query
from qr_env.common.types import JsonDict

FAILURES = ("assign_error", "rules_error", "table_error", "rewriter_error", "search_error")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is served for one query."""

    rewritten: Rewritten
    """Query and rewrite."""
    variant: str
    """Variant of the session."""
    propensity: float
    """Probability with which the service served this rewrite: of the variant, times that of the drawn rewrite."""
    version: str
    """Of the rewriter."""
    reason: str = ""
    """Why the original is served; "" where the rewriter or the table decided."""
    assignment: float = 1.0
    """Probability of the variant alone."""


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A query that waits for a rewriter, equal to another of the same version, variant, query and seed."""

    loaded: Loaded
    """Version that it is for."""
    variant: str
    """Variant."""
    query: str
    """Cleaned text."""
    seed: int
    """Of the draw; -1: the best rewrite, no draw."""

    @property
    def key(self) -> tuple[int, str, str, int]:
        """What makes two jobs equal."""
        return id(self.loaded), self.variant, self.query, self.seed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Job) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


class Answerer:
    """Answers queries from what is loaded.

    Args:
        settings: limits.
        metrics: counts answers.
        worker: executor of one thread, in which the rewriter runs.
        trial: assigns sessions; None: all are `BASELINE`.
    """

    def __init__(
        self, settings: ServiceSettings, metrics: Metrics, worker: Executor, trial: Trial | None = None
    ) -> None:
        self.loaded: Loaded | None = None
        self.trial = trial
        self._settings, self._metrics, self._worker = settings, metrics, worker
        self._jobs: Batcher[_Job, tuple[Rewritten, float]] = Batcher(
            _rewrite_batch, worker, settings.queue, settings.max_batch
        )
        self._cache: OrderedDict[_Job, tuple[Rewritten, float]] = OrderedDict()
        self._draws = itertools.count(time.time_ns() % (1 << 40))
        metrics.waiting.labels("rewrite").set_function(self._depth)
        metrics.cached.set_function(self._remembered)

    def _depth(self) -> float:
        return self._jobs.depth

    def _remembered(self) -> float:
        return len(self._cache)

    async def answer(self, text: str, session_id: str = "") -> Answer:
        """The answer to a query as it was typed; never raises."""
        started = time.perf_counter()
        query = clean_query(text)
        variant, probability, loaded = BASELINE, 1.0, self.loaded
        try:
            variant, probability = self._assigned(session_id)
        except Exception as error:
            found = self._failed(query, "assign_error", error)
        else:
            found = await self._found(loaded, query, variant, started)
        chosen, drawn, reason = found
        version = loaded.version if loaded is not None else ""
        answer = Answer(chosen, variant, probability * drawn, version, reason, probability)
        self._shadow(loaded, query, answer)
        self._count(answer, time.perf_counter() - started)
        return answer

    def _shadow(self, loaded: Loaded | None, query: str, answer: Answer) -> None:
        """Let the candidate of a shadow stage rewrite what the baseline answers, and count where they differ."""
        if self.trial is None or loaded is None or answer.reason or self.trial.stage != SHADOW:
            return
        if (
            answer.variant != BASELINE
            or CANDIDATE not in loaded.rewriters
            or 2 * self._jobs.depth > self._settings.queue
        ):
            return
        job = _Job(loaded, CANDIDATE, query, -1)
        future = self._jobs.submit(job) if job not in self._cache else None
        if future is not None:
            future.add_done_callback(_Remember(self, job))
            future.add_done_callback(_Compare(self._metrics, answer.rewritten.rewrite))

    def _assigned(self, session_id: str) -> tuple[str, float]:
        if self.trial is None:
            return BASELINE, 1.0
        assigned = self.trial.assign(session_id)
        return assigned.variant, assigned.propensity

    async def _found(
        self, loaded: Loaded | None, query: str, variant: str, started: float
    ) -> tuple[Rewritten, float, str]:
        if refused := self._refused(loaded, query):
            return original(query), 1.0, refused
        assert loaded is not None
        stage = "rules_error"
        try:
            override = loaded.rules.override(query) if loaded.rules is not None else None
            if override is not None:
                return replace(override, query=query), 1.0, ""
            if variant == HOLDOUT:
                return original(query), 1.0, "holdout"
            stage = "table_error"
            if variant == BASELINE and loaded.table is not None:
                entry = await self._looked_up(loaded, query, started)
                if entry is not None:
                    if not entry.passed:
                        return original(query), 1.0, "guard"
                    stage = "rules_error"
                    return self._ruled(loaded, replace(entry.rewritten, query=query, source="table")), 1.0, ""
        except TimeoutError:
            return original(query), 1.0, "deadline"
        except Exception as error:
            return self._failed(query, stage, error)
        return await self._from_rewriter(loaded, query, variant, started)

    def _refused(self, loaded: Loaded | None, query: str) -> str:
        if loaded is None:
            return "not_ready"
        if not query:
            return "empty"
        return "too_long" if len(query) > self._settings.max_query else ""

    async def _looked_up(self, loaded: Loaded, query: str, started: float) -> Entry | None:
        assert loaded.table is not None
        if not loaded.table_is_remote:
            return loaded.table.look_up([query])[0]
        found = asyncio.get_running_loop().run_in_executor(None, loaded.table.look_up, [query])
        return (await asyncio.wait_for(found, self._left(started)))[0]

    async def _from_rewriter(
        self, loaded: Loaded, query: str, variant: str, started: float
    ) -> tuple[Rewritten, float, str]:
        explores = variant in loaded.choosers
        job = _Job(loaded, variant, query, next(self._draws) if explores else -1)
        if not explores and (known := self._cache.get(job)) is not None:
            self._cache.move_to_end(job)
            return (*known, "")
        future = self._jobs.submit(job)
        if future is None:
            return original(query), 1.0, "queue_full"
        if not explores:
            future.add_done_callback(_Remember(self, job))
        try:
            chosen, drawn = await asyncio.wait_for(asyncio.shield(future), self._left(started))
            return self._ruled(loaded, chosen), drawn, ""
        except TimeoutError:
            return original(query), 1.0, "deadline"
        except Exception as error:
            return self._failed(query, "rewriter_error", error)

    def _left(self, started: float) -> float:
        return max(self._settings.deadline_ms / 1000 - (time.perf_counter() - started), 0.0)

    def _ruled(self, loaded: Loaded, chosen: Rewritten) -> Rewritten:
        return chosen if loaded.rules is None else loaded.rules.apply(chosen, loaded.combine)

    def _failed(self, query: str, reason: str, error: Exception) -> tuple[Rewritten, float, str]:
        log("fallback", reason=reason, error=type(error).__name__, query=query)
        return original(query), 1.0, reason

    def remember(self, job: _Job, result: tuple[Rewritten, float]) -> None:
        """Keep a rewrite for the next time, if its version is still served."""
        if job.loaded is not self.loaded or not self._settings.cache:
            return
        self._cache[job] = result
        self._cache.move_to_end(job)
        while len(self._cache) > self._settings.cache:
            self._cache.popitem(last=False)

    def use(self, loaded: Loaded) -> Loaded | None:
        """Answer from this version from now on; the one before is returned."""
        before, self.loaded = self.loaded, loaded
        self._cache.clear()
        return before

    def _count(self, answer: Answer, seconds: float) -> None:
        source = answer.rewritten.source
        self._metrics.answers.labels(source, answer.variant).inc()
        self._metrics.seconds.labels(source).observe(seconds)
        if answer.rewritten.kept:
            self._metrics.kept.labels(source).inc()
        if answer.reason:
            self._metrics.fallbacks.labels(answer.reason).inc()

    async def close(self) -> None:
        """Wait for the rewrites that are under way."""
        await self._jobs.close()


class _Remember:
    """Callback that puts a finished rewrite into the cache, however late it is."""

    def __init__(self, answerer: Answerer, job: _Job) -> None:
        self._answerer, self._job = answerer, job

    def __call__(self, future: asyncio.Future[tuple[Rewritten, float]]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._answerer.remember(self._job, future.result())


class _Compare:
    """Callback that counts whether a candidate's rewrite differs from the one that was served."""

    def __init__(self, metrics: Metrics, served: str) -> None:
        self._metrics, self._served = metrics, served

    def __call__(self, future: asyncio.Future[tuple[Rewritten, float]]) -> None:
        if future.cancelled() or future.exception() is not None:
            outcome = "error"
        else:
            outcome = "same" if future.result()[0].rewrite == self._served else "different"
        self._metrics.shadow.labels(outcome).inc()


def original(query: str) -> Rewritten:
    """The answer that keeps the query."""
    return Rewritten(query, source="original")


def _rewrite_batch(jobs: Sequence[_Job]) -> list[tuple[Rewritten, float]]:
    """Rewrites of a batch, one call a version and variant. Runs in the worker thread."""
    results: dict[_Job, tuple[Rewritten, float]] = {}
    groups: dict[tuple[int, str, bool], list[_Job]] = {}
    for job in jobs:
        groups.setdefault((id(job.loaded), job.variant, job.seed >= 0), []).append(job)
    for group in groups.values():
        loaded, variant, queries = group[0].loaded, group[0].variant, [job.query for job in group]
        if group[0].seed >= 0:
            drawn = loaded.choosers[variant].choose(queries, [job.seed for job in group])
            made = [
                (replace(rewritten(query, text), source="student", model=loaded.version), probability)
                for query, (text, probability) in zip(queries, drawn, strict=True)
            ]
        else:
            made = [(replace(one, source="student"), 1.0) for one in _rewriter(loaded, variant)(queries)]
        results.update(zip(group, made, strict=True))
    return [results[job] for job in jobs]


def _rewriter(loaded: Loaded, variant: str) -> RewriteMany:
    return loaded.rewriters.get(variant) or loaded.rewriters[BASELINE]


def as_json(answer: Answer, query_id: str) -> JsonDict:
    """The fields of an answer that clients see."""
    one = answer.rewritten
    return {
        "query": one.query,
        "rewrite": one.rewrite,
        "words": [{"word": word.word, "weight": word.weight, "source": word.source} for word in one.words],
        "kept": one.kept,
        "source": one.source,
        "reason": answer.reason,
        "variant": answer.variant,
        "propensity": answer.propensity,
        "query_id": query_id,
        "version": answer.version,
    }
