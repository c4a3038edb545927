"""Settings of a command: a dataclass, filled from YAML files, JSON files and `NAME=VALUE` texts, validated by pydantic.

    settings = from_mapping(Args, read_yaml(path), str(path))          # Args("generated", updates=600, …)
    settings = from_mapping(Args, read_assignments(["learning.epochs=2"]), "--set")
    print("\\n".join(describe(Args)))                                  # every setting, its type, default and docstring

A field that is itself a dataclass takes a mapping: `learning: {epochs: 2}`, or `learning.epochs=2` in an assignment.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Annotated, TypeVar, get_args, get_origin, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from qr_env.common.config_text import read_config_text
from qr_env.common.errors import ConfigError

SettingsT = TypeVar("SettingsT")
Values = dict[str, object]

STRICT_KEYS = ConfigDict(extra="forbid", coerce_numbers_to_str=True, arbitrary_types_allowed=True)


def read_yaml(path: Path) -> Values:
    """The mapping in a YAML file.

    Raises:
        ConfigError: the file does not exist, is not YAML, or holds something else than a mapping.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        values = yaml.safe_load(read_config_text(path)) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}; settings are lines of `name: value`")
    return values


def read_assignments(texts: Sequence[str]) -> Values:
    """`NAME=VALUE` texts as a nested mapping; values are read as YAML, dots in a name separate group and field.

    Raises:
        ConfigError: a value is not YAML.
    """
    values: Values = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            nested: object = value if value == "" else yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text}: not a YAML value: {' '.join(str(error).split())}") from error
        if value == "None":
            nested = None
        for part in reversed(name.split(".")):
            nested = {part: nested}
        values = merged(values, nested)  # type: ignore[arg-type]
    return values


def merged(base: Mapping[str, object], update: Mapping[str, object]) -> Values:
    """`base` with the values of `update`; groups are merged field by field."""
    result = dict(base)
    for name, value in update.items():
        old = result.get(name)
        result[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def from_mapping(
    kind: type[SettingsT], values: Mapping[str, object], source: str, if_absent: object = MISSING
) -> SettingsT:
    """An instance of the dataclass `kind` with the values converted to the types of its fields.

    Args:
        kind: a dataclass; its fields may be dataclasses, unions and containers of dataclasses.
        source: where the values come from (a file, "--set"), for error messages.
        if_absent: value of fields without a default that `values` does not name; by default their absence is an error.

    Raises:
        ConfigError: an unknown name, a value of the wrong type, or a missing value.
    """
    hints = get_type_hints(kind, include_extras=True)
    if unknown := [name for name in values if name not in hints]:
        grouped = [
            f"{group}.{name}" for group, hint in hints.items() for name in unknown if name in _field_names(hint, [])
        ]
        hint_text = f"did you mean {', '.join(grouped)}? " if grouped else ""
        raise ConfigError(f"{source}: unknown settings {unknown}; {hint_text}known are {sorted(hints)}")
    given = {name: _converted(hints[name], name, value, source) for name, value in values.items()}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in given and field.default is MISSING and field.default_factory is MISSING:
            if if_absent is MISSING:
                raise ConfigError(f"{source}: {field.name} is missing")
            given[field.name] = if_absent
    return kind(**given)


def _converted(hint: object, name: str, value: object, source: str) -> object:
    """`value` as the type `hint`; a single value for a tuple counts as a tuple of one."""
    value = _tuples(hint, value)
    try:
        # The list makes pydantic apply the configuration to plain dataclasses, which have none of their own.
        return TypeAdapter(list[hint], config=STRICT_KEYS).validate_python([value])[0]  # type: ignore[valid-type]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = [name, *map(str, first["loc"][1:])]
        where = ".".join(path)
        if first["type"] == "unexpected_keyword_argument":
            known = _field_names(hint, path[1:-1])
            raise ConfigError(f"{source}: unknown settings ['{where}']; known are {known}") from None
        raise ConfigError(f"{source}: {where}: {first['input']!r}: {first['msg']}") from None


def _tuples(hint: object, value: object) -> object:
    """The value with a list of one for each single value whose type is a tuple, in groups of settings too."""
    kind = _bare(hint)
    if get_origin(kind) is tuple and not isinstance(value, list | tuple):
        return [value]
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, Mapping):
        hints = get_type_hints(kind, include_extras=True)
        return {name: _tuples(hints.get(name), one) for name, one in value.items()}
    return value


def _field_names(hint: object, path: Sequence[str]) -> list[str]:
    """Names of the fields of the dataclass at `path` below `hint`; [] where the path leads to none.

    The path is pydantic's: names of fields, positions in lists, keys of mappings, names of a union's classes.
    """
    kind = _not_none(hint)
    for name in path:
        if isinstance(kind, type) and is_dataclass(kind):
            kind = _not_none(get_type_hints(kind, include_extras=True).get(name))
            continue
        parts = [part for part in map(_not_none, get_args(kind)) if is_dataclass(part) or get_args(part)]
        of_that_name = [part for part in parts if getattr(part, "__name__", "") == name]
        kind = (of_that_name or parts or [None])[0]
    return sorted(field.name for field in fields(kind)) if isinstance(kind, type) and is_dataclass(kind) else []


def _not_none(hint: object) -> object:
    """A type without its `Annotated` metadata and, of `X | None`, X."""
    kind = _bare(hint)
    parts = [part for part in get_args(kind) if part is not type(None)]
    return _bare(parts[0]) if len(parts) == 1 and type(None) in get_args(kind) else kind


def _bare(hint: object) -> object:
    """A type without its `Annotated` metadata."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def describe(kind: type, prefix: str = "") -> Iterator[str]:
    """Lines that list every setting of a dataclass with type, default and docstring; groups as `group.field`."""
    docs = field_docs(kind)
    for field in fields(kind):
        hint = _bare(get_type_hints(kind, include_extras=True)[field.name])
        if isinstance(hint, type) and is_dataclass(hint):
            yield from describe(hint, f"{prefix}{field.name}.")
            continue
        default = "required" if field.default is field.default_factory is MISSING else _default_text(field)
        yield f"{prefix}{field.name}: {_type_text(hint)} = {default}"
        yield textwrap.indent(textwrap.fill(docs.get(field.name, ""), 116), "    ")


def _default_text(field: object) -> str:
    factory = field.default_factory  # type: ignore[attr-defined]
    value = field.default if factory is MISSING else factory()  # type: ignore[attr-defined]
    return str(value) if isinstance(value, Path) else repr(value)


def _type_text(hint: object) -> str:
    name = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    return name.replace("typing.", "").replace("pathlib.", "").replace("collections.abc.", "")


def field_docs(kind: type) -> dict[str, str]:
    """The docstring below each field of a dataclass, inherited fields included."""
    docs: dict[str, str] = {}
    for base in reversed([base for base in kind.__mro__ if is_dataclass(base)]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, below in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                docs[field.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return docs
