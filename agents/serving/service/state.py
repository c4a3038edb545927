"""What the endpoints share."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from starlette.requests import Request

from agents.serving.service.answer import Answer, Answerer
from agents.serving.service.batching import Batcher
from agents.serving.service.metrics import Metrics
from agents.serving.service.parts import Loaded, Recorder, Trial
from agents.serving.service.reload import Reloader
from agents.serving.service.settings import ServiceSettings
from qr_env.common.privacy import mask_text, pseudonym
from qr_env.common.types import JsonDict
from qr_env.traffic.ubi import ServedQuery

SearchJob = tuple[Loaded, str, str, int]


@dataclass
class ServiceState:
    """Parts of a running service."""

    settings: ServiceSettings
    """Limits."""
    metrics: Metrics
    """Counters."""
    answerer: Answerer
    """Answers queries."""
    searches: Batcher[SearchJob, list[JsonDict]]
    """Searches of the shop's engine: (version, query, rewrite, k) → products."""
    reloader: Reloader
    """Loads versions."""
    recorder: Recorder | None = None
    """Log of queries and events; None keeps none."""
    trial: Trial | None = None
    """A/B test; None: there is none."""
    key: bytes = b""
    """Of the pseudonyms."""
    failure: Exception | None = None
    """What kept the service from its first load."""
    closing: bool = False
    """Whether the service has been told to stop."""

    def record(self, answer: Answer, query_id: str, session: str, client: str, products: list[JsonDict]) -> None:
        """Hand a served query to the log, masked, without waiting for the disk: an event that is acknowledged later
        waits for it."""
        if self.recorder is None:
            return
        one = answer.rewritten
        served = ServedQuery(
            query_id=query_id,
            query=mask_text(one.query),
            session_id=session,
            client_id=client,
            timestamp=time.time(),
            rewrite="" if one.kept else mask_text(one.rewrite),
            variant=answer.variant,
            propensity=answer.propensity,
            assignment=answer.assignment,
            source=one.source,
            product_ids=tuple(str(product["product_id"]) for product in products),
        )
        self.recorder.record_queries([served])
        self.metrics.events.labels("query").inc()

    def identity(self, value: str) -> str:
        """The pseudonym of a client or a session."""
        return pseudonym(value, self.key)


def state_of(request: Request) -> ServiceState:
    """The state of the service that got this request."""
    state: ServiceState = request.app.state.service
    return state


def fresh_query_id() -> str:
    """An id for a query that was sent without one."""
    return uuid.uuid4().hex
