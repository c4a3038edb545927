"""Settings of BM25 in a retriever's name: `bm25:fields=title*5+description,k1=1.2,b=0.6`, or `bm25:FILE.json`.

    settings = read_bm25_settings("fields=title*5+description,k1=1.2")
    bm25_spec(settings)     # "bm25:fields=title*5+description,k1=1.2,b=0.75"

A part that is not named keeps its default. The file holds the same names as a JSON object; `qr shop SHOP --check-engine
--engine-out FILE.json` writes one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from qr_env.common.config_text import read_config_text
from qr_env.common.errors import ConfigError
from qr_env.retrieval.bm25 import BM25Settings

BM25_PREFIX = "bm25:"
EXAMPLE = "bm25:fields=title*5+description,k1=1.2,b=0.6"


def read_bm25_settings(argument: str) -> BM25Settings:
    """The settings after `bm25:`; "" for the defaults.

    Raises:
        ConfigError: the file does not exist or is not JSON; an unknown name or field, or a value that is no number.
    """
    if argument.endswith(".json"):
        return _settings(_read_file(Path(argument)), argument)
    parts = [part.partition("=") for part in argument.split(",") if part.strip()]
    return _settings({name.strip(): value.strip() for name, _, value in parts}, f"bm25:{argument}")


def bm25_spec(settings: BM25Settings) -> str:
    """The retriever's name with all settings written out."""
    return f"bm25:fields={fields_text(settings)},k1={settings.k1:g},b={settings.b:g}"


def fields_text(settings: BM25Settings) -> str:
    """The indexed fields with their weights: `title*5+description`."""
    return "+".join(name if count == 1 else f"{name}*{count}" for name, count in settings.fields)


def settings_json(settings: BM25Settings) -> dict[str, str | float]:
    """The content of a settings file."""
    return {"fields": fields_text(settings), "k1": settings.k1, "b": settings.b}


def explicit_spec(retriever: str) -> str:
    """A retriever's name in which a settings file is replaced by its content, so that a resumed run cannot change."""
    head, separator, argument = retriever.partition(BM25_PREFIX)
    return head + bm25_spec(read_bm25_settings(argument)) if separator and argument.endswith(".json") else retriever


def _read_file(path: Path) -> Mapping[str, object]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; write one with qr shop SHOP --check-engine --engine-out {path}")
    try:
        values = json.loads(read_config_text(path))
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON ({error}); write it as in {EXAMPLE!r}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}; it must be an object with fields, k1 and b")
    return values


def _settings(values: Mapping[str, object], source: str) -> BM25Settings:
    if unknown := sorted(set(values) - {"fields", "k1", "b"}):
        raise ConfigError(f"{source}: unknown settings {unknown}; known are fields, k1 and b, as in {EXAMPLE!r}")
    default = BM25Settings()
    k1, b = (_number(values.get(name, getattr(default, name)), name, source) for name in ("k1", "b"))
    if k1 <= 0 or not 0 <= b <= 1:
        raise ConfigError(f"{source}: k1={k1:g}, b={b:g}; k1 must be above 0 and b in 0 … 1")
    fields = _fields(str(values["fields"]), source) if "fields" in values else default.fields
    return BM25Settings(fields=fields, k1=k1, b=b)


def _fields(text: str, source: str) -> tuple[tuple[str, int], ...]:
    fields = []
    for part in text.split("+"):
        name, _, count = part.strip().partition("*")
        weight = _number(count or 1, f"the weight of {name!r}", source)
        if weight != int(weight):
            raise ConfigError(f"{source}: the weight of {name!r} is {weight:g}; give an integer, as in {EXAMPLE!r}")
        fields.append((name, int(weight)))
    return tuple(fields)


def _number(value: object, name: str, source: str) -> float:
    try:
        return float(str(value))
    except ValueError as error:
        raise ConfigError(f"{source}: {name} is {value!r}; give a number, as in {EXAMPLE!r}") from error
