"""The merchandiser's rules, which every table build and the service obey: a YAML file.

    never:                      # queries that are searched as typed; between slashes a regular expression (whole query)
      - gift card
      - /[a-z]{2}-\\d{4,}/
    protected: [north face]     # phrases of a query that no rewrite may drop or respell
    forbidden: [cheap, acme]    # words that no rewrite may add
    overrides:                  # the rewrite of a query, by hand, with weights where wanted
      sofa bed: sleeper sofa^0.5
      outlet: ""                # "" keeps the query

    rules = Rules.read(Path("rules.yaml"))
    rules.override("sofa bed"), rules.apply(rewritten), rules.fired

Texts are compared as the project compares queries (`qr_env.common.text_keys`). An override comes before `never`, and
neither is checked against `forbidden`: a person has decided.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from pathlib import Path

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from agents.serving.rewritten import AddedWord, Rewritten, rewritten
from qr_env.common.config_text import read_config_text
from qr_env.common.errors import ConfigError
from qr_env.common.hashing import sha256_text
from qr_env.common.text_keys import text_key
from qr_env.query_text.weights import write_weights

RESPELLED = 0.75  # a word at least as similar to a protected one (difflib's ratio) is taken for a respelling of it


@validated(config=ConfigDict(extra="forbid", coerce_numbers_to_str=True))
class RuleFile:
    """The content of the file."""

    never: list[str] = field(default_factory=list)
    """queries that are searched as typed"""
    protected: list[str] = field(default_factory=list)
    """phrases that a rewrite may not drop or respell"""
    forbidden: list[str] = field(default_factory=list)
    """words that a rewrite may not add"""
    overrides: dict[str, str] = field(default_factory=dict)
    """query → rewrite"""


@dataclass
class Rules:
    """Rules, ready to be applied, and how often each was."""

    never: frozenset[str] = frozenset()
    """Text keys of queries."""
    patterns: tuple[re.Pattern[str], ...] = ()
    """Of queries that are searched as typed."""
    protected: tuple[str, ...] = ()
    """Text keys of phrases."""
    forbidden: frozenset[str] = frozenset()
    """Text keys of words."""
    overrides: dict[str, str] = field(default_factory=dict)
    """Text key of a query → rewrite."""
    version: str = ""
    """Hash of the file."""
    fired: Counter[str] = field(default_factory=Counter)
    """Rule → how often it changed an answer."""

    @classmethod
    def read(cls, path: Path) -> Rules:
        """Read a file.

        Raises:
            ConfigError: it cannot be read; an unknown key, a value of the wrong kind, an invalid regular expression.
        """
        if not path.is_file():
            raise ConfigError(f"rules={str(path)!r}: no such file")
        text = read_config_text(path)
        try:
            content = TypeAdapter(RuleFile).validate_python(yaml.safe_load(text) or {})
        except yaml.YAMLError as error:
            raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            known = "never, protected, forbidden, overrides"
            raise ConfigError(
                f"{path}{_line(text, first['loc'])}: {place}: {first['input']!r}: {first['msg']}; keys are {known}"
            ) from error
        return cls._compiled(path, text, content)

    @classmethod
    def _compiled(cls, path: Path, text: str, content: RuleFile) -> Rules:
        patterns = []
        for entry in content.never:
            if len(entry) > 2 and entry.startswith("/") and entry.endswith("/"):
                try:
                    patterns.append(re.compile(entry[1:-1], re.IGNORECASE))
                except re.error as error:
                    raise ConfigError(f"{path}: never: {entry!r} is no regular expression: {error}") from error
        if spaced := [word for word in content.forbidden if len(word.split()) != 1]:
            raise ConfigError(f"{path}: forbidden: {spaced[0]!r} is not one word; name its words one by one")
        return cls(
            never=frozenset(map(text_key, content.never)),
            patterns=tuple(patterns),
            protected=tuple(filter(None, map(text_key, content.protected))),
            forbidden=frozenset(map(text_key, content.forbidden)),
            overrides={text_key(query): rewrite for query, rewrite in content.overrides.items()},
            version=sha256_text(text, 12),
        )

    def override(self, query: str) -> Rewritten | None:
        """What a person decided for the query; None where nobody did."""
        key = text_key(query)
        if key in self.overrides:
            self.fired["override"] += 1
            return replace(rewritten(query, self.overrides[key], source="override"), model="rules")
        if self.is_never(key):
            self.fired["never"] += 1
            return Rewritten(query, source="original", model="rules")
        return None

    def is_never(self, query: str) -> bool:
        """Whether the query is to be searched as typed."""
        key = text_key(query)
        return key in self.never or any(pattern.fullmatch(key) for pattern in self.patterns)

    def apply(self, row: Rewritten, combine: str = "expand") -> Rewritten:
        """The row after all rules: an override, the query as typed, or the rewrite without what it may not hold.

        combine: how rewrites are searched. In "replace" a rewrite that lacks a protected phrase of its query is
        refused; in the other modes the query is searched as well.
        """
        if (decided := self.override(row.query)) is not None:
            return replace(decided, frequency=row.frequency)
        if row.kept:
            return row
        key = text_key(row.query)
        guarded = [phrase for phrase in self.protected if f" {phrase} " in f" {key} "]
        if combine == "replace" and any(f" {phrase} " not in f" {_plain(row.words)} " for phrase in guarded):
            self.fired["protected"] += 1
            return replace(row, rewrite="", words=(), source="original")
        words = [word for word in row.words if self._may_stay(word, key, guarded)]
        if len(words) == len(row.words):
            return row
        if not words:
            return replace(row, rewrite="", words=(), source="original")
        text = write_weights((word.word, word.weight) for word in words)
        return replace(row, rewrite=text, words=tuple(words))

    def _may_stay(self, word: AddedWord, query: str, guarded: Sequence[str]) -> bool:
        key = text_key(word.word)
        if key in query.split():
            return True
        if key in self.forbidden:
            self.fired["forbidden"] += 1
            return False
        if any(SequenceMatcher(None, key, part).ratio() >= RESPELLED for phrase in guarded for part in phrase.split()):
            self.fired["protected"] += 1
            return False
        return True


def _plain(words: Sequence[AddedWord]) -> str:
    return text_key(" ".join(word.word for word in words))


def _line(text: str, place: Sequence[object]) -> str:
    """`:LINE` of the key or of the item that `place` names, where it can be told."""
    node: yaml.Node | None = yaml.compose(text)
    for step in place:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(step)]
            if not found:
                break
            node = found[0][1] if isinstance(found[0][1], yaml.CollectionNode) else found[0][0]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
    return f":{node.start_mark.line + 1}" if node is not None else ""
