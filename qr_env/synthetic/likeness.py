"""How queries look: their lengths, unknown words and full matches; and which made queries look like a log's.

    profiler = QueryProfiler(shop)
    profiler.profile(texts)                     # "3.2 words, 14 % with an unknown word, 47 % without a full match, …"
    profiler.alike(made, real, n, generator)    # places of n made queries, distributed as the real ones

Features of a query, counted by stem: its number of words (`LONGEST` or more together), whether a word is in no title,
and whether the titles that hold all its words are none, fewer than `MANY`, or more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qr_env.shop.shop import Shop

LONGEST = 8  # words
MANY = 10  # titles that hold all words
SWEEPS = 30  # of the raking

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class QueryProfile:
    """Means of the features of some queries; NaN without any query."""

    words: float
    """Words a query."""
    unknown: float
    """Share of the queries with a word that is in no title."""
    unmatched: float
    """Share of the queries of which no title holds every word."""
    few: float
    """Share of which some titles do, but fewer than `MANY`."""

    def __str__(self) -> str:
        return (
            f"{self.words:.1f} words, {self.unknown:.0%} with an unknown word, {self.unmatched:.0%} without a full "
            f"match, {self.few:.0%} with fewer than {MANY}"
        )


class QueryProfiler:
    """Computes the features of queries in one shop."""

    def __init__(self, shop: Shop) -> None:
        self._tokenizer = shop.tokenizer
        rows_of: defaultdict[str, list[int]] = defaultdict(list)
        for row, title in enumerate(shop.titles):
            for stem in set(self._tokenizer.terms(title)):
                rows_of[stem].append(row)
        self._titles_with = {stem: np.array(rows, np.int32) for stem, rows in rows_of.items()}

    def profile(self, texts: Sequence[str]) -> QueryProfile:
        """Means of the features."""
        if not texts:
            return QueryProfile(*[float("nan")] * 4)
        codes_FN = self.features(texts)
        length_N, unknown_N, match_N = codes_FN
        return QueryProfile(
            float(length_N.mean()), float(unknown_N.mean()), float((match_N == 0).mean()), float((match_N == 1).mean())
        )

    def features(self, texts: Sequence[str]) -> Codes:
        """(3, N): words, up to `LONGEST`; 1 with an unknown word; 0, 1 or 2 for no, few and many full matches."""
        return np.array([self._features(set(self._tokenizer.terms(text))) for text in texts], np.int64).reshape(-1, 3).T

    def _features(self, stems: set[str]) -> tuple[int, bool, int]:
        unknown = not stems <= self._titles_with.keys()
        matches = 0 if unknown or not stems else self._count_full_matches(stems)
        return min(len(stems), LONGEST), unknown, 0 if matches == 0 else 1 if matches < MANY else 2

    def _count_full_matches(self, stems: set[str]) -> int:
        rarest, *others = sorted((self._titles_with[stem] for stem in stems), key=len)
        for rows in others:
            rarest = np.intersect1d(rarest, rows, assume_unique=True)
        return len(rarest)

    def alike(self, made: Sequence[str], real: Sequence[str], n: int, generator: np.random.Generator) -> Codes:
        """Places of at most n made queries, in their order, drawn so that each feature is distributed as in `real`."""
        weights_N = raked(self.features(made), self.features(real))
        # Weighted sampling without replacement (Efraimidis & Spirakis 2006): the n greatest u^(1/w), as log u / w.
        keys_N = np.log(generator.random(len(made))) / np.maximum(weights_N, 1e-12)
        return np.sort(np.argsort(-keys_N, kind="stable")[:n])


def raked(codes_FN: Codes, wanted_FM: Codes) -> npt.NDArray[np.float64]:
    """Weights (N,) under which every feature of N queries has the marginal distribution that it has among M others.

    Raking, or iterative proportional fitting (Deming & Stephan 1940). Values that only one side has are ignored; all
    weights are 1 where the sides have none in common.
    """
    weights_N = np.ones(codes_FN.shape[1])
    for _ in range(SWEEPS):
        for code_N, wanted_M in zip(codes_FN, wanted_FM, strict=True):
            if not weights_N.any():
                return np.ones(codes_FN.shape[1])
            have_V = np.bincount(code_N, weights_N, minlength=LONGEST + 1) / weights_N.sum()
            want_V = np.bincount(wanted_M, minlength=LONGEST + 1) / len(wanted_M)
            weights_N *= np.divide(want_V, have_V, out=np.zeros_like(want_V), where=have_V > 0)[code_N]
    return weights_N if weights_N.any() else np.ones(codes_FN.shape[1])
