"""Output of the commands: reports as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


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
