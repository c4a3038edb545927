"""Prompts of language models that rewrite: files of `agents/prompted/prompts/`, versioned by name and content hash.

    prompt = PromptFile.load("rewrite_few_v1")
    prompt.render("couch", examples=[("phonograph", "turntable")], max_words=12)

A file is a YAML head and a text with the slots ${query}, ${words} (longest answer in words) and, if the head's
`examples` is above 0, ${examples}: that many examples, each rendered by the head's `example`, separated by blank lines.
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
KINDS = ("rewrite", "document", "words")
SLOTS = {"query", "words", "examples"}


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A parsed prompt."""

    name: str
    """The file's stem."""
    hash: str
    """First 12 hexadecimal digits of the SHA-256 of the file's text."""
    kind: str
    """What is generated: "rewrite", a line that is searched, "document", a passage (query2doc), or "words", a list."""
    examples: int
    """Number of few-shot examples."""
    example: Template
    """Renders one example; slots ${query} and ${text}."""
    body: Template
    """Renders the whole prompt; slots `SLOTS`."""

    @classmethod
    def load(cls, name: str | Path) -> PromptFile:
        """A prompt of `agents/prompted/prompts/` by name, or any file by its path. Raises ConfigError if unusable."""
        path, digest, parts = read_prompt(name, FOLDER, "rewrite_few_v1.md", _parse)
        prompt = cls(path.stem, digest, *parts)
        prompt._check(path)
        return prompt

    def _check(self, path: Path) -> None:
        slots, needed = set(self.body.get_identifiers()), {"query"} | ({"examples"} if self.examples else set())
        if self.kind not in KINDS:
            raise ConfigError(f"{path}: kind {self.kind!r}; choose one of {', '.join(KINDS)}")
        if not needed <= slots <= SLOTS:
            raise ConfigError(f"{path}: slots {sorted(slots)}; needs {sorted(needed)} and may have {sorted(SLOTS)}")
        if self.examples and set(self.example.get_identifiers()) != {"query", "text"}:
            raise ConfigError(f"{path}: its example must have the slots ${{query}} and ${{text}}, and no other")

    def render(self, query: str, examples: Sequence[tuple[str, str]] = (), max_words: int = 12) -> str:
        """The whole prompt. examples: (query, text); the first `self.examples` of them are used, or all if fewer."""
        lines = [self.example.substitute(query=other, text=text) for other, text in examples[: self.examples]]
        return self.body.safe_substitute(query=query, words=str(max_words), examples="\n\n".join(lines))


def _parse(head: Mapping[str, Any], body: str) -> tuple[str, int, Template, Template]:
    """(kind, examples, example, body) of a prompt file."""
    kind, examples = str(head["kind"]), int(head["examples"])
    return kind, examples, Template(str(head["example"]) if examples else ""), Template(body.rstrip("\n"))
