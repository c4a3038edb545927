"""Prompt files of judges and agents: a YAML head between two `---` lines, then the text.

    path, digest, parsed = read_prompt("grade_v2", Path("judges/llm/prompts"), "grade_v2.md", parse)

A hash of the whole file identifies the version, so that stored verdicts or texts are never used with a changed prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from qr_env.common.config_text import read_config_text
from qr_env.common.errors import ConfigError
from qr_env.common.hashing import sha256_text

T = TypeVar("T")


def read_prompt(
    name: str | Path, folder: Path, example: str, parse: Callable[[Mapping[str, Any], str], T]
) -> tuple[Path, str, T]:
    """The file's path, 12 digits of its SHA-256, and the result of `parse(head, text)`.

    Args:
        name: name of a prompt in `folder`, or any path that ends with .md.
        example: file name of a valid prompt in `folder`, named in errors.
        parse: (head, text) → parsed prompt; raises ValueError, KeyError or TypeError where a part is missing.

    Raises:
        ConfigError: no such file, or it cannot be parsed.
    """
    path = Path(name) if str(name).endswith(".md") else folder / f"{name}.md"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.md")))
        raise ConfigError(f"unknown prompt {str(name)!r}; choose one of {known}, or give the path of an .md file")
    text = read_config_text(path)
    try:
        _, head, body = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
        parts = parse(yaml.safe_load(head), body)
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        valid = f"{folder.parent.name}/{folder.name}/{example}"
        raise ConfigError(f"{path}: {error!r}; see {valid} for an example") from error
    return path, sha256_text(text, 12), parts
