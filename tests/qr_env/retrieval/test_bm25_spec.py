"""Settings of BM25 in a retriever's name: read, written, and refused with a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from qr_env.common.errors import ConfigError
from qr_env.retrieval.bm25 import BM25Settings
from qr_env.retrieval.bm25_spec import bm25_spec, explicit_spec, read_bm25_settings


def test_settings_are_read_and_written() -> None:
    settings = read_bm25_settings("fields=title*5+description,k1=1.2")
    assert settings == BM25Settings(fields=(("title", 5), ("description", 1)), k1=1.2)
    assert bm25_spec(settings) == "bm25:fields=title*5+description,k1=1.2,b=0.75"
    assert read_bm25_settings(bm25_spec(settings).removeprefix("bm25:")) == settings
    assert read_bm25_settings("") == BM25Settings()


def test_a_file_becomes_its_content(tmp_path: Path) -> None:
    file = tmp_path / "engine.json"
    file.write_text('{"fields": "title*2+brand", "k1": 2, "b": 0.4}')
    assert explicit_spec(f"bm25:{file}") == "bm25:fields=title*2+brand,k1=2,b=0.4"
    assert explicit_spec(f"hybrid:bm25:{file}") == "hybrid:bm25:fields=title*2+brand,k1=2,b=0.4"
    assert [explicit_spec(name) for name in ("bm25", "dense:e5", "bm25:k1=2")] == ["bm25", "dense:e5", "bm25:k1=2"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("fast", "unknown settings \\['fast'\\]; known are fields, k1 and b"),
        ("k1=big", "k1 is 'big'; give a number"),
        ("k1=0", "k1 must be above 0"),
        ("b=1.5", "b in 0 … 1"),
        ("fields=title*1.5", "weight of 'title' is 1.5; give an integer"),
        ("fields=titel", "no text field 'titel'"),
        ("absent.json", "absent.json: no such file"),
    ],
)
def test_invalid_settings_are_named(argument: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_bm25_settings(argument)
