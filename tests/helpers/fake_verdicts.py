"""Text pairs with deterministic verdicts, to fill verdict stores in tests.

pairs = text_pairs(50)
store.put(JUDGE, pairs, verdicts(pairs))
store.get(JUDGE, keys(pairs))
"""

from __future__ import annotations

import numpy as np

from judges.verdict_store.index import digest, digests, pair_keys
from qr_env.common.types import FloatArray

JUDGE = "fake@1"
Pairs = list[tuple[str, str]]


def verdicts(pairs: Pairs, salt: str = "") -> FloatArray:
    """(M, 4) probabilities that depend on the pair alone."""
    raw = b"".join(digest(f"{query}|{product}|{salt}") for query, product in pairs)
    weights_M4 = np.frombuffer(raw, "<u4").reshape(-1, 4).astype(np.float64) + 1.0
    return (weights_M4 / weights_M4.sum(axis=1, keepdims=True)).astype(np.float32)


def keys(pairs: Pairs) -> np.ndarray:
    """Keys of pairs, (M, 2)."""
    return pair_keys(digests(query for query, _ in pairs), digests(product for _, product in pairs))


def text_pairs(count: int, query: str = "q") -> Pairs:
    """`count` distinct pairs of seven queries."""
    return [(f"{query}{n % 7}", f"p{n}") for n in range(count)]
