"""Failures of requests to LLM servers: their kind, what the server said, and the way out.

failure = refused(404, "http://127.0.0.1:8000/v1/models", '{"error": "not found"}')
failure.kind, failure.detail, way_out(failure)
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from html import unescape

TRANSIENT, NOT_IMPLEMENTED = {408, 425, 429}, 501
# Kinds without a status that the same request would meet again.
PERMANENT = {"web_page", "tls", "quota"}
SHOWN = 300  # characters of a server's words
KEY_ADVICE = (
    "set QR_JUDGE_KEY to the server's key (QR_JUDGE_HEADERS for any other header; OPENAI_API_KEY goes to OpenAI, Azure "
    "and the own network alone)"
)
WAY_OUT = {
    "connect": "is the judge's server up? `qr judge serve MODEL` starts one",
    "no_host": "check the name in the server's URL",
    "timeout": "raise the `timeout`, or name more servers",
    "tls": "give http:// if the server has no TLS; else name its authority's certificate by SSL_CERT_FILE",
    "proxy": "add the server to NO_PROXY, or correct the proxy's variable",
    "web_page": "this is a web page, perhaps of a login or a proxy: give the base URL of the API, which ends in /v1",
    "bad_json": "this is no OpenAI-compatible API: give the base URL of one, such as http://127.0.0.1:8000/v1",
    "quota": "the account has no credit left",
    "http_401": KEY_ADVICE,
    "http_402": "the account has no credit left",
    "http_403": KEY_ADVICE,
    "http_404": "the server does not know the model or the path: compare with its /v1/models",
    "http_407": "the proxy wants a name and a password: HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT",
    "http_413": "the texts are too long for the server: shorten them (max_product_tokens)",
    **dict.fromkeys(("http_502", "http_503", "http_504"), "the server is starting or overloaded: try again later"),
    "http_429": "the server is too busy: lower the client's concurrency, or name more servers",
}


class Failure(Exception):
    """A failed request or verdict.

    Args:
        kind: a short name, counted in the statistics.
        detail: the message.
        retry_after: seconds that the server asks to wait; None without.
        words: what the server says, which is part of the message.
    """

    def __init__(self, kind: str, detail: str, retry_after: float | None = None, words: str = "") -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail, self.retry_after, self.words = kind, detail, retry_after, words

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        status = self.status
        if status is None:
            return self.kind not in PERMANENT
        return (status >= 500 and status != NOT_IMPLEMENTED) or status in TRANSIENT

    @property
    def is_outage(self) -> bool:
        """Whether the server is down or broken, so that other requests would fail as well."""
        return self.transient and self.kind != "bad_json" and (self.status or 500) >= 500

    @property
    def status(self) -> int | None:
        """HTTP status; None without one."""
        return int(self.kind[5:]) if self.kind.startswith("http_") else None


def way_out(failure: Failure) -> str:
    """What the user can do about a failure; "" where only the server's words tell."""
    if 300 <= (failure.status or 0) < 400:
        return "give the address that the server names"
    return WAY_OUT.get(failure.kind, "")


def with_way_out(failure: Failure) -> str:
    """The failure's message and what to do."""
    advice = way_out(failure)
    return f"{failure}: {advice}" if advice else str(failure)


def refused(status: int, url: str, body: str, headers: Mapping[str, str] | None = None) -> Failure:
    """The failure of an answer with another status than 200."""
    headers = headers or {}
    words = server_words(body)
    if status == 429 and "insufficient_quota" in body:
        return Failure("quota", f"{url}: {words}")
    if moved := headers.get("Location") if 300 <= status < 400 else None:
        words = f"moved to {moved}"
    wait = _seconds(headers.get("Retry-After"))
    if (milliseconds := headers.get("Retry-After-Ms", "")).replace(".", "", 1).isdigit():
        wait = float(milliseconds) / 1000
    return Failure(f"http_{status}", f"{url}: {words or 'an empty answer'}", wait, words)


def server_words(body: str) -> str:
    """What a server says in an error's body, shortened: the message of JSON, the text of a web page."""
    try:
        text = _message(json.loads(body)) or body
    except ValueError:
        text = page_text(body) if is_page(body) else body
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[:SHOWN] + " …"


def is_page(body: str) -> bool:
    """Whether a body is HTML."""
    return re.match(r"\s*(<!--.*?-->\s*)*<(!doctype|html|head|body|\?xml)", body, re.IGNORECASE | re.DOTALL) is not None


def page_text(body: str) -> str:
    """The title of a web page and the text that it shows."""
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", body, flags=re.IGNORECASE | re.DOTALL)
    return f"a web page, {' '.join(unescape(re.sub(r'<[^>]*>', ' ', body)).split())!r:.200}"


def _message(body: object) -> str:
    """The message in an error's JSON: OpenAI's, vLLM's, FastAPI's, Ollama's, …"""
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "; ".join(filter(None, map(_message, body)))
    if isinstance(body, Mapping):
        found = (_message(body[name]) for name in ("error", "message", "detail", "msg", "errors") if name in body)
        text = next(filter(None, found), "")
        place = body.get("loc")
        return f"{'.'.join(map(str, place))}: {text}" if text and isinstance(place, list) else text
    return ""


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds: a number or a date (RFC 9110, 10.2.3); None if it is absent or invalid."""
    if not retry_after:
        return None
    try:
        return max(float(retry_after), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
