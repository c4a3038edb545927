"""`agents.suggestions.factory`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from agents.suggestions.base import Suggestion
from agents.suggestions.factory import SourceOptions, make_sources
from qr_env.common.errors import ConfigError
from tests.helpers.fakes import HashEncoder, tiny_shop
from tests.helpers.sparse import save_masked_language_model

NAMES = ["repair", "titles", "titles:bm25", "type", "log", "teacher:some"]


class Teacher:
    """Answers "sofa" to every query."""

    key = "teacher"

    def __init__(self, name: str) -> None:
        self.name, self.faults = name, dict[str, str]()

    def texts(self, queries: Sequence[str]) -> dict[str, str]:
        return dict.fromkeys(queries, "sofa")


def test_all_sources_by_name(tmp_path: Path) -> None:
    encoders: list[HashEncoder] = []

    def encoder() -> HashEncoder:
        encoders.append(HashEncoder())
        return encoders[-1]

    options = SourceOptions(tiny_shop(), encoder=encoder, teacher=Teacher, cache_dir=tmp_path)
    sources = make_sources(NAMES, options)
    assert [source.name for source in sources] == ["repair", "titles", "titles", "type", "log", "teacher"]
    assert len(encoders) == 1  # titles and type share an engine
    first = [source.suggest(["couch", "red couch"]) for source in sources]
    assert all(isinstance(one, Suggestion) for found in first for words in found for one in words)
    colours_of_sofas, bought = ({one.word for one in first[at][0]} for at in (1, 4))
    assert colours_of_sofas and bought == {"red", "blue"}  # other words are in too many of the 30 titles
    again = make_sources(NAMES, options)
    assert [source.suggest(["couch", "red couch"]) for source in again] == first
    assert (tmp_path / "suggestions" / "suggestions.sqlite").is_file()


def test_an_engine_of_learned_sparse_vectors(tmp_path: Path) -> None:
    folder = save_masked_language_model(tmp_path / "small")
    [source] = make_sources([f"titles:splade:{folder}"], SourceOptions(tiny_shop(), cache_dir=tmp_path / "cache"))
    assert source.suggest(["red sofa"])[0]


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("colour", r"no source of suggestions 'colour'.*titles\[:ENGINE\]"),
        ("log:2", "log takes no argument"),
        ("teacher", "name a language model"),
        ("teacher:some", "SourceOptions"),
        ("titles:bm52", "bm52"),
    ],
)
def test_unusable_names_are_refused(name: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make_sources([name], SourceOptions(tiny_shop()))
