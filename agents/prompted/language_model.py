"""The interface of the language models that prompted agents ask, and how one is opened by name.

model = open_language_model("smollm2-135m")                     # in this process
model = open_language_model("http://127.0.0.1:8000/v1")         # behind an OpenAI-compatible server
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Protocol

from agents.prompted.local_model import LocalModel
from agents.prompted.server_model import ServerModel

Answers = Generator[tuple[int, str, str], None, None]
"""(index of the prompt, text, "") or (index, "", kind of failure), in the order in which they are answered."""


class LanguageModel(Protocol):
    """A language model that generates greedily, so that its texts can be stored and reused."""

    @property
    def name(self) -> str:
        """Identifies the weights."""
        ...

    @property
    def settings(self) -> Mapping[str, object]:
        """Whatever else its texts depend on (revision, decoding), as JSON values; part of the store's key."""
        ...

    def generate(self, prompts: Sequence[str], max_tokens: int, json_schema: bool) -> Answers:
        """Answer every prompt.

        Args:
            prompts: N prompts.
            max_tokens: longest answer, in tokens.
            json_schema: ask for the JSON object {"rewrite": …} where the model can enforce a schema.
        """
        ...


def is_url(model: str) -> bool:
    """Whether the name of a model is the base URL of a server."""
    return model.startswith(("http://", "https://"))


def open_language_model(model: str, chat: bool = True) -> LanguageModel:
    """The model of this name; its weights are loaded, or its server is probed, at the first prompt.

    Args:
        model: a name of `qr_env.models.hub`, a folder of weights, or a server's base URL (or several, with commas).
        chat: use the chat template; False continues the prompt as plain text, which suits few-shot prompts.
    """
    return ServerModel(model, chat) if is_url(model) else LocalModel(model, chat=chat)
