"""Output of the commands: reports as JSON, and texts fitted to the terminal."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path

SOURCE_WIDTH = 120  # of the docstrings; a terminal as wide shows them as they are
COMMANDS = ("qr ", "accelerate ", "torchrun ", "python ", "make ", "git ")


def write_json(target: str | None, payload: Mapping[str, object]) -> None:
    """Write a report as JSON to the file `target`, to standard output ("-"), or nowhere (None)."""
    if not target:
        return
    text = json.dumps(payload, indent=2, ensure_ascii=False, default=float)
    if target == "-":
        print(text)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_text(text + "\n", encoding="utf-8")


def fitted(text: str, columns: int) -> str:
    """The text for a terminal of so many columns.

    Lines of prose that follow one another are a paragraph. A line that is indented, is a command, names a file pattern
    or has columns (two spaces in a row) keeps its place.
    """
    if columns >= SOURCE_WIDTH:
        return text
    lines: list[str] = []
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line and not is_kept(line):
            paragraph.append(line)
            continue
        if paragraph:
            lines += textwrap.wrap(" ".join(paragraph), columns, break_long_words=False, break_on_hyphens=False)
            paragraph = []
        lines.append(line)
    return "\n".join(lines[:-1])


def is_kept(line: str) -> bool:
    """Whether a line is an example or a row of a list."""
    return line.startswith((" ", "- ", *COMMANDS)) or "  " in line or line.endswith(".*")
