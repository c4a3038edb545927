"""A real HTTP server on loopback that serves a small causal LM as vLLM does: /tokenize, completions, prompt_logprobs.

with ServedModel(model, tokenizer) as server:
    Client(server.url)
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agents.policy.rollout import sample
from tests.helpers.loopback_server import LoopbackServer


class ServedModel(LoopbackServer):
    """The server.

    Args:
        model: a causal LM.
        tokenizer: its tokenizer.
        max_logprobs: most log-probabilities of one token, as vLLM's `--max-logprobs`.

    `seen` lists the bodies of all requests.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_logprobs: int = 10_000) -> None:
        self.model, self.tokenizer, self.max_logprobs = model, tokenizer, max_logprobs
        self.seen: list[dict[str, Any]] = []
        super().__init__(_handler(self))
        self.url = f"http://{self.host}/v1"

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request."""
        self.seen.append(body)
        if path == "/tokenize":
            return {"tokens": self.tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]}
        rows = [self._ids(prompt) for prompt in body["prompt"]]
        choices = [self.choice(ids, body) | {"index": i} for i, ids in enumerate(rows)]
        return {"choices": choices[::-1]}  # the order of choices is not guaranteed

    def _ids(self, prompt: str | list[int]) -> list[int]:
        return self.tokenizer(prompt, add_special_tokens=False)["input_ids"] if isinstance(prompt, str) else prompt

    def choice(self, ids: list[int], body: dict[str, Any]) -> dict[str, Any]:
        """A sampled continuation of the ids, and the log-probabilities of the ids."""
        eos, generator = self.tokenizer.eos_token_id, torch.Generator().manual_seed(body.get("seed", 0))
        rollout = sample(self.model, [ids], 1, body["max_tokens"], eos, eos, body["temperature"], generator)
        text = self.tokenizer.decode(rollout.completions()[0], skip_special_tokens=True)
        return {"text": text, "prompt_logprobs": self.logprobs(ids, body.get("prompt_logprobs"))}

    def logprobs(self, ids: list[int], top: int | None) -> list[dict[str, Any] | None] | None:
        """One entry a token: the most probable tokens and the actual one."""
        if top is None:
            return None
        with torch.no_grad():
            logprobs = self.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(dim=-1)
        entries: list[dict[str, Any] | None] = [None]
        for at, token in enumerate(ids[1:]):
            names = {*logprobs[at].topk(min(top, self.max_logprobs, logprobs.shape[1])).indices.tolist(), token}
            entries.append({str(name): {"logprob": logprobs[at, name].item()} for name in names})
        return entries


def _handler(outer: ServedModel) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply({"data": [{"id": "toy"}]})  # /v1/models

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if "prompt" in body:
                self.reply(outer.answer(self.path, body))
            else:
                self.reply({"error": {"message": f"{self.path} is not served, only /v1/completions"}}, 404)

        def reply(self, answer: dict[str, Any], status: int = 200) -> None:
            reply = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler
