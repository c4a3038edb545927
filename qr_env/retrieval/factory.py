"""Retrievers by name.

retriever = make_retriever("bm25", shop, Path("~/.cache/qr-env").expanduser())
hits = retriever.search(["red sofa", (("red sofa", 2.0), ("crimson couch", 1.0))], k=10)
"""

from __future__ import annotations

from pathlib import Path

from qr_env.common.errors import ConfigError
from qr_env.common.protocols import FilteredRetriever, TextEncoder
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.dense import Dense
from qr_env.retrieval.hybrid import Hybrid
from qr_env.shop.shop import Shop

KINDS = ("bm25", "dense", "hybrid")


def make_retriever(
    kind: str, shop: Shop, cache_dir: Path | None, encoder: TextEncoder | None = None
) -> FilteredRetriever:
    """Build the retriever, or load it when `cache_dir` holds an index of the same products and settings.

    Args:
        kind: "bm25", "dense" or "hybrid" (bm25 and dense, fused).
        shop: whose products are searched.
        cache_dir: where indexes are kept; None keeps everything in memory.
        encoder: needed by dense and hybrid, `Encoder(resolve("minilm-l6"))`.

    Raises:
        ConfigError: no such retriever, or no encoder for one that needs it.
    """
    if kind == "bm25":
        return BM25.cached(shop, cache_dir)
    if kind not in KINDS:
        raise ConfigError(f"no retriever {kind!r}; choose one of {', '.join(KINDS)}")
    if encoder is None:
        raise ConfigError(f"retriever {kind!r} needs an encoder: Encoder(qr_env.models.hub.resolve('minilm-l6'))")
    dense = Dense.cached(shop, encoder, cache_dir)
    return dense if kind == "dense" else Hybrid((BM25.cached(shop, cache_dir), dense))
