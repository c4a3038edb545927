"""Combine a rewrite with its original query: three ways to search with both, in one retrieval call for a batch.

    hits = search(retriever, ["couch"], ["sofa"], mode="expand", weight=2.0, k=10)

- `replace`: the rewrite alone.
- `expand`: the original with weight `weight` together with the whole rewrite with weight 1. Words that the rewrite
  repeats are kept: a repeated word has weight `weight + 1`, so that a rewrite can stress the original's important
  words, and a dense engine embeds a complete phrase.
- `union`: both texts are searched and their lists fused by reciprocal rank, 1/(60 + rank), the original's product
  first on a tie, so that disjoint lists are interleaved (BEQUE, arXiv 2311.03758, serves the union of both).

A rewrite that is empty, or equal to the original except for case and spaces, keeps the original: its result list is the
original's, unchanged.

A rewrite's words may have weights of their own, `couch^0.3` (`qr_env.query_text.weights`): what such a word adds to a
product's score is multiplied by its weight. The original is plain text, whatever signs it holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Retriever
from qr_env.common.types import FloatArray, Hits, SearchText
from qr_env.query_text.kept import is_kept
from qr_env.query_text.weights import parse_weights

MODES = ("replace", "expand", "union")
ORIGINAL_WEIGHT = 1.0
FUSE_K = 60  # Cormack et al. 2009, "Reciprocal Rank Fusion"


def check(mode: str, weight: float) -> None:
    """Raise ConfigError for an unknown mode, or a weight that is not a positive number."""
    if mode not in MODES:
        raise ConfigError(f"combine={mode!r}: choose one of {', '.join(MODES)}")
    if not 0 < weight < float("inf"):
        raise ConfigError(f"original_weight={weight!r}: must be a positive number (the rewrite's weight is 1)")


def kept(originals: Sequence[str], rewrites: Sequence[str]) -> npt.NDArray[np.bool_]:
    """`is_kept` of N pairs, (N,) bool."""
    return np.fromiter(map(is_kept, originals, rewrites), np.bool_, len(originals))


def combined_texts(originals: Sequence[str], rewrites: Sequence[str], mode: str, weight: float) -> list[SearchText]:
    """Search texts of N rewrites that are not kept. For "union" the rewrite alone: the original is searched separately.

    `mode` and `weight` must pass `check`.
    """
    parsed = [parse_weights(rewrite).texts for rewrite in rewrites]
    if mode != "expand":
        return [texts if "^" in rewrite else rewrite for texts, rewrite in zip(parsed, rewrites, strict=True)]
    return [((original, weight), *texts) for original, texts in zip(originals, parsed, strict=True)]


def search_unique(retriever: Retriever, texts: Sequence[SearchText], k: int) -> Hits:
    """`retriever.search` in one call, every distinct text once; no call if there are no texts. Hits are (N, k)."""
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return empty(0, k)
    hits = padded(retriever.search(distinct, k), k)
    if len(distinct) == len(texts):
        return hits
    place = {text: row for row, text in enumerate(distinct)}
    return hits[np.array([place[text] for text in texts])]


def search(
    retriever: Retriever,
    originals: Sequence[str],
    rewrites: Sequence[str],
    mode: str = "expand",
    weight: float = ORIGINAL_WEIGHT,
    k: int = 100,
) -> Hits:
    """Result lists of N rewrites, (N, k), by one retrieval call. Kept originals get exactly their own hits.

    Raises ConfigError for an unknown mode or a weight that is not positive.
    """
    check(mode, weight)
    n = len(originals)
    kept_N = kept(originals, rewrites)
    parts = zip(originals, combined_texts(originals, rewrites, mode, weight), kept_N.tolist(), strict=True)
    texts: list[SearchText] = [original if keep else text for original, text, keep in parts]
    if mode != "union":
        return search_unique(retriever, texts, k)
    both = search_unique(retriever, [*texts, *originals], k)
    fused = fuse(both[n:], both[:n])
    return choose(kept_N, both[n:], fused)


def fuse(first: Hits, second: Hits) -> Hits:
    """Union of two result lists by reciprocal rank, (N, k) each and out; ties go to `first`, then to the rank."""
    n, k = first.rows_NK.shape
    # Interleaved, so that a stable sort prefers the better rank and, at one rank, the first list.
    rows_NM = np.stack([first.rows_NK, second.rows_NK], axis=2).reshape(n, 2 * k)
    scores_NM = np.tile(np.repeat(1.0 / (FUSE_K + 1.0 + np.arange(k)), 2), (n, 1))
    order_NM = np.argsort(rows_NM, axis=1, kind="stable")
    sorted_NM = np.take_along_axis(rows_NM, order_NM, axis=1)
    twice = np.nonzero((sorted_NM[:, 1:] == sorted_NM[:, :-1]) & (sorted_NM[:, 1:] >= 0))
    kept_at, spare_at = order_NM[twice], order_NM[twice[0], twice[1] + 1]
    scores_NM[twice[0], kept_at] += scores_NM[twice[0], spare_at]
    scores_NM[twice[0], spare_at] = -np.inf
    scores_NM[rows_NM < 0] = -np.inf
    best_NK = np.argsort(-scores_NM, axis=1, kind="stable")[:, :k]
    scores_NK: FloatArray = np.take_along_axis(scores_NM, best_NK, axis=1).astype(np.float32)
    rows_NK = np.where(np.isfinite(scores_NK), np.take_along_axis(rows_NM, best_NK, axis=1), -1)
    return Hits(rows_NK.astype(np.int32), scores_NK)


def choose(mask_N: npt.NDArray[np.bool_], yes: Hits, no: Hits) -> Hits:
    """Row n of `yes` where mask_N[n], else of `no`."""
    mask_N1 = mask_N[:, None]
    return Hits(np.where(mask_N1, yes.rows_NK, no.rows_NK), np.where(mask_N1, yes.scores_NK, no.scores_NK))


def empty(n: int, k: int) -> Hits:
    """N empty result lists."""
    return Hits(np.full((n, k), -1, np.int32), np.full((n, k), -np.inf, np.float32))


def padded(hits: Hits, k: int) -> Hits:
    """The same hits with exactly k columns."""
    have = hits.rows_NK.shape[1]
    if have >= k:
        return hits if have == k else Hits(hits.rows_NK[:, :k], hits.scores_NK[:, :k])
    spare = empty(len(hits), k - have)
    return Hits(
        np.concatenate([hits.rows_NK, spare.rows_NK], axis=1),
        np.concatenate([hits.scores_NK, spare.scores_NK], axis=1),
    )
