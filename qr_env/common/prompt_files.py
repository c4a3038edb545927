"""Prompt files, for judges and agents alike: a YAML head between two `---` lines, then the text.

    name, digest, parsed = read_prompt("grade_v2", Path("judges/llm/prompts"), "grade_v2.md", parse)

Their versions are told apart by a hash of the whole file, so that a changed prompt never meets the verdicts or texts
of its former self.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from qr_env.common.errors import ConfigError
from qr_env.common.hashing import sha256_text

T = TypeVar("T")


def read_prompt(
    name: str | Path, folder: Path, model: str, parse: Callable[[Mapping[str, Any], str], T]
) -> tuple[Path, str, T]:
    """The file's path, 12 digits of its content's SHA-256, and what `parse` makes of its head and its text.

    Args:
        name: of a prompt in `folder`, or any path that ends with .md.
        model: the prompt in `folder` that an error shows as the form to follow.
        parse: (head, text) → the parts; ValueError, KeyError or TypeError where they are not all there.

    Raises:
        ConfigError: there is no such file, or it lacks the form.
    """
    path = Path(name) if str(name).endswith(".md") else folder / f"{name}.md"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.md")))
        raise ConfigError(f"no prompt {str(name)!r}; there are {known}, or give the path of an .md file")
    text = path.read_text(encoding="utf-8")
    try:
        _, head, body = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
        parts = parse(yaml.safe_load(head), body)
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        form = f"{folder.parent.name}/{folder.name}/{model}"
        raise ConfigError(f"{path}: {error!r}; see {form} for the form of a prompt") from error
    return path, sha256_text(text, 12), parts
