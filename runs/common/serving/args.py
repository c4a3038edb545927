"""The flags that name a rewriter, and its shop and engine (`runs/common/serving/rewriter.py` opens it)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runs.common.reading import ReadArgs


@dataclass(kw_only=True)
class RewriterArgs(ReadArgs):
    """Flags that name a rewriter and the shop and engine that it is for."""

    shop: str = ""
    """generated, icecat, esci, wands, or the path of a folder or products file (default: the run's, else generated)"""
    retriever: str = ""
    """search engine that the rewrites are for: bm25[:SETTINGS], dense, hybrid (default: the run's, else bm25)"""
    combine: Literal["", "replace", "expand", "union"] = ""
    """how a rewrite is combined with the original query (default: as the rewriter was trained, else expand)"""
    weight: float | None = None
    """weight of the original's words in "expand" (default: as the rewriter was trained, else 1)"""
    encoder: str = "minilm-l6"
    """sentence encoder of dense, hybrid and the suggestions' second engine"""
    cache: str | None = None
    """folder that keeps indexes, vectors and suggestions between runs (default: $QR_CACHE, else ~/.cache/qr-env)"""
