"""A real HTTP server on loopback that serves a small causal LM as vLLM does: /tokenize, completions, prompt_logprobs.

with ServedModel(model, tokenizer) as server:
    Client(server.url)
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import torch

from agents.policy.rollout import sample


class ServedModel:
    """The server. most: `--max-logprobs`. seen: bodies of all requests."""

    def __init__(self, model: Any, tokenizer: Any, most: int = 10_000) -> None:
        self.model, self.tokenizer, self.most = model, tokenizer, most
        self.seen: list[dict[str, Any]] = []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request."""
        self.seen.append(body)
        if path == "/tokenize":
            return {"tokens": self.tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]}
        rows = [self._ids(prompt) for prompt in body["prompt"]]
        choices = [self.choice(ids, body) | {"index": i} for i, ids in enumerate(rows)]
        return {"choices": choices[::-1]}  # a server owes no order

    def _ids(self, prompt: str | list[int]) -> list[int]:
        return self.tokenizer(prompt, add_special_tokens=False)["input_ids"] if isinstance(prompt, str) else prompt

    def choice(self, ids: list[int], body: dict[str, Any]) -> dict[str, Any]:
        """Text that continues the ids, and the log-probabilities of the ids themselves."""
        eos, generator = self.tokenizer.eos_token_id, torch.Generator().manual_seed(body.get("seed", 0))
        rollout = sample(self.model, [ids], 1, body["max_tokens"], eos, eos, body["temperature"], generator)
        text = self.tokenizer.decode(rollout.completions()[0], skip_special_tokens=True)
        return {"text": text, "prompt_logprobs": self.logprobs(ids, body.get("prompt_logprobs"))}

    def logprobs(self, ids: list[int], top: int | None) -> list[dict[str, Any] | None] | None:
        """One entry a token: the likeliest ones, and the token that is there."""
        if top is None:
            return None
        with torch.no_grad():
            told = self.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(dim=-1)
        entries: list[dict[str, Any] | None] = [None]
        for at, token in enumerate(ids[1:]):
            names = {*told[at].topk(min(top, self.most, told.shape[1])).indices.tolist(), token}
            entries.append({str(name): {"logprob": told[at, name].item()} for name in names})
        return entries


def _handler(outer: ServedModel) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply({"data": [{"id": "toy"}]})  # /v1/models

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.reply(outer.answer(self.path, body))

        def reply(self, answer: dict[str, Any]) -> None:
            reply = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler
