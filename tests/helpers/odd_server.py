"""A server on loopback that differs from vLLM in ways in which other people's servers do.

    with OddServer(prefix="/v1beta/openai", limit=5) as server:
        judge = LLMJudge(server.url)

`answer(request)` can be replaced for anything else. The model grades every product as Exact, with probability 0.5.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from qr_env.llm.capabilities import Capabilities, probe_capabilities
from qr_env.llm.client import Client
from tests.helpers.loopback_server import LoopbackServer

LETTERS = "ESCIBADXYZKLMNOPQRTU"


@dataclass
class Request:
    """What a client sent."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Answer:
    """What the server sends: JSON unless the body is a text."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def refusal(status: int, message: str, **headers: str) -> Answer:
    """OpenAI's form of an error."""
    return Answer(status, {"error": {"message": message}}, {name.replace("_", "-"): v for name, v in headers.items()})


class OddServer(LoopbackServer):
    """The server.

    prefix: path of the API. models: names that it lists; None: it has no list. limit: log-probabilities that it sends;
    more are refused with `limit_message`, 0 sends none. check: returns an answer that refuses a chat request, or None.
    says: text of every answer; None: "E".
    """

    def __init__(
        self,
        prefix: str = "/v1",
        models: tuple[str, ...] | None = ("m",),
        limit: int = 20,
        limit_message: str = "Cannot request more than {limit} logprobs.",
        check: Callable[[Request], Answer | None] | None = None,
        says: str | None = None,
        answer: Callable[[Request], Answer] | None = None,
    ) -> None:
        self.prefix, self.models, self.limit, self.limit_message = prefix, models, limit, limit_message
        self.check, self.says, self.seen = check, says, list[Request]()
        self.answer = answer or self.respond
        super().__init__(_handler(self))
        self.url = f"http://{self.host}{prefix}"

    def asked(self) -> list[dict[str, Any]]:
        """Bodies of the requests for text."""
        return [request.body for request in self.seen if request.path.endswith("/completions")]

    def respond(self, request: Request) -> Answer:
        """The ordinary answer."""
        if request.path == self.prefix + "/models" and self.models is not None:
            return Answer(body={"data": [{"id": name} for name in self.models]})
        if request.path != self.prefix + "/chat/completions":
            return refusal(404, f"no {request.path} here")
        if self.check is not None and (refused := self.check(request)) is not None:
            return refused
        top = request.body.get("top_logprobs") or 0
        if top > self.limit > 0:
            return refusal(400, self.limit_message.format(limit=self.limit))
        return Answer(body=self.chat(request.body, top if self.limit else 0))

    def chat(self, body: dict[str, Any], top: int) -> dict[str, Any]:
        """A reply of the chat API with `top` log-probabilities."""
        text = self.says or ('{"grade": "E"}' if '{"grade"' in str(body["messages"]) else "E")
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}}
        if body.get("logprobs") and top:
            likely = [{"token": t, "logprob": math.log(0.5 / 2**n)} for n, t in enumerate(LETTERS[:top])]
            choice["logprobs"] = {"content": [{"token": "E", "logprob": math.log(0.5), "top_logprobs": likely}]}
        return {"model": "m-2026", "choices": [choice | {"finish_reason": "stop"}]}


def probe(url: str, model: str | None = None, **options: Any) -> Capabilities:
    """What a probe finds at a URL. options: of the client."""
    with Client(url, **{"backoff": 0.002, "patience": 2.0, "timeout": 20, **options}) as client:
        return probe_capabilities(client, client.endpoints[0], model)


def streamed(reply: dict[str, Any]) -> Answer:
    """A chat reply as server-sent events, one character each."""
    choice = reply["choices"][0]
    parts = [{"index": 0, "delta": {"content": letter}} for letter in choice["message"]["content"]]
    parts[0]["logprobs"] = choice.get("logprobs")
    parts.append({"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]})
    events = [": keep-alive"] + [f"data: {json.dumps({'model': reply['model'], 'choices': [part]})}" for part in parts]
    return Answer(body="\n\n".join([*events, "data: [DONE]", ""]), headers={"Content-Type": "text/event-stream"})


def _handler(outer: OddServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply({})

        def do_POST(self) -> None:
            self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def reply(self, body: dict[str, Any]) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, parts.path, parts.query, headers, body)
            outer.seen.append(request)
            answer = outer.answer(request)
            data = (answer.body if isinstance(answer.body, str) else json.dumps(answer.body)).encode()
            with contextlib.suppress(OSError):
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
