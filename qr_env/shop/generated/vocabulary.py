"""The words of the generated shop: what merchants and shoppers call the same things, read from `world/*.yaml`.

    vocabulary = load_vocabulary()
    vocabulary.types[0].noun, vocabulary.types[0].shopper, vocabulary.colors["anthracite"].shopper

One YAML file a department, and `shared.yaml` with colours and materials. A phrase under `heldout` is kept only when
it has at least one word that no other phrase of the vocabulary has, so that nothing but knowledge of English helps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from qr_env.common import tokenize
from qr_env.common.errors import DataError

# So many words for a type are in training queries, each often enough to be learned there; the rest is held out.
TAUGHT_NAMES = 3
TAUGHT_PURPOSES = 2

WORLD = Path(__file__).parent / "world"
SHARED = "shared.yaml"


@dataclass(frozen=True, slots=True)
class Alias:
    """A colour or material: the merchants' name (the key of its table) and what shoppers say instead."""

    shopper: tuple[str, ...] = ()
    heldout: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that a product has or lacks, in the merchants' words and in the shoppers'."""

    name: str
    merchant: str
    shopper: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Size:
    """The one measure of a type: a unit of `world_sizes`, the values on sale, and the attribute's name."""

    unit: str
    values: tuple[float, ...]
    label: str


@dataclass(frozen=True, slots=True)
class TypeWords:
    """Everything that is said about one type of product. Fields are those of the YAML, plus department and brands."""

    id: str
    department: str
    brands: tuple[str, ...]
    noun: tuple[str, ...]
    shopper: tuple[str, ...]
    purposes: tuple[str, ...]
    category: str
    price: tuple[float, float]
    heldout: tuple[str, ...] = ()
    heldout_purposes: tuple[str, ...] = ()
    materials: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    size: Size | None = None
    features: tuple[Feature, ...] = ()
    accessories: tuple[str, ...] = ()
    siblings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """All types in a fixed order, colours and materials by the merchants' name, and the stems kept for the test."""

    types: tuple[TypeWords, ...]
    colors: dict[str, Alias]
    materials: dict[str, Alias]
    heldout_terms: frozenset[str] = field(default=frozenset())


@cache
def load_vocabulary(folder: Path = WORLD) -> Vocabulary:
    """Read, check and filter the vocabulary of a folder.

    Raises:
        DataError: a file is no YAML of the schema, or names a colour, material or sibling that does not exist.
    """
    shared = _read(folder / SHARED)
    files = sorted(path for path in folder.glob("*.yaml") if path.name != SHARED)
    types = tuple(_type(entry, file) for path in files for file in [_read(path)] for entry in file["types"])
    colors, materials = (
        {name: Alias(**_tuples(words)) for name, words in shared[key].items()} for key in ("colors", "materials")
    )
    vocabulary = Vocabulary(types, colors, materials)
    if problems := list(_problems(vocabulary)):
        raise DataError(f"{folder}: {len(problems)} mistakes in the vocabulary: " + "; ".join(problems[:20]))
    return _hold_out(vocabulary)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{path}: not readable as YAML ({error}); reinstall qr-env or mend the file") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: must hold a mapping, but holds {type(content).__name__}")
    return content


def _type(entry: dict[str, Any], file: dict[str, Any]) -> TypeWords:
    words = dict(entry)
    size = words.pop("size", None)
    features = words.pop("features", None) or ()
    for taught, held, count in (
        ("shopper", "heldout", TAUGHT_NAMES),
        ("purposes", "heldout_purposes", TAUGHT_PURPOSES),
    ):
        said = words.get(taught) or []
        words[taught], words[held] = said[:count], [*(words.get(held) or []), *said[count:]]
    try:
        return TypeWords(
            department=file["department"],
            brands=tuple(file["brands"]),
            size=Size(size["unit"], tuple(map(float, size["values"])), size["label"]) if size else None,
            features=tuple(Feature(one["name"], one["merchant"], tuple(one["shopper"])) for one in features),
            **_tuples(words),
        )
    except (KeyError, TypeError, ValueError) as error:
        fields_known = ", ".join(one.name for one in fields(TypeWords))
        raise DataError(f"type {entry.get('id')!r}: {error!r}; a type has the fields {fields_known}") from error


def _tuples(words: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in words.items()}


def _problems(vocabulary: Vocabulary) -> Iterator[str]:
    from qr_env.shop.generated.sizes import UNITS

    ids = [one.id for one in vocabulary.types]
    yield from (f"type {name!r} is there twice" for name in {name for name in ids if ids.count(name) > 1})
    for one in vocabulary.types:
        for what, used, known in (
            ("colour", one.colors, vocabulary.colors),
            ("material", one.materials, vocabulary.materials),
            ("sibling", one.siblings, ids),
            ("unit", (one.size.unit,) if one.size else (), UNITS),
        ):
            yield from (f"{one.id}: unknown {what} {name!r}" for name in used if name not in known)
        if not (one.noun and one.shopper and one.purposes):
            yield f"{one.id}: needs noun, shopper and purposes"
        if len(one.price) != 2 or not 0 < one.price[0] < one.price[1]:
            yield f"{one.id}: price must be [low, high], is {one.price}"


def _terms(phrases: Iterable[str]) -> set[str]:
    return {term for phrase in phrases for term in tokenize.terms(phrase)}


def _spoken(vocabulary: Vocabulary) -> Iterator[str]:
    """Every phrase that a product or a train query may hold."""
    for one in vocabulary.types:
        yield from (one.department, one.category, *one.brands, *one.noun, *one.shopper, *one.purposes)
        yield from one.accessories
        yield from (phrase for feature in one.features for phrase in (feature.merchant, *feature.shopper))
        if one.size:
            yield one.size.label
    for table in (vocabulary.colors, vocabulary.materials):
        for name, alias in table.items():
            yield from (name, *alias.shopper)


def _hold_out(vocabulary: Vocabulary) -> Vocabulary:
    """Without the held-out phrases whose every word is said elsewhere, by us or by the templates."""
    from qr_env.shop.generated.phrases import ALL_PHRASES

    spoken = _terms(_spoken(vocabulary)) | _terms(ALL_PHRASES)

    def own(phrases: Iterable[str]) -> set[str]:
        # Numbers and one or two letters may be said by chance, in sizes and in models' names.
        return {term for term in _terms(phrases) - spoken if len(term) > 2 and term.isalpha()}

    def fresh(phrases: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(phrase for phrase in phrases if own([phrase]))

    types = tuple(
        replace(one, heldout=fresh(one.heldout), heldout_purposes=fresh(one.heldout_purposes))
        for one in vocabulary.types
    )
    colors, materials = (
        {name: replace(alias, heldout=fresh(alias.heldout)) for name, alias in table.items()}
        for table in (vocabulary.colors, vocabulary.materials)
    )
    held = [phrase for one in types for phrase in (*one.heldout, *one.heldout_purposes)]
    held += [phrase for table in (colors, materials) for alias in table.values() for phrase in alias.heldout]
    return Vocabulary(types, colors, materials, frozenset(own(held)))
