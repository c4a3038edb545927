"""Limits and times of the service."""

from __future__ import annotations

from dataclasses import dataclass

from qr_env.common.errors import ConfigError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class ServiceSettings:
    """What the service allows. Raises ConfigError for a value that is out of range."""

    deadline_ms: float = 50.0
    """Time for a rewrite, from the arrival of the request; the original is served after it."""
    max_batch: int = 32
    """Queries that the rewriter is given at once at most."""
    queue: int = 64
    """Queries that wait for the rewriter at most; the next one is answered with the original at once."""
    max_query: int = 300
    """Characters of a query that is rewritten; longer ones are served as they are."""
    max_body: int = 1 << 20
    """Bytes of a request's body; larger ones are refused with 413."""
    max_k: int = 100
    """Products a list at most."""
    max_lines: int = 1000
    """Events or queries a request at most."""
    cache: int = 20_000
    """Rewrites that are remembered; 0 remembers none."""
    read_seconds: float = 5.0
    """Time in which a client must have sent its headers, then its body."""
    write_seconds: float = 10.0
    """Time in which a client must have taken an answer."""
    connections: int = 1000
    """Connections at once; further ones are closed."""
    token: str = ""
    """Secret that clients send as `Authorization: Bearer …`; "" asks for none."""

    def __post_init__(self) -> None:
        positive = {
            "max_batch": 1, "queue": 1, "max_query": 1, "max_body": 1024, "max_k": 1, "max_lines": 1, "connections": 1
        }  # fmt: skip
        for name, lowest in positive.items():
            if getattr(self, name) < lowest:
                raise ConfigError(f"{name}={getattr(self, name)}: must be {lowest} or more")
        for name in ("deadline_ms", "read_seconds", "write_seconds"):
            if not 0 < getattr(self, name) < 1e6:
                raise ConfigError(f"{name}={getattr(self, name)}: must be above 0 and below a million")
        if self.cache < 0:
            raise ConfigError(f"cache={self.cache}: must be 0 or more")


def check_reach(host: str, token: str) -> None:
    """Raise ConfigError if a service that others can reach asks for no token."""
    if host not in LOOPBACK and not token:
        raise ConfigError(
            f"host={host!r}: others could query the service and send events; name a token_file (or QR_SERVE_TOKEN), or "
            "stay on 127.0.0.1"
        )
