"""Base URLs of OpenAI-compatible servers as people paste them.

    address = Address.parse("localhost:8000/v1/chat/completions")
    address.bases            # ("http://localhost:8000/v1", "http://localhost:8000"), in the order of trying
    address.url(address.bases[0], "/models")

A URL with a path is tried as it is, then with /v1 behind it, then with /v1 in its place (Ollama's is beside /api); a
bare host with /v1 first. One that ends in a version (/v1, /v1beta) is tried as it is, then without. What follows the
base (/chat/completions, /models, …) is left out, a query string (`?api-version=…` of Azure) is sent with every request,
and a missing scheme is http for a host with a port or of the own network, else https.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit

from qr_env.common.errors import ConfigError

EXAMPLE = "http://127.0.0.1:8000/v1"
# What stands behind the base: of OpenAI's API, of vLLM, of Ollama.
ENDINGS = re.compile(
    r"(/chat/completions|/completions|/embeddings|/responses|/models|(?<=/v1)/models/.+|/health|/version|/metrics|/docs"
    r"|/(de)?tokenize|/api/(chat|generate|tags))$"
)
BESIDE = ("/version", "/tokenize", "/detokenize", "/metrics")
VERSION = re.compile(r"/v\d+[a-z0-9]*$")
AZURE = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server may be."""

    bases: tuple[str, ...]
    """base URLs to try, the likeliest first; without a query string"""
    query: str
    """query string of every request, "" without one"""
    host: str
    """name or number of the host"""

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address that a text means. Raises ConfigError for one that is no URL of a server."""
        parts = _split(text)
        path = re.sub(r"/{2,}", "/", parts.path).rstrip("/")
        path = ENDINGS.sub("", path).rstrip("/")
        host = (parts.hostname or "").lower()
        origin = f"{parts.scheme}://{parts.netloc}"
        return cls(tuple(origin + each for each in _paths(path, host)), parts.query, host)

    def url(self, base: str, path: str) -> str:
        """The URL of a path of the API; vLLM's own ones stand beside /v1."""
        if path in BESIDE:
            base = VERSION.sub("", base)
        return base + path + (f"?{self.query}" if self.query else "")

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.bases[0])
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    @property
    def loopback(self) -> bool:
        """Whether the host is this machine."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        number = _number(self.host)
        return number is not None and (number.is_loopback or number.is_unspecified)

    @property
    def own_network(self) -> bool:
        """Whether the host is this machine or in a private network, by its name or number."""
        number = _number(self.host)
        if number is not None:
            return number.is_private or number.is_loopback
        return "." not in self.host or self.host.endswith((".local", ".internal", ".lan", ".localhost"))

    @property
    def azure(self) -> bool:
        """Whether Azure serves it, which takes a key in another header."""
        return self.host.endswith(AZURE) or "api-version=" in self.query

    @property
    def openai(self) -> bool:
        """Whether OpenAI serves it."""
        return self.host == "openai.com" or self.host.endswith(".openai.com")


def shown(url: str) -> str:
    """A URL without the name, password or keys in it, for messages."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        parts = parts._replace(netloc="…@" + parts.netloc.rpartition("@")[2])
    if parts.query:
        pairs = [(name, value if name == "api-version" else "…") for name, value in parse_qsl(parts.query)]
        parts = parts._replace(query="&".join(f"{name}={value}" for name, value in pairs))
    return parts.geturl()


def _paths(path: str, host: str) -> tuple[str, ...]:
    """Paths of the base to try, in order."""
    if host.endswith(AZURE) and path in ("", "/openai"):
        return ("/openai/v1", "/openai")
    if not path:
        return ("/v1", "")
    if VERSION.search(path):
        return (path, VERSION.sub("", path))
    return (path, path + "/v1", "/v1")


def _split(text: str) -> SplitResult:
    """The parts of a URL with a scheme, a host and a valid port."""
    given = text.strip().strip("<>\"'` ")
    if re.search(r"\s", given):
        raise ConfigError(f"{text!r} is no base URL of a server: it holds a blank; give one such as {EXAMPLE}")
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", given):
        given = _with_scheme(given.removeprefix("//"))
    try:
        parts = urlsplit(given)
        port = parts.port  # raises ValueError for one that is no number
    except ValueError as error:
        raise ConfigError(
            f"{shown_text(text)!r} is no base URL of a server ({error}); give one such as {EXAMPLE}"
        ) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigError(
            f"{shown_text(text)!r} is no base URL of a server: give one such as {EXAMPLE}, with http or https"
        )
    return parts


def _with_scheme(given: str) -> str:
    """http for a host with a port or of the own network, as model servers have it; else https."""
    host, _, port = given.partition("/")[0].rpartition("@")[2].partition(":")
    own = bool(port) or given.startswith("[") or Address((), "", host.lower()).own_network
    return f"{'http' if own else 'https'}://{given}"


def shown_text(text: str) -> str:
    """A text that is no URL, without a password in it."""
    return re.sub(r"(?<=/)[^/@\s]*@", "…@", text)


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address of a host that is given by its number."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
