"""A language model behind an OpenAI-compatible server as a writer of rewrites: `agents.prompted.generation.Writer` over HTTP.

    writer = ServerWriter("http://127.0.0.1:8000/v1")       # several servers of one model: URLs with commas between

Retries, breakers and the key are `qr_env.llm.client.Client`'s; what the server can do is proven by `qr_env.llm.capabilities`.
Where it was proven to enforce a JSON schema, a rewrite is asked for as {"rewrite": …}.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cached_property
from typing import Any

from qr_env.common.errors import ConfigError
from qr_env.llm.capabilities import Capabilities, body, prove
from qr_env.llm.client import Client, Failure
from qr_env.llm.replies import read_choice

LONGEST = 200  # characters of a rewrite
SCHEMA = {
    "type": "object",
    "properties": {"rewrite": {"type": "string", "maxLength": LONGEST}},
    "required": ["rewrite"],
    "additionalProperties": False,
}
FATAL = ("http_401", "http_403", "http_404", "breaker", "stopped")  # no other prompt would fare better


class ServerWriter:
    """The only model of one server, or of several alike. Nothing is asked before there is something to write, but for
    what the server is: its model names the texts in a store."""

    def __init__(self, url: str, chat: bool = True, **options: Any) -> None:
        """chat: False has the model continue the prompt as text, up to the next blank line, which suits a prompt with
        examples; a server other than vLLM may know chat alone, and is then asked so. options: of `Client`."""
        self.client, self.chat = Client(url, **options), chat

    @cached_property
    def server(self) -> Capabilities:
        """What all servers can do. Raises JudgeError where one cannot be used, ConfigError where they differ."""
        found = [prove(self.client, endpoint.url, None) for endpoint in self.client.endpoints]
        alike = {(server.model, server.root, server.api, server.version, server.json) for server in found}
        if len(alike) > 1:
            raise ConfigError(f"the servers differ in model, API, version or JSON: {sorted(alike)}; name equal ones")
        return found[0]

    @property
    def name(self) -> str:
        """As the server calls its model."""
        return self.server.model

    @property
    def api(self) -> str:
        """ "chat" or "completions"."""
        continues = not self.chat and bool(self.server.version)
        return "completions" if continues else self.server.api

    @property
    def json(self) -> bool:
        """Whether a reply can be held to a schema: an answer can, the continuation of examples is none."""
        return self.server.json and self.api == self.server.api

    @property
    def settings(self) -> dict[str, Any]:
        """Revision where the server tells one, API and decoding."""
        return {"decoding": "greedy", "root": self.server.root, "api": self.api, "json": self.json}

    def write(self, prompts: Sequence[str], tokens: int, schema: bool) -> Generator[tuple[int, str, str], None, None]:
        """See `agents.prompted.generation.Writer`. Raises ConfigError where the server refuses for good."""
        if not prompts:
            return
        options: dict[str, Any] = {"max_tokens": tokens}
        if self.api != self.server.api:
            options["stop"] = ["\n\n"]  # between examples
        if schema and self.json:
            wanted = {"name": "rewrite", "strict": True, "schema": SCHEMA}
            options["response_format"] = {"type": "json_schema", "json_schema": wanted}
        answers = self.client.run(lambda job: (job[0], *self._one(job[1], options)), enumerate(prompts))
        try:
            yield from answers
        finally:
            answers.close()

    def _one(self, prompt: str, options: dict[str, Any]) -> tuple[str, str]:
        """(text, "") or ("", kind of failure). The prompt's beginning is what requests share in a cache."""
        path, request = body(self.api, bool(self.server.version), self.server.model, prompt, **options)
        try:
            return read_choice(self.client.post(path, request, affinity=prompt[:64]))[0], ""
        except Failure as failure:
            if failure.kind in FATAL:
                raise ConfigError(f"{failure}: see to the server, then run again: nothing is asked twice") from failure
            return "", failure.kind
