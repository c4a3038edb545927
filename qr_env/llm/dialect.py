"""How a server wants its requests for text: which API, which names of fields; learned from what it refuses.

path, body = Dialect().request("m", "hello", max_tokens=1)
adapted(Dialect(), "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

CHAT, COMPLETIONS = "/chat/completions", "/completions"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a request for text holds at one server."""

    api: str = "chat"
    """the API that generates, "chat" or "completions\""""
    limit: str = "max_tokens"
    """name of the field with the most tokens of an answer"""
    least_tokens: int = 1
    """fewest tokens that may be asked for"""
    greedy: bool = True
    """temperature 0 is sent; False: the server refuses it, and samples as it will"""
    stream: bool = False
    """the server answers in a stream alone"""
    no_thinking: bool = False
    """the chat template is told not to think (vLLM)"""
    names_model: bool = True
    """the request names the model; False where the server has one that no list names"""

    def request(self, model: str, text: str | list[str], **options: object) -> tuple[str, dict[str, Any]]:
        """Path and JSON of a greedy request without thinking: one user message, or for plain completion one or several
        texts."""
        body: dict[str, Any] = {"model": model} if self.names_model else {}
        if self.greedy:
            body["temperature"] = 0
        if self.stream:
            body["stream"] = True
        if isinstance(most := options.pop("max_tokens", None), int):
            body[self.limit] = max(most, self.least_tokens)
        body |= options
        if self.api == "completions":
            if body.pop("logprobs", False):
                body["logprobs"] = body.pop("top_logprobs")
            return COMPLETIONS, {**body, "prompt": text}
        if self.no_thinking:
            body["chat_template_kwargs"] = {"enable_thinking": False}
        return CHAT, {**body, "messages": [{"role": "user", "content": text}]}


PLAIN = Dialect()


@dataclass(frozen=True, slots=True)
class Change:
    """One way in which a server differs."""

    words: str
    """pattern of what a server says that refuses the request without the change"""
    fields: dict[str, Any]
    """fields of `Dialect` that change"""
    note: str = ""
    """what the user should know"""


CHANGES = (
    Change("max_completion_tokens", {"limit": "max_completion_tokens"}),
    Change(
        "could not finish|max_(completion_)?tokens.*(at least|minimum|greater|>=|≥|below|small)|(minimum|least).*token",
        {"least_tokens": 16},
    ),
    Change("max_tokens", {"limit": "max_completion_tokens"}),
    Change(
        "temperature", {"greedy": False}, "refuses temperature 0: its answers are sampled, and may differ when repeated"
    ),
    Change(r"\bstream", {"stream": True}, "answers in a stream alone"),
    Change("chat_template_kwargs|enable_thinking|extra (fields|inputs)|unrecognized|unknown", {"no_thinking": False}),
)


def adapted(dialect: Dialect, words: str) -> Dialect | None:
    """The dialect with the first change that a server's words ask for and it lacks; None if they ask for none."""
    asked = (change for change in CHANGES if re.search(change.words, words, re.IGNORECASE | re.DOTALL))
    return next((better for change in asked if (better := replace(dialect, **change.fields)) != dialect), None)


def guesses(dialect: Dialect) -> list[Dialect]:
    """The dialect with each change alone, then with all: for a server that refuses without saying what."""
    single = [replace(dialect, **change.fields) for change in CHANGES]
    every = replace(dialect, **{name: value for change in CHANGES for name, value in change.fields.items()})
    return [guess for guess in dict.fromkeys((*single, every)) if guess != dialect]


def notes(dialect: Dialect) -> list[str]:
    """What the user should know about a server with this dialect."""
    return [change.note for change in CHANGES if change.note and replace(dialect, **change.fields) == dialect]
