"""Fetch model weights into the cache, or list the cached ones.

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
    """fetch: make sure that the models are in the cache. list: models with pinned weights, and cached models"""
    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """smollm2-135m, minilm-l6, splade-tiny, any Hugging Face id, or a local folder to check"""
    cache: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """cache folder; default $QR_CACHE, else ~/.cache/qr-env"""
    check: bool = False
    """hash every file of cached models instead of comparing sizes and times"""
    json: str | None = None
    """write the result as JSON to this file, "-" for standard output"""
