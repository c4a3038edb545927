"""Fetch weights into the cache, or list what is there.

qr models fetch smollm2-135m minilm-l6
qr models fetch Qwen/Qwen2.5-0.5B-Instruct
qr models list
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass
class Args:
    """What to do, and with which models."""

    action: tyro.conf.Positional[Literal["fetch", "list"]]
    """fetch: make sure that the models are in the cache. list: what is known and what is cached."""
    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """smollm2-135m, minilm-l6, any Hugging Face id, or a local folder to check."""
    cache: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where to keep them; default $QR_CACHE, else ~/.cache/qr-env."""
    check: bool = False
    """Hash every file of models that are cached already, instead of comparing sizes and times."""
    json: str | None = None
    """Write the result as JSON to this file, "-" for standard output."""
