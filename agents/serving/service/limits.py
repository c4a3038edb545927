"""Reading requests of unknown clients: size, time and depth are bounded, and every refusal is a short JSON answer."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.serving.service.logs import log
from agents.serving.service.metrics import Metrics
from agents.serving.service.settings import ServiceSettings
from qr_env.common.types import JsonDict

OPEN_PATHS = ("/health", "/ready")  # asked by load balancers, which hold no token
DRAINED = 32 << 20  # bytes of a refused body that are read, so that the client sees the refusal


def json_response(values: object, status: int = 200) -> Response:
    """A JSON answer. Raises ValueError for NaN and infinity, which JSON does not have."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "replace"), status, media_type="application/json")


async def read_body(request: Request, settings: ServiceSettings) -> bytes:
    """The body of a request.

    Raises:
        HTTPException: 413, it is too large; 408, the client is too slow; 400, it hung up.
    """
    parts, size = [], 0
    try:
        async with asyncio.timeout(settings.read_seconds):
            async for part in request.stream():
                size += len(part)
                if size <= settings.max_body:
                    parts.append(part)
                elif size > DRAINED:
                    break
    except TimeoutError as error:
        raise HTTPException(408, "the body did not arrive in time", {"connection": "close"}) from error
    if size > settings.max_body:
        raise HTTPException(413, f"the body is larger than {settings.max_body} bytes", {"connection": "close"})
    return b"".join(parts)


async def read_json(request: Request, settings: ServiceSettings) -> Any:
    """The decoded body of a request. Raises HTTPException 400 where it is no JSON in UTF-8, besides `read_body`'s."""
    return decoded(await read_body(request, settings))


def decoded(body: bytes) -> Any:
    """A JSON value; HTTPException 400 where it is none, too deep, or holds a number of thousands of digits."""
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the body is not JSON in UTF-8") from error


async def read_object(request: Request, settings: ServiceSettings) -> JsonDict:
    """As `read_json`, for a body that must be an object."""
    values = await read_json(request, settings)
    if not isinstance(values, dict):
        raise HTTPException(422, "the body must be a JSON object")
    return values


def text_of(values: JsonDict, name: str, default: str | None = None, longest: int = 100_000) -> str:
    """A text field; HTTPException 422 where it is missing without a default, of another type or too long."""
    value = values.get(name, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise HTTPException(422, f"{name} must be a text")
    if len(value) > longest:
        raise HTTPException(422, f"{name} is longer than {longest} characters")
    return value


def count_of(values: JsonDict, name: str, default: int, largest: int) -> int:
    """A whole number from 1 to `largest`; HTTPException 422 for any other value."""
    value = values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
        raise HTTPException(422, f"{name} must be a whole number from 1 to {largest}")
    return value


class Guard:
    """ASGI middleware: asks for the token, bounds the time of an answer, counts requests, and answers every error that
    nothing else caught with 500 and no word of what it was."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app, self._settings, self._metrics, self._paths = app, settings, metrics, paths
        self._token = settings.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else "other"
        sender = _Sender(send, self._settings.write_seconds)
        started = time.perf_counter()
        try:
            if self._allowed(scope):
                await self._app(scope, receive, sender)
            else:
                await _answer(sender, 401, "a valid token is needed: Authorization: Bearer …")
        except Exception as error:
            log("error", path=path, error=type(error).__name__)
            if not sender.status:
                await _answer(sender, 500, "internal error")
        finally:
            self._metrics.requests.labels(path, str(sender.status)).inc()
            if sender.status >= 500 and path not in OPEN_PATHS:
                log("request", path=path, status=sender.status, ms=round((time.perf_counter() - started) * 1e3, 1))

    def _allowed(self, scope: Scope) -> bool:
        if not self._token or scope["path"] in OPEN_PATHS:
            return True
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(given, b"Bearer " + self._token)


class _Sender:
    """Passes an answer on, remembers its status, and gives up on clients that do not take it."""

    def __init__(self, send: Callable[[Message], Awaitable[None]], seconds: float) -> None:
        self._send, self._seconds = send, seconds
        self.status = 0

    async def __call__(self, message: Message) -> None:
        """Send one message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        async with asyncio.timeout(self._seconds):
            await self._send(message)


async def _answer(send: Send, status: int, text: str) -> None:
    body = json.dumps({"error": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
