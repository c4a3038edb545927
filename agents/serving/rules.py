"""The merchandiser's rules, which every table build and the service obey: a YAML file.

    never:                      # queries that are searched as typed; between slashes a regular expression (whole query)
      - gift card
      - /[a-z]{2}-\\d{4,}/
    protected: [north face]     # phrases of a query that no rewrite may drop, respell or outweigh
    forbidden: [cheap, acme*]   # words and phrases that no rewrite may add; * stands for any ending
    overrides:                  # the rewrite of a query, by hand, with weights where wanted
      sofa bed: sleeper sofa^0.5
      outlet: ""                # "" keeps the query

    rules = Rules.read(Path("rules.yaml"))
    rules.override("sofa bed"), rules.apply(rewritten), rules.fired

Texts are compared as the project compares queries (`qr_env.common.text_keys`). An override comes before `never`, and
neither is checked against `forbidden`: a person has decided. Of a query with a protected phrase, words that are spelled
like it are not added, no added word weighs more than it, and where rewrites replace their query, one without the phrase
is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence, Set
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
from qr_env.query_text.weights import parse_weights, write_weights

KEYS = "never, protected, forbidden, overrides"
RESPELLED = 0.75  # a word at least as similar to a protected one (difflib's ratio) is taken for a respelling of it


@validated(config=ConfigDict(extra="forbid", coerce_numbers_to_str=True))
class RuleFile:
    """The content of the file."""

    never: list[str] = field(default_factory=list)
    """queries that are searched as typed"""
    protected: list[str] = field(default_factory=list)
    """phrases that a rewrite may not drop, respell or outweigh"""
    forbidden: list[str] = field(default_factory=list)
    """words and phrases that a rewrite may not add"""
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
    forbidden: tuple[str, ...] = ()
    """Text keys of words and phrases, possibly with * at the end."""
    overrides: dict[str, str] = field(default_factory=dict)
    """Text key of a query → rewrite."""
    version: str = ""
    """Hash of the file."""
    fired: Counter[str] = field(default_factory=Counter)
    """Rule, such as "never: gift card" → how often it changed an answer of `apply` or `override`."""

    @classmethod
    def read(cls, path: Path) -> Rules:
        """Read a file.

        Raises:
            ConfigError: it cannot be read; an unknown key, a value of the wrong kind, an invalid regular expression;
                with its line.
        """
        if not path.is_file():
            raise ConfigError(f"rules={str(path)!r}: no such file")
        text = read_config_text(path)
        try:
            refuse_repeated_keys(path, yaml.compose(text))
            content = TypeAdapter(RuleFile).validate_python(yaml.safe_load(text) or {})
        except yaml.YAMLError as error:
            raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise ConfigError(
                f"{path}{_line(text, first['loc'])}: {place}: {first['input']!r}: {first['msg']}; keys are {KEYS}"
            ) from error
        return cls._compiled(path, text, content)

    @classmethod
    def _compiled(cls, path: Path, text: str, content: RuleFile) -> Rules:
        patterns = []
        for at, entry in enumerate(content.never):
            if _is_pattern(entry):
                try:
                    patterns.append(re.compile(entry[1:-1], re.IGNORECASE))
                except re.error as error:
                    place = f"{path}{_line(text, ('never', at))}"
                    raise ConfigError(f"{place}: never: {entry!r} is no regular expression: {error}") from error
        for at, entry in enumerate(content.forbidden):
            if "*" in entry[:-1] or entry == "*":
                place = f"{path}{_line(text, ('forbidden', at))}"
                raise ConfigError(f"{place}: forbidden: {entry!r}: a * stands at the end of a word")
        return cls(
            never=frozenset(text_key(entry) for entry in content.never if not _is_pattern(entry)),
            patterns=tuple(patterns),
            protected=_keys(content.protected),
            forbidden=_keys(content.forbidden),
            overrides={text_key(query): rewrite for query, rewrite in content.overrides.items()},
            version=sha256_text(text, 12),
        )

    def override(self, query: str) -> Rewritten | None:
        """What a person decided for the query; None where nobody did. Counted in `fired`."""
        decided, rule = self._decided(query)
        if decided is not None:
            self.fired[rule] += 1
        return decided

    def _decided(self, query: str) -> tuple[Rewritten | None, str]:
        key = text_key(query)
        if key in self.overrides:
            wanted = self.overrides[key]
            sources = {word: "override" for text, _ in parse_weights(wanted).texts for word in text.split()}
            return rewritten(query, wanted, sources, source="override", model="rules"), f"override: {key}"
        if rule := self.never_rule(key):
            return Rewritten(query, source="original", model="rules"), f"never: {rule}"
        return None, ""

    def never_rule(self, query: str) -> str:
        """The entry of `never` that holds the query, a pattern between slashes; "" if none does."""
        key = text_key(query)
        if key in self.never:
            return key
        return next((f"/{pattern.pattern}/" for pattern in self.patterns if pattern.fullmatch(key)), "")

    def apply(self, row: Rewritten, combine: str = "expand", weight: float = 1.0) -> Rewritten:
        """`check` without the names of the rules, which are counted in `fired`."""
        ruled, rules = self.check(row, combine, weight)
        self.fired.update(rules)
        return ruled

    def check(self, row: Rewritten, combine: str = "expand", weight: float = 1.0) -> tuple[Rewritten, tuple[str, ...]]:
        """The row after all rules, and those that changed it.

        The row is an override, the query as typed, or the rewrite without what it may not hold.

        Args:
            combine: how rewrites are searched. In "replace" a rewrite that lacks a protected phrase of its query is
                refused; in the other modes the query is searched as well.
            weight: of the query's words in "expand".
        """
        decided, rule = self._decided(row.query)
        if decided is not None:
            return replace(decided, frequency=row.frequency), (rule,)
        if row.kept:
            return row, ()
        typed = text_key(row.query).split()
        guarded = [phrase for phrase in self.protected if places(phrase, typed)]
        fired = dict.fromkeys(
            f"protected: {phrase}"
            for phrase in guarded
            if combine == "replace" and not places(phrase, _keys_of(row.words))
        )
        if fired:
            return _as_typed(row), tuple(fired)
        words = self._without_forbidden(row.words, typed, fired)
        for phrase in guarded:
            base = {"replace": 0.0, "expand": weight}.get(combine, 1.0)
            guarded_words = _guarded(words, phrase.split(), frozenset(typed), base)
            if guarded_words != words:
                words = guarded_words
                fired[f"protected: {phrase}"] = None
        if not fired:
            return row, ()
        text = write_weights((word.word, word.weight) for word in words)
        changed = replace(row, rewrite=text, words=tuple(words))
        return _as_typed(row) if not text or changed.kept else changed, tuple(fired)

    def _without_forbidden(
        self, words: Sequence[AddedWord], typed: Sequence[str], fired: dict[str, None]
    ) -> list[AddedWord]:
        left = list(words)
        for phrase in self.forbidden:
            found = set() if places(phrase, typed) else places(phrase, _keys_of(left))
            if found:
                left = [word for at, word in enumerate(left) if at not in found]
                fired[f"forbidden: {phrase}"] = None
        return left


def places(phrase: str, words: Sequence[str]) -> set[int]:
    """Places of the words at which the phrase stands, word by word; a * at its end stands for any ending."""
    parts, any_ending = phrase.removesuffix("*").split(), phrase.endswith("*")
    found: set[int] = set()
    for start in range(len(words) - len(parts) + 1):
        *first, last = words[start : start + len(parts)]
        if first == parts[:-1] and (last == parts[-1] or (any_ending and last.startswith(parts[-1]))):
            found |= set(range(start, start + len(parts)))
    return found


def _guarded(words: Sequence[AddedWord], phrase: Sequence[str], typed: Set[str], base: float) -> list[AddedWord]:
    """The words without respellings of the phrase, and none of the added ones heavier than it.

    base: weight that the phrase has without the rewrite.
    """
    kept = [word for word in words if text_key(word.word) in typed or not _respells(text_key(word.word), phrase)]
    repeated = [sum(word.weight for word in kept if text_key(word.word) == part) for part in phrase]
    most = base + min(repeated)
    return [
        word if text_key(word.word) in typed or word.weight <= most else replace(word, weight=most) for word in kept
    ]


def _respells(word: str, phrase: Sequence[str]) -> bool:
    return any(SequenceMatcher(None, word, part, autojunk=False).ratio() >= RESPELLED for part in phrase)


def _as_typed(row: Rewritten) -> Rewritten:
    return replace(row, rewrite="", words=(), source="original")


def _is_pattern(entry: str) -> bool:
    return len(entry) > 2 and entry.startswith("/") and entry.endswith("/")


def _keys(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(text_key, texts))))


def _keys_of(words: Sequence[AddedWord]) -> list[str]:
    return [text_key(word.word) for word in words]


def refuse_repeated_keys(path: Path, node: yaml.Node | None) -> None:
    """Raise ConfigError for a key that a mapping has twice: YAML's readers take the last one silently."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = text_key(str(key.value))
            if name in seen:
                raise ConfigError(f"{path}:{key.start_mark.line + 1}: {key.value!r} stands here twice: leave one")
            seen.add(name)
            refuse_repeated_keys(path, value)


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
