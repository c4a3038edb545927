"""Jobs of the LLM judge: products of one query that are graded together, and their verdicts.

for job in jobs_of(pairs, size=8, missing=Counter(), limit=float("inf")): ...
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qr_env.common.types import FloatArray


@dataclass(frozen=True, slots=True)
class Job:
    """Products of one query that are graded together."""

    query: str
    """the query's text"""
    products: list[str]
    """distinct product texts"""
    places: list[list[int]]
    """for each product, the indices of its pairs in the batch (equal pairs are graded once)"""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Result of one job, for M pairs."""

    pairs_M: list[int]
    """indices of the pairs in the batch"""
    probs_M4: FloatArray
    """(M, 4) probability of each level, NaN where missing"""
    mass_M: FloatArray
    """(M,) total probability of the labels, the least over the passes, NaN where unknown"""
    kinds_M: list[str]
    """kind of failure of each pair, "" where there is a verdict"""
    text: str = ""
    """what the server generated, for audit, one line a pass"""


def concatenated(parts: list[Verdicts]) -> Verdicts:
    """The verdicts of several jobs as those of one."""
    return Verdicts(
        [place for part in parts for place in part.pairs_M],
        np.concatenate([part.probs_M4 for part in parts]),
        np.concatenate([part.mass_M for part in parts]),
        [kind for part in parts for kind in part.kinds_M],
        "\n".join(part.text for part in parts),
    )


def jobs_of(pairs: Sequence[tuple[str, str]], size: int, missing: Counter[str], limit: float) -> Iterator[Job]:
    """Jobs of `size` products of one query; equal pairs are graded once.

    Ends as soon as more than `limit` verdicts are missing: jobs in flight, which cost money, are still yielded then.
    """
    queries: dict[str, dict[str, list[int]]] = {}
    for place, (query, product) in enumerate(pairs):
        queries.setdefault(query, {}).setdefault(product, []).append(place)
    for query, products in queries.items():
        texts = list(products)
        for start in range(0, len(texts), size):
            if missing.total() > limit:
                return
            part = texts[start : start + size]
            yield Job(query, part, [products[text] for text in part])
