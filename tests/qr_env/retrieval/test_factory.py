"""Retrievers by name, this project's and those of another package."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from qr_env.common import plugins
from qr_env.common.errors import ConfigError
from qr_env.retrieval import factory
from qr_env.retrieval.factory import make_retriever
from tests.helpers.catalogue import shop_of
from tests.helpers.fakes import HashEncoder

SHOP = shop_of(["red sofa", "blue sofa", "kettle"])


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no 'bm52' among qr_env.retrievers: choose one of bm25, dense, hybrid"):
        make_retriever("bm52", SHOP)
    with pytest.raises(ConfigError, match="unknown settings"):
        make_retriever("bm25:fast", SHOP)


@pytest.mark.parametrize(("spec", "model"), [("dense", "minilm-l6"), ("hybrid", "minilm-l6"), ("dense:e5", "e5")])
def test_without_an_encoder_the_named_model_is_loaded(spec: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def resolve(name: str) -> Path:
        loaded.append(name)
        raise ConfigError("no network in tests")

    monkeypatch.setattr(factory, "resolve", resolve)
    with pytest.raises(ConfigError, match="no network"):
        make_retriever(spec, SHOP)
    assert loaded == [model]
    assert make_retriever(spec, SHOP, encoder=HashEncoder()).name == spec.partition(":")[0]


def test_another_package_registers_a_retriever(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("bm25-plus", "qr_env.retrieval.factory:build_bm25", "qr_env.retrievers")

    def entry_points(**wanted: Any) -> EntryPoints:
        return EntryPoints([point]).select(**wanted)

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    assert make_retriever("bm25-plus", SHOP).search(["sofa"], 3).rows_NK[0].tolist() == [0, 1, -1]
    assert plugins.plugin_names("qr_env.retrievers", factory.BUILDERS) == [*factory.BUILDERS, "bm25-plus"]
