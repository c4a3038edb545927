"""What every retriever can do, and the one function that builds or loads the one you name.

retriever = make_retriever("bm25", shop, Path("~/.cache/qr-env").expanduser())
hits = retriever.search(["red sofa", (("red sofa", 2.0), ("crimson couch", 1.0))], k=10)
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from qr_env.common.errors import ConfigError, IndexMismatchError
from qr_env.common.protocols import FilteredRetriever, TextEncoder
from qr_env.common.types import SearchText, WeightedText
from qr_env.shop.shop import Shop

KINDS = ("bm25", "dense", "hybrid")
META = "qr_index.json"


def make_retriever(
    kind: str, shop: Shop, cache_dir: Path | None, encoder: TextEncoder | None = None
) -> FilteredRetriever:
    """Build the retriever, or load it when `cache_dir` holds one of the same products and settings.

    kind: "bm25", "dense" or "hybrid" (bm25 + dense). cache_dir: None keeps everything in memory.
    encoder: needed for dense and hybrid, `Encoder(resolve("minilm-l6"))`. Raises ConfigError.
    """
    from qr_env.retrieval.bm25 import BM25

    if kind == "bm25":
        return BM25.cached(shop, cache_dir)
    if kind not in KINDS:
        raise ConfigError(f"no retriever {kind!r}; choose one of {', '.join(KINDS)}")
    if encoder is None:
        raise ConfigError(f"retriever {kind!r} needs an encoder: Encoder(qr_env.models.hub.resolve('minilm-l6'))")
    from qr_env.retrieval.dense import Dense
    from qr_env.retrieval.hybrid import Hybrid

    dense = Dense.cached(shop, encoder, cache_dir)
    return dense if kind == "dense" else Hybrid((BM25.cached(shop, cache_dir), dense))


def parts(query: SearchText) -> WeightedText:
    """A search text as ((text, weight), …), weights checked: finite and not negative, or ConfigError."""
    if isinstance(query, str):
        return ((query, 1.0),)
    for text, weight in query:
        if not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(f"weight {weight!r} of {text[:60]!r} must be a number, 0 or more")
    return query


def check_k(k: int) -> None:
    """A list has at least one place, or ConfigError."""
    if k < 1:
        raise ConfigError(f"k is {k}; a result list needs k of 1 or more")


def cache_folder(cache_dir: Path, kind: str, shop: Shop, settings: dict[str, Any]) -> Path:
    """Where the index of these products with these settings lives."""
    key = hashlib.sha256(json.dumps([shop.products_hash, settings], sort_keys=True).encode()).hexdigest()
    return Path(cache_dir) / "indexes" / f"{kind}-{key[:20]}"


def write_meta(folder: Path, kind: str, products_hash: str, settings: dict[str, Any]) -> None:
    """Say in the index folder what it is and which products it is of."""
    meta = {"kind": kind, "products_hash": products_hash, "settings": settings}
    (folder / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def read_meta(folder: Path, kind: str, shop: Shop) -> dict[str, Any]:
    """Settings of a saved index; IndexMismatchError when it is of another kind or of other products."""
    path = Path(folder) / META
    if not path.is_file():
        raise IndexMismatchError(f"{folder} holds no saved index (no {META}); build it again")
    meta = json.loads(path.read_text(encoding="utf-8"))
    if meta["kind"] != kind:
        raise IndexMismatchError(f"{folder} holds a {meta['kind']} index, not a {kind} one")
    if meta["products_hash"] != shop.products_hash:
        raise IndexMismatchError(
            f"{folder} was built for products {meta['products_hash'][:12]}, {shop!r} has {shop.products_hash[:12]}; "
            "build the index again for this shop"
        )
    return meta["settings"]


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` when the block ends well, and vanishes when it does not.

    A `target` that is there already is replaced.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        _swap(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _swap(scratch: Path, target: Path) -> None:
    """Put `scratch` where `target` is. Two processes may do so at once: what each wrote is the same."""
    old = scratch.with_name(scratch.name + "-old")
    with suppress(FileNotFoundError):
        target.rename(old)
    try:
        scratch.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def default_threads() -> int:
    """Threads that a search uses unless told otherwise: OMP_NUM_THREADS, else the cores of this process."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(told)) if told.isdigit() else len(os.sched_getaffinity(0))
