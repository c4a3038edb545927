"""`fast.json` of an exported student: what the folder was made from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from qr_env.common.errors import ConfigError

FAST_FILE = "fast.json"


@dataclass(frozen=True)
class FastFacts:
    """What an exported folder was made from."""

    source: str
    """path of the checkpoint"""
    source_hash: str
    """of its files"""
    quantization: str
    """of the weights"""
    eos_token: str
    """ends a rewrite"""
    ctranslate2: str
    """version that converted it"""
    model_hash: str
    """of model.bin"""

    @classmethod
    def read(cls, folder: Path) -> FastFacts:
        """Raises ConfigError: the folder holds no exported student, or the file is damaged."""
        path = folder / FAST_FILE
        if not path.is_file():
            raise ConfigError(f"{folder} holds no exported student ({FAST_FILE} is missing): see qr models export")
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path} is damaged ({error}): export it again with qr models export") from error


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported student."""
    return (folder / FAST_FILE).is_file()
