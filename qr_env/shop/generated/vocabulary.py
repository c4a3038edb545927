"""The vocabulary of the generated shop: merchants' and shoppers' words for the same things, from `words/*.yaml`.

    vocabulary = load_vocabulary()
    vocabulary.types[0].noun, vocabulary.types[0].shopper, vocabulary.colors["anthracite"].shopper

One YAML file per department, and `shared.yaml` with colours and materials. A phrase under `heldout` is kept only if
it has at least one word that no other phrase of the vocabulary has: it cannot be learned from training data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from qr_env.common.errors import DataError
from qr_env.language.tokenize import ENGLISH
from qr_env.shop.generated.phrases import ALL_PHRASES
from qr_env.shop.generated.sizes import UNITS, Size

# Number of words per type that occur in training queries, each often enough to be learned; the rest is held out.
TRAIN_NAMES = 3
TRAIN_PURPOSES = 2

WORDS = Path(__file__).parent / "words"
SHARED = "shared.yaml"


@dataclass(frozen=True, slots=True)
class Alias:
    """Shoppers' words for a colour or material; the merchants' name is the key of its table."""

    shopper: tuple[str, ...] = ()
    """Words that any query may use."""
    heldout: tuple[str, ...] = ()
    """Words that only test queries may use."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A binary property of a product."""

    name: str
    """Identifier inside the type."""
    merchant: str
    """The merchants' phrase; two types that share it share the feature."""
    shopper: tuple[str, ...]
    """The shoppers' phrases."""


@dataclass(frozen=True, slots=True)
class TypeWords:
    """One product type and its words. Fields are those of the YAML, plus department and brands."""

    id: str
    """Unique key of the type."""
    department: str
    """Department that sells it; one YAML file each."""
    brands: tuple[str, ...]
    """Brands of the department."""
    noun: tuple[str, ...]
    """The merchants' nouns for the type, used in titles."""
    shopper: tuple[str, ...]
    """The shoppers' names for the type; no title uses them."""
    purposes: tuple[str, ...]
    """Phrases for what the type is used for."""
    category: str
    """Category of its products."""
    price: tuple[float, float]
    """Lowest and highest price."""
    heldout: tuple[str, ...] = ()
    """Shoppers' names that only test queries may use."""
    heldout_purposes: tuple[str, ...] = ()
    """Purposes that only test queries may use."""
    materials: tuple[str, ...] = ()
    """Materials that its products may have; keys of `Vocabulary.materials`."""
    colors: tuple[str, ...] = ()
    """Colours that its products may have; keys of `Vocabulary.colors`."""
    size: Size | None = None
    """Its measure; None if it has none."""
    features: tuple[Feature, ...] = ()
    """Features that its products may have."""
    accessories: tuple[str, ...] = ()
    """Names of accessories for the type."""
    siblings: tuple[str, ...] = ()
    """Ids of types that are substitutes for it."""


@dataclass(frozen=True)
class Vocabulary:
    """All words of the generated shop."""

    types: tuple[TypeWords, ...]
    """Product types in a fixed order; a type's number is its position."""
    colors: dict[str, Alias]
    """Merchants' colour name → shoppers' words."""
    materials: dict[str, Alias]
    """Merchants' material name → shoppers' words."""
    heldout_terms: frozenset[str] = field(default=frozenset())
    """Stems that only test queries may contain."""


@cache
def load_vocabulary(folder: Path = WORDS) -> Vocabulary:
    """Read, check and filter the vocabulary of a folder.

    Raises:
        DataError: a file does not follow the schema, or names a colour, material or sibling that does not exist.
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
    return _without_known_heldout(vocabulary)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{path}: not readable as YAML ({error}); reinstall qr-env or repair the file") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: must hold a mapping, but holds {type(content).__name__}")
    return content


def _type(entry: dict[str, Any], file: dict[str, Any]) -> TypeWords:
    words = dict(entry)
    size = words.pop("size", None)
    features = words.pop("features", None) or ()
    for train, heldout, count in (
        ("shopper", "heldout", TRAIN_NAMES),
        ("purposes", "heldout_purposes", TRAIN_PURPOSES),
    ):
        phrases = words.get(train) or []
        words[train], words[heldout] = phrases[:count], [*(words.get(heldout) or []), *phrases[count:]]
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
    ids = [one.id for one in vocabulary.types]
    yield from (f"type {name!r} occurs twice" for name in {name for name in ids if ids.count(name) > 1})
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
    return {term for phrase in phrases for term in ENGLISH.terms(phrase)}


def _train_phrases(vocabulary: Vocabulary) -> Iterator[str]:
    """Every phrase that a product or a training query may hold."""
    for one in vocabulary.types:
        yield from (one.department, one.category, *one.brands, *one.noun, *one.shopper, *one.purposes)
        yield from one.accessories
        yield from (phrase for feature in one.features for phrase in (feature.merchant, *feature.shopper))
        if one.size:
            yield one.size.label
    for table in (vocabulary.colors, vocabulary.materials):
        for name, alias in table.items():
            yield from (name, *alias.shopper)


def _without_known_heldout(vocabulary: Vocabulary) -> Vocabulary:
    """The vocabulary without held-out phrases whose every word also occurs in training phrases or templates."""
    known = _terms(_train_phrases(vocabulary)) | _terms(ALL_PHRASES)

    def new_terms(phrases: Iterable[str]) -> set[str]:
        # Numbers and one or two letters may occur by chance, in sizes and model names.
        return {term for term in _terms(phrases) - known if len(term) > 2 and term.isalpha()}

    def with_new_terms(phrases: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(phrase for phrase in phrases if new_terms([phrase]))

    types = tuple(
        replace(one, heldout=with_new_terms(one.heldout), heldout_purposes=with_new_terms(one.heldout_purposes))
        for one in vocabulary.types
    )
    colors, materials = (
        {name: replace(alias, heldout=with_new_terms(alias.heldout)) for name, alias in table.items()}
        for table in (vocabulary.colors, vocabulary.materials)
    )
    held = [phrase for one in types for phrase in (*one.heldout, *one.heldout_purposes)]
    held += [phrase for table in (colors, materials) for alias in table.values() for phrase in alias.heldout]
    return Vocabulary(types, colors, materials, frozenset(new_terms(held)))
