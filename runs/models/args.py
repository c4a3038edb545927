"""Fetch model weights into the cache, or list the cached ones.

qr models fetch smollm2-135m minilm-l6
qr models fetch Qwen/Qwen2.5-0.5B-Instruct
qr models list
qr models export out/mine/checkpoints/best --out out/fast             # for serving: decodes on a CPU without torch
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass
class Args:
    """What to do, and with which models."""

    action: tyro.conf.Positional[Literal["fetch", "list", "export"]]
    """fetch: make sure that the models are in the cache. list: models with pinned weights, and cached models. export:
    convert a student's checkpoint for CTranslate2, and compare it with the checkpoint"""
    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """smollm2-135m, minilm-l6, splade-tiny, any Hugging Face id, or a local folder to check; export: the checkpoint"""
    cache: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """cache folder; default $QR_CACHE, else ~/.cache/qr-env"""
    check: bool = False
    """hash every file of cached models instead of comparing sizes and times"""
    out: Path | None = None
    """export: folder to write; --agent and qr serve take it like a checkpoint"""
    quantization: Literal["float32", "int8"] = "float32"
    """export: of the weights; int8 is for models of 100 million parameters and more"""
    shop: str = "generated"
    """export: shop whose queries compare the two"""
    queries: int = 2_000
    """export: number of queries that compare the two"""
    min_equal: float = 0.98
    """export: refuse where fewer of the rewrites are equal"""
    force: bool = False
    """export: write it all the same"""
    json: str | None = None
    """write the result as JSON to this file, "-" for standard output"""
