"""One HTTP exchange with an LLM server: connections, proxies, headers; JSON out of whatever comes back, or a `Failure`.

    transport = Transport(addresses, timeout=120.0, connections=64)
    transport.exchange("POST", address, url, {"model": "m", "prompt": "hello"})

Proxies are those of HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; a server on this machine is asked without any.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import urllib.request
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from qr_env.common.errors import ConfigError
from qr_env.llm.address import Address, shown
from qr_env.llm.failures import Failure, is_page, page_text, refused
from qr_env.llm.headers import headers_for
from qr_env.llm.streams import is_stream, joined

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 10.0


class Transport:
    """Connections to servers, opened at the first exchange.

    Args:
        addresses: of the servers.
        api_key: the key; None reads the environment (`qr_env.llm.headers`).
        timeout: seconds without an answer after which an exchange has failed.
        connections: open at once, over all servers.
    """

    def __init__(self, addresses: Sequence[Address], api_key: str | None, timeout: float, connections: int) -> None:
        self.timeout, self.connections = timeout, connections
        self._headers = {address: headers_for(address, api_key) for address in addresses}
        self._secrets = [value for headers in self._headers.values() for value in headers.values() if len(value) > 7]
        self._proxy = {address: proxy_of(address) for address in addresses}
        self._lock = threading.Lock()
        self._http: httpx.Client | None = None

    def exchange(self, method: str, address: Address, url: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        """The JSON object of the answer. Raises Failure."""
        with _failures(shown(url), shown(self._proxy[address])):
            response = self._connections().request(method, url, json=body, headers=self._headers[address])
        text = self._without_secrets(response.text.removeprefix("\ufeff"))
        if response.status_code != 200:
            raise refused(response.status_code, shown(url), text, response.headers)
        return _reply(shown(url), text, response.headers.get("Content-Type", ""))

    def close(self) -> None:
        """Close all connections; the next exchange opens new ones."""
        with self._lock:
            http, self._http = self._http, None
        if http is not None:
            http.close()

    def _without_secrets(self, text: str) -> str:
        """The text without keys that a server repeats, which would stand in messages and logs."""
        for secret in self._secrets:
            text = text.replace(secret.removeprefix("Bearer "), "…")
        return text

    def _connections(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._http is None:
                limits = httpx.Limits(max_connections=self.connections, max_keepalive_connections=self.connections)
                timeout = httpx.Timeout(self.timeout, connect=min(self.timeout, CONNECT_SECONDS))
                certificates = httpx.create_ssl_context()
                mounts = {
                    address.origin: _proxied(address, proxy, certificates, limits)
                    for address, proxy in self._proxy.items()
                    if proxy
                }
                self._http = httpx.Client(
                    limits=limits, timeout=timeout, mounts=mounts, verify=certificates, trust_env=False
                )
                weakref.finalize(self, self._http.close)  # of a client that is never closed
            return self._http


def proxy_of(address: Address) -> str:
    """URL of the proxy that the environment names for a server; "" for none, and for a server on this machine."""
    host = address.origin.rpartition("/")[2]
    if address.loopback or urllib.request.proxy_bypass(host):
        return ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(address.origin.partition(":")[0]) or proxies.get("all") or ""
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"


def _proxied(address: Address, proxy: str, certificates: ssl.SSLContext, limits: httpx.Limits) -> httpx.HTTPTransport:
    """Connections through a proxy. Raises ConfigError for one that cannot be used."""
    import httpx

    where = f"the proxy {shown(proxy)} of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY"
    try:
        return httpx.HTTPTransport(proxy=httpx.Proxy(proxy), verify=certificates, limits=limits)
    except ImportError as error:
        raise ConfigError(
            f"{where} needs a package for SOCKS: pip install 'httpx[socks]', or leave it aside with "
            f"NO_PROXY={address.host}"
        ) from error
    except (ValueError, httpx.InvalidURL) as error:
        raise ConfigError(f"{where} cannot be used ({error}): correct it, or set NO_PROXY={address.host}") from error


def _reply(url: str, text: str, content_type: str) -> dict[str, Any]:
    """The JSON object in an answer with status 200. Raises Failure where there is none, or it holds an error."""
    try:
        reply = joined(text) if is_stream(text, content_type) else json.loads(text)
    except ValueError as error:
        if is_page(text):
            raise Failure("web_page", f"{url}: {page_text(text)}") from error
        raise Failure("bad_json", f"{url}: {text[:100]!r}") from error
    if isinstance(reply, list) and urlsplit(url).path.endswith("/models"):
        return {"data": reply}  # Together's list of models
    if not isinstance(reply, dict):
        raise Failure("bad_json", f"{url}: no JSON object, {text[:100]!r}")
    if (fault := reply.get("error")) and not reply.keys() & {"choices", "data"}:  # LM Studio, OpenRouter
        code = fault.get("code") if isinstance(fault, dict) else None
        raise refused(code if isinstance(code, int) and 400 <= code < 600 else 400, url, text)
    return reply


@contextmanager
def _failures(url: str, proxy: str) -> Iterator[None]:
    """Turn exceptions of httpx into Failures: not reachable, dropped, or too slow, which are retried differently."""
    import httpx

    via = f" through the proxy {proxy}" if proxy else ""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL) as error:
        raise Failure(_connect_kind(str(error)), f"{url}{via}: {error or type(error).__name__}") from error
    except httpx.ProxyError as error:
        raise Failure("proxy", f"{url}{via}: {error}") from error
    except httpx.TimeoutException as error:
        raise Failure("timeout", f"{url}{via}: {type(error).__name__}") from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise Failure("reset", f"{url}{via}: {error!r}") from error


def _connect_kind(message: str) -> str:
    """What kept a connection from being made."""
    if re.search("ssl|certificate", message, re.IGNORECASE):
        return "tls"
    return "no_host" if re.search("not known|nodename nor|No address", message) else "connect"
