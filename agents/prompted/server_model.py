"""A language model behind an OpenAI-compatible server that answers prompts
(`agents.prompted.language_model.LanguageModel`).

    model = ServerModel("http://127.0.0.1:8000/v1")       # several servers of one model: URLs separated by commas

`qr_env.llm.client.Client` does retries, circuit breakers and the API key; `qr_env.llm.capabilities` probes what the
server can do. Where the probe shows that the server enforces a JSON schema, a rewrite is requested as {"rewrite": …}.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

from qr_env.common.errors import ConfigError
from qr_env.llm.capabilities import Capabilities, probe_capabilities
from qr_env.llm.client import Client
from qr_env.llm.failures import Failure, with_way_out
from qr_env.llm.replies import read_choice

MAX_CHARACTERS = 200  # of a rewrite
REWRITE_SCHEMA = {
    "type": "object",
    "properties": {"rewrite": {"type": "string", "maxLength": MAX_CHARACTERS}},
    "required": ["rewrite"],
    "additionalProperties": False,
}
# Failures that every other prompt would share.
FATAL = ("http_401", "http_402", "http_403", "http_404", "quota", "tls", "web_page", "breaker", "stopped")


class ServerModel:
    """The model that one server, or several equal servers, serve. The servers are probed at first use."""

    def __init__(self, url: str, chat: bool = True, **client_options: float) -> None:
        """
        Args:
            url: base URL; several are separated by commas.
            chat: use the chat API. False continues the prompt as plain text up to the next blank line, which suits
                few-shot prompts; a server other than vLLM may have the chat API alone, which is then used.
            client_options: of `Client`: timeout, retries, backoff, patience.
        """
        self.client, self.chat = Client(url, **client_options), chat  # type: ignore[arg-type]

    @cached_property
    def server(self) -> Capabilities:
        """What all servers can do. Raises JudgeError if one is unusable, ConfigError if they differ."""
        found = [probe_capabilities(self.client, endpoint, None) for endpoint in self.client.endpoints]
        distinct = {(server.model, server.root, server.api, server.version, server.json) for server in found}
        if len(distinct) > 1:
            raise ConfigError(
                f"the servers differ in model, API, version or JSON support: {sorted(distinct)}; name equal servers"
            )
        return found[0]

    @property
    def name(self) -> str:
        """The server's name for its model."""
        return self.server.model

    @property
    def api(self) -> str:
        """ "chat" or "completions"."""
        use_completions = not self.chat and bool(self.server.version)
        return "completions" if use_completions else self.server.api

    @property
    def json(self) -> bool:
        """Whether answers can be constrained to a JSON schema; the continuation of few-shot examples cannot."""
        return self.server.json and self.api == self.server.api

    @property
    def settings(self) -> dict[str, object]:
        """Revision where the server reports one, API and decoding."""
        return {"decoding": "greedy", "root": self.server.root, "api": self.api, "json": self.json}

    def generate(
        self, prompts: Sequence[str], max_tokens: int, json_schema: bool
    ) -> Generator[tuple[int, str, str], None, None]:
        """See `LanguageModel.generate`. Raises ConfigError on a failure that every other prompt would share."""
        if not prompts:
            return
        options: dict[str, object] = {"max_tokens": max_tokens}
        if self.api != self.server.api:
            options["stop"] = ["\n\n"]  # the separator between few-shot examples
        if json_schema and self.json:
            schema = {"name": "rewrite", "strict": True, "schema": REWRITE_SCHEMA}
            options["response_format"] = {"type": "json_schema", "json_schema": schema}
        answers = self.client.run(partial(self._answer, options), enumerate(prompts))
        try:
            yield from answers
        finally:
            answers.close()

    def _answer(self, options: Mapping[str, object], job: tuple[int, str]) -> tuple[int, str, str]:
        """(index, text, "") or (index, "", kind of failure) of one (index, prompt)."""
        index, prompt = job
        dialect = replace(self.server.dialect, api=self.api)
        path, request = dialect.request(self.server.model, prompt, **options)
        try:
            # The prompt's beginning is the prefix that requests share in the server's cache.
            return index, read_choice(self.client.post(path, request, affinity=prompt[:64]))[0], ""
        except Failure as failure:
            if failure.kind in FATAL:
                raise ConfigError(
                    f"{with_way_out(failure)}. Check the server, then run again: stored answers are reused"
                ) from failure
            return index, "", failure.kind
