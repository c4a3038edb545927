"""`POST /events` and `POST /queries`: lines of User Behavior Insights, from a shop's front end or its engine.

A body is one line as an object, a list of lines, {"events": […]} or {"queries": […]}, or NDJSON. The answer,
{"recorded": N}, comes when the lines are on disk: a client that gets none sends them again, with the same `event_id`s,
which count once. All lines of a request are recorded, or none: 422 names the first bad one.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from agents.serving.service.limits import decoded, json_response, read_body
from agents.serving.service.logs import log
from agents.serving.service.state import ServiceState, state_of
from qr_env.common.privacy import mask_text
from qr_env.common.types import JsonDict
from qr_env.traffic.ubi import ServedQuery, ShopperEvent, parse_event, parse_query

LONGEST = {"query": 2000, "rewrite": 2000}  # characters; of every other text 200
MOST_PRODUCTS = 1000
Line = TypeVar("Line", ServedQuery, ShopperEvent)


async def events(request: Request) -> Response:
    """Record what shoppers did."""
    state = state_of(request)
    lines = [_own(state, line) for line in await _lines(request, state, "events", parse_event)]
    if state.recorder is not None:
        await _durable(state.recorder.record_events(lines))
    for line in lines:
        state.metrics.events.labels(line.action).inc()
    return json_response({"recorded": len(lines)})


async def queries(request: Request) -> Response:
    """Record queries that another engine answered, with the products that it showed."""
    state = state_of(request)
    lines = [_own(state, line) for line in await _lines(request, state, "queries", parse_query)]
    masked = [dataclasses.replace(line, query=mask_text(line.query), rewrite=mask_text(line.rewrite)) for line in lines]
    if state.recorder is not None:
        await _durable(state.recorder.record_queries(masked))
    state.metrics.events.labels("query").inc(len(lines))
    return json_response({"recorded": len(lines)})


async def _durable(written) -> None:  # type: ignore[no-untyped-def]
    try:
        await written
    except OSError as error:
        log("error", path="log", error=type(error).__name__)
        raise HTTPException(503, "the log cannot be written; send the lines again", {"retry-after": "5"}) from error


async def _lines(request: Request, state: ServiceState, name: str, parse: Callable[[JsonDict], Line]) -> list[Line]:
    if state.recorder is None:
        raise HTTPException(409, "the service was started without a log")
    body = await read_body(request, state.settings)
    if "ndjson" in request.headers.get("content-type", ""):
        found = [decoded(line) for line in body.splitlines() if line.strip()]
    else:
        found = decoded(body)
        found = found.get(name, found) if isinstance(found, dict) else found
        found = [found] if isinstance(found, dict) else found
    if not isinstance(found, list) or len(found) > state.settings.max_lines:
        raise HTTPException(422, f"the body must hold at most {state.settings.max_lines} lines")
    return [_parsed(values, at, parse) for at, values in enumerate(found)]


def _parsed(values: object, at: int, parse: Callable[[JsonDict], Line]) -> Line:
    try:
        if not isinstance(values, dict):
            raise ValueError("not an object")
        line = parse(values)
        _check(line)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
        raise HTTPException(422, f"line {at + 1}: {mask_text(str(error))[:200]}") from error
    return line if line.timestamp else dataclasses.replace(line, timestamp=time.time())


def _check(line: ServedQuery | ShopperEvent) -> None:
    """Raise ValueError for a value that cannot be written, or that is far from any that a shop has."""
    for field in dataclasses.fields(line):
        value = getattr(line, field.name)
        if isinstance(value, str):
            value.encode("utf-8")  # refuses halves of surrogate pairs
            if len(value) > LONGEST.get(field.name, 200):
                raise ValueError(f"{field.name} is too long")
        elif isinstance(value, tuple) and (len(value) > MOST_PRODUCTS or any(len(one) > 200 for one in value)):
            raise ValueError(f"{field.name} holds too much")
        elif isinstance(value, int | float) and not abs(value) < 1e12 and not _unknown_price(field.name, value):
            raise ValueError(f"{field.name} is out of range")


def _unknown_price(name: str, value: float) -> bool:
    return name == "price" and math.isnan(value)


def _own(state: ServiceState, line: Line) -> Line:
    """The line with pseudonyms for client and session, as served queries have them."""
    session = line.session_id or line.client_id
    return dataclasses.replace(line, session_id=state.identity(session), client_id=state.identity(line.client_id))
