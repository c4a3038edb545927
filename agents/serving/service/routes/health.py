"""`GET /health`, `/ready`, `/metrics`, `/experiment`."""

from __future__ import annotations

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from agents.serving.service.limits import json_response
from agents.serving.service.state import state_of
from qr_env.evaluation.result import plain_json


async def health(request: Request) -> Response:
    """200 as long as the process answers."""
    return json_response({"status": "ok"})


async def ready(request: Request) -> Response:
    """200 once everything has been loaded and has answered a query; 503 before, and while the service stops."""
    state = state_of(request)
    loaded = state.answerer.loaded
    if loaded is None or state.closing:
        return json_response({"ready": False}, 503)
    return json_response({"ready": True, "version": loaded.version, "table": loaded.table_version})


async def metrics(request: Request) -> Response:
    """All counters, for Prometheus."""
    state = state_of(request)
    if state.trial is not None:
        state.metrics.stage.info({"stage": state.trial.stage})
    return Response(state.metrics.text(), media_type=CONTENT_TYPE_LATEST)


async def experiment(request: Request) -> Response:
    """Stage, counts and verdict of the A/B test; {"stage": "none"} without one."""
    trial = state_of(request).trial
    values = await asyncio.to_thread(trial.state) if trial is not None else {"stage": "none"}
    return json_response(plain_json(values))
