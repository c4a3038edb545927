"""Slices of queries for reports: by traffic, by the shop's own slices, and by the score of the original query.

slices_of(shop, queries, raw_N)["tail"]  # (N,) bool
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qr_env.common.types import Query
from qr_env.shop.shop import Shop

Mask = npt.NDArray[np.bool_]
TRAFFIC = ("head", "torso", "tail")
FAILING = 0.1  # headline metric below which the original query counts as failing


def slices_of(shop: Shop, queries: Sequence[Query], raw_N: npt.NDArray[np.float64]) -> dict[str, Mask]:
    """Slice name → (N,) bool; "all" is first, empty slices are left out.

    head, torso, tail: the most frequent queries that make up the first third of the shop's searches, the second third,
    and the rest; left out where all frequencies are equal. A shop's own slice of the same name takes precedence.
    original failing / fine: whether the original query scores below `FAILING` in the headline metric, raw_N.
    """
    rows_N = np.array([query.row for query in queries], np.int64)
    found = {"all": np.ones(len(queries), np.bool_)}
    found |= {"original failing": raw_N < FAILING, "original fine": raw_N >= FAILING}
    found |= {name: mask[rows_N] for name, mask in traffic_slices(shop).items()}
    found |= {name: mask[rows_N] for name, mask in shop.slices.items()}
    return {name: mask for name, mask in found.items() if mask.any()}


def traffic_slices(shop: Shop) -> dict[str, Mask]:
    """head, torso and tail over all the shop's queries, (queries,) bool each; empty when all frequencies are equal."""
    frequency_N = shop.queries["frequency"].to_numpy().astype(np.float64)
    if len(frequency_N) == 0 or frequency_N.min() == frequency_N.max():
        return {}
    order_N = np.argsort(-frequency_N, kind="stable")
    # By the share of searches of all more frequent queries, so that a single dominant query is head, not tail.
    share_N = np.empty_like(frequency_N)
    sorted_N = frequency_N[order_N]
    share_N[order_N] = (np.cumsum(sorted_N) - sorted_N) / sorted_N.sum()
    third_N = np.minimum((share_N * 3).astype(int), 2)
    return {name: third_N == third for third, name in enumerate(TRAFFIC)}
