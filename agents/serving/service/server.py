"""The application on uvicorn, with limits on clients that uvicorn does not have.

uvicorn waits for ever for the headers of a connection. `LimitedProtocol` closes a connection that has not sent whole
headers after `read_seconds`, that sends more than `MAX_HEADER` bytes of them, or that is one too many.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agents.serving.service.settings import ServiceSettings
from qr_env.common.errors import ConfigError

MAX_HEADER = 64 << 10
KEEP_ALIVE = 30  # seconds that an idle connection is kept
GRACE = 15  # seconds in which requests under way are finished at a stop


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with bounds on the time, the size and the number of requests' headers."""

    read_seconds = 5.0
    connections_at_most = 1000

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection, or close it at once where there are too many."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = self.loop.call_later(self.read_seconds, self._too_slow)
        if len(self.connections) > self.connections_at_most:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, unless it is too much for headers."""
        if self._head_timer is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_timer is not None and self._head_bytes > MAX_HEADER:
            self._too_slow()

    def on_message_begin(self) -> None:
        """Begin to time the headers of a further request on this connection."""
        super().on_message_begin()
        if self._head_timer is None:
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(self.read_seconds, self._too_slow)

    def on_headers_complete(self) -> None:
        """The application takes over, with time limits of its own."""
        self._stop_timer()
        super().on_headers_complete()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()


def run(app: ASGIApp, settings: ServiceSettings, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; then accept nothing more, finish what is under way, and return."""
    limited = type(
        "Limited",
        (LimitedProtocol,),
        {"read_seconds": settings.read_seconds, "connections_at_most": settings.connections},
    )
    config = uvicorn.Config(
        app, http=limited, ws="none", log_config=None, access_log=False, server_header=False, proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=GRACE, lifespan="on",
    )  # fmt: skip
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, _stopped)  # uvicorn raises the signal again once it has stopped
    uvicorn.Server(config).run(sockets=[listener])


def _stopped(number: int, frame: FrameType | None) -> None:
    """The service has ended as it was told."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, bound before anything is loaded. Raises ConfigError where host and port cannot be had."""
    if not 0 <= port < 1 << 16:
        raise ConfigError(f"port={port}: must be from 0, which takes a free one, to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"host={host!r}: {error}; name an address of this machine") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ConfigError(f"host={host!r}, port={port}: {error}; name others (port=0 takes a free one)") from error
    return listener


def address_of(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    name: Any = listener.getsockname()
    return f"http://[{name[0]}]:{name[1]}" if ":" in name[0] else f"http://{name[0]}:{name[1]}"
