"""The settings in a student's folder, read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.suggestions.suggester import OfferSettings
from qr_env.common.atomic_io import current_version
from qr_env.common.errors import ConfigError

SETTINGS_FILE = "student.json"


def saved_settings(folder: str | Path) -> dict[str, Any]:
    """The settings that `Student.save` wrote, `SAVED_FIELDS` and the prompt template, without reading the weights.

    Raises:
        ConfigError: the folder holds no student, or the file is damaged.
    """
    file = current_version(Path(folder)) / SETTINGS_FILE
    if not file.is_file():
        raise ConfigError(f"{folder} holds no student ({SETTINGS_FILE} is missing); name a checkpoint folder")
    try:
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{file} is damaged ({error}): save or export the student again") from error
    return settings


def offer_settings(saved: Mapping[str, Any]) -> OfferSettings | None:
    """Settings of the suggester in the settings that `Student.save` wrote; None for a student that sees none."""
    if "suggester" not in saved:
        return None
    return OfferSettings.from_json(saved["suggester"])
