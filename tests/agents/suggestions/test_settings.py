"""`agents.suggestions.settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.suggestions.settings import SuggestSettings
from qr_env.common.errors import ConfigError


def test_a_written_file_is_read_as_the_same_settings(tmp_path: Path) -> None:
    settings = SuggestSettings(words=10, ratio=6.0, full_matches=11, titles=30, engine="own")
    settings.write(tmp_path / "suggest.json", judge="blend")
    assert SuggestSettings.read(tmp_path / "suggest.json") == settings


@pytest.mark.parametrize(
    "values",
    [
        {"words": -1},
        {"words": 2.5},
        {"ratio": 0.0},
        {"ratio": "4"},
        {"full_matches": -1},
        {"titles": 0},
        {"engine": "third"},
    ],
)
def test_values_out_of_range_are_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"suggest setting {next(iter(values))}="):
        SuggestSettings(**values)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"settings": {"word": 3}}', '{"settings": 3}'])
def test_a_file_without_settings_names_itself(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"other\.json"):
        SuggestSettings.read(path)
    with pytest.raises(ConfigError, match=r"missing\.json"):
        SuggestSettings.read(tmp_path / "missing.json")
