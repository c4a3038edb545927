"""Code shared by all retrievers: checks of search arguments, and the folder format of a saved index."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from qr_env.common.errors import ConfigError, IndexMismatchError
from qr_env.common.hashing import sha256_text
from qr_env.common.types import SearchText, WeightedText
from qr_env.shop.shop import Shop

META = "qr_index.json"


def weighted_texts(query: SearchText) -> WeightedText:
    """A search text as ((text, weight), …). Raises ConfigError for a weight that is negative or not finite."""
    if isinstance(query, str):
        return ((query, 1.0),)
    for text, weight in query:
        if not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(f"weight {weight!r} of {text[:60]!r} must be a number, 0 or more")
    return query


def check_k(k: int) -> None:
    """Raise ConfigError if k is below 1."""
    if k < 1:
        raise ConfigError(f"k is {k}; a result list needs k of 1 or more")


def cache_folder(cache_dir: Path, kind: str, shop: Shop, settings: dict[str, Any]) -> Path:
    """Folder of the index of these products with these settings."""
    key = sha256_text(json.dumps([shop.products_hash, settings], sort_keys=True), 20)
    return Path(cache_dir) / "indexes" / f"{kind}-{key}"


def write_meta(folder: Path, kind: str, products_hash: str, settings: dict[str, Any]) -> None:
    """Write the index folder's metadata: kind, hash of the products, settings."""
    meta = {"kind": kind, "products_hash": products_hash, "settings": settings}
    (folder / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def read_meta(folder: Path, kind: str, shop: Shop) -> dict[str, Any]:
    """Settings of a saved index. Raises IndexMismatchError if it is of another kind or of other products."""
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


def default_threads() -> int:
    """Default number of search threads: OMP_NUM_THREADS, else the cores of this process."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(threads)) if threads.isdigit() else len(os.sched_getaffinity(0))
