"""Prompts of language models that rewrite: files of `agents/prompted/prompts/`, versioned by name and by a hash of their text.

    prompt = PromptFile.load("rewrite_few_v1")
    prompt.render("couch", examples=[("phonograph", "turntable")], words=12)

A file is a YAML head and a text with the slots ${query}, ${words} (most words of the answer) and, where `examples` is
above 0, ${examples}: so many examples, each by the head's `example`, a blank line between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from qr_env.common.errors import ConfigError
from qr_env.common.prompt_files import read_prompt

FOLDER = Path(__file__).parent / "prompts"
KINDS = ("rewrite", "document")
SLOTS = {"query", "words", "examples"}


@dataclass(frozen=True, slots=True)
class PromptFile:
    """name: the file's stem. hash: 12 digits of its content's SHA-256. kind: "rewrite" (one line that is searched) or
    "document" (a passage, query2doc). examples: how many it shows. example: how each is written."""

    name: str
    hash: str
    kind: str
    examples: int
    example: Template
    body: Template

    @classmethod
    def load(cls, name: str | Path) -> PromptFile:
        """A prompt of `agents/prompted/prompts/` by name, or any file by its path; ConfigError where it cannot be used."""
        path, digest, parts = read_prompt(name, FOLDER, "rewrite_few_v1.md", _parts)
        prompt = cls(path.stem, digest, *parts)
        prompt._check(path)
        return prompt

    def _check(self, path: Path) -> None:
        slots, wanted = set(self.body.get_identifiers()), {"query"} | ({"examples"} if self.examples else set())
        if self.kind not in KINDS:
            raise ConfigError(f"{path}: kind {self.kind!r}; choose one of {', '.join(KINDS)}")
        if not wanted <= slots <= SLOTS:
            raise ConfigError(f"{path}: slots {sorted(slots)}; it must hold {sorted(wanted)} and may {sorted(SLOTS)}")
        if self.examples and set(self.example.get_identifiers()) != {"query", "text"}:
            raise ConfigError(f"{path}: its example must hold ${{query}} and ${{text}}, and no other slot")

    def render(self, query: str, examples: Sequence[tuple[str, str]] = (), words: int = 12) -> str:
        """The whole prompt. examples: (query, text), `self.examples` of them; fewer are shown where there are fewer."""
        shown = [self.example.substitute(query=asked, text=text) for asked, text in examples[: self.examples]]
        return self.body.safe_substitute(query=query, words=str(words), examples="\n\n".join(shown))


def _parts(head: Mapping[str, Any], body: str) -> tuple[str, int, Template, Template]:
    kind, examples = str(head["kind"]), int(head["examples"])
    return kind, examples, Template(str(head["example"]) if examples else ""), Template(body.rstrip("\n"))
