"""Keys of verdicts, and an in-memory index of one judge's verdicts with vectorised look-ups.

keys_M2 = pair_keys(digests(queries), digests(products))
probs_M4 = index.find(keys_M2)                           # NaN where unknown
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from qr_env.common.types import LEVELS, FloatArray

Digests = npt.NDArray[np.uint64]
DAY = 86_400
ROW = np.dtype([("low", "<u8"), ("probs", "<f4", 4), ("id", "<i8"), ("used", "<i8")])


def digest(text: str) -> bytes:
    """BLAKE2b-128 of the text's UTF-8 (lone surrogates are encoded too)."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def digests(texts: Iterable[str]) -> Digests:
    """`digest` of M texts, (M, 2) uint64: about 1 µs a text, so compute them once and gather."""
    return np.frombuffer(b"".join(map(digest, texts)), "<u8").reshape(-1, 2)


def pair_keys(queries_M2: Digests, products_M2: Digests) -> Digests:
    """128-bit keys of M pairs from the digests of their texts, (M, 2) uint64. Not symmetric."""
    return _mix(queries_M2 + _mix(products_M2))


def _mix(values: Digests) -> Digests:
    """Finaliser of SplitMix64 (Steele et al. 2014), a bijection: sums of mixed halves do not cancel."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class Index:
    """One judge's verdicts in memory, sorted by the upper half of their keys (binary search)."""

    def __init__(self) -> None:
        self.last_id = 0  # greatest row id of the file that is in the index
        self.version: tuple[int, int] | None = None
        self.high = np.zeros(0, np.uint64)
        self.rows = np.zeros(0, ROW)
        self.asked = self.hits = 0  # look-ups since the counts were written to the file
        self.touched: list[npt.NDArray[np.int64]] = []  # ids whose date of use changed since then

    def add(self, keys_M2: Digests, rows: npt.NDArray[Any]) -> None:
        """Insert new verdicts; their ids are above all known ones."""
        order = np.argsort(keys_M2[:, 0])
        high, rows = keys_M2[order, 0], rows[order]
        at = np.searchsorted(self.high, high)
        self.high, self.rows = np.insert(self.high, at, high), np.insert(self.rows, at, rows)
        self.last_id = max(self.last_id, int(rows["id"].max()))

    def find(self, keys_M2: Digests) -> FloatArray:
        """(M, 4), NaN where unknown. Counts look-ups and hits, and records the ids first used today."""
        probs_M4 = np.full((len(keys_M2), len(LEVELS)), np.nan, np.float32)
        self.asked += len(keys_M2)
        if not len(self.high) or not len(keys_M2):
            return probs_M4
        at = np.minimum(np.searchsorted(self.high, keys_M2[:, 0]), len(self.high) - 1)
        found = np.flatnonzero((self.high[at] == keys_M2[:, 0]) & (self.rows["low"][at] == keys_M2[:, 1]))
        at = at[found]
        probs_M4[found] = self.rows["probs"][at]
        self.hits += len(found)
        today = int(time.time()) // DAY
        if len(stale := np.unique(at[self.rows["used"][at] < today])):
            self.rows["used"][stale] = today
            self.touched.append(self.rows["id"][stale])
        return probs_M4
