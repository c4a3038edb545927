"""Prompts of language models that rewrite: files of `agents/prompts/`, versioned by name and by a hash of their text.

    prompt = PromptFile.load("rewrite_few_v1")
    prompt.render("couch", examples=[("phonograph", "turntable")], words=12)

A file is a YAML head and a text with the slots ${query}, ${words} (most words of the answer) and, where `examples` is
above 0, ${examples}: so many examples, each by the head's `example`, a blank line between them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import yaml

from qr_env.errors import ConfigError

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
        """A prompt of `agents/prompts/` by name, or any file by its path; ConfigError where it cannot be used."""
        path = Path(name) if str(name).endswith(".md") else FOLDER / f"{name}.md"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.md")))
            raise ConfigError(f"no prompt {str(name)!r}; there are {known}, or give the path of an .md file")
        text = path.read_text(encoding="utf-8")
        try:
            _, head, body = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
            facts = yaml.safe_load(head)
            kind, examples = str(facts["kind"]), int(facts["examples"])
            example = Template(str(facts["example"]) if examples else "")
        except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: {error!r}; see agents/prompts/rewrite_few_v1.md for the form") from error
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        prompt = cls(path.stem, digest, kind, examples, example, Template(body.rstrip("\n")))
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
