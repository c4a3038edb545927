"""Figures of a rewrite's result list against the original's: BEQUE's offline feedback, diversity, gain in DCG,
engagement.

    figures = feedback(before, after, grades_before, grades_after, texts=text_figures(originals, rewrites))

Notation of BEQUE (arXiv 2311.03758, read in full): Z_x products found for the original x, Z_y for the rewrite y (what
the shopper is shown after the rewrite), f(x, z) relevance of product z to the ORIGINAL, τ' its threshold, Z_e excellent
products, E products bought for x outside search. Per query, with what the paper leaves open:

- relevance  |{z ∈ Z_y : f > τ'}| / |Z_y|. An empty Z_y has 0.
- increment  |{z ∈ Z_e ∩ (Z_x ∪ Z_y) : f > τ'}| / |{z ∈ Z_e ∩ Z_x : f > τ'}| − 1; the paper's tables are this × 100.
  Numerator − denominator is what the rewrite added, so it is added / denominator. Where the denominator is 0 (the
  original found nothing excellent: the few-recall case) we divide by 1, as if it had found one product, and
  `increment_defined` is False.
- hitrate    |{e ∈ E ∩ (Z_x ∪ Z_y) : f > τ'}| / |{e ∈ E : f > τ'}|. The paper does not filter the numerator, so its
  figure can pass 1: ours is filtered. 0 and `hitrate_defined` False where nothing relevant was bought outside.
- coverage   |{z ∈ Z_x ∪ Z_y : f > τ'}|, distinct relevant products reached.
- diversity  |Z_y \\ Z_x| / |Z_y|, share of products that the original did not find (MiniELM). An empty Z_y has 0.
- gain       (DCG@10 of Z_y − DCG@10 of Z_x) / DCG@10 of ten Exact products, in [−1, 1]: the normaliser is fixed, so
  no label of what else the shop holds is needed.
- click, cart, purchase (MiniELM's engagement), only where there is a shopper: the chance of at least one click, cart,
  purchase in Z_y minus that in Z_x, in [−1, 1]; the last is conversion. Bounded, unlike a count of clicks, so a list
  with many clicks and no purchase does not beat one with a purchase at the first click.

Missing verdicts are never zero. A product at the same rank of both lists changes nothing, so its verdict is not needed
for the gain; any other verdict missing from a top ten makes the gain, and with it the reward, NaN: an estimate would
reward rewrites for finding products that the judge cannot grade. Shares and counts are of the judged products, as if
the others had not been found (`missing` is their share), and NaN where a list holds products and none is judged.
Engagement is NaN where the shopper's is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from qr_env.common.types import Engagement, FloatArray, Grades, Hits, RowArray
from qr_env.reward.metrics import DEPTH, best_dcg, dcg
from qr_env.reward.text_figures import TextFigures

TAU = 0.5  # τ': a product counts as relevant when P(Exact or Substitute) is above it
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Feedback:
    """Figures of N rewrites against their originals; NaN where verdicts are missing. Formulas: module docstring."""

    gain: FloatArray
    """(N,) change in DCG@10 over that of ten Exact products, in [−1, 1]"""
    relevance: FloatArray
    """(N,) share of relevant products in Z_y, in [0, 1]"""
    mean_relevance: FloatArray
    """(N,) mean f over the products in the top ten of Z_y, in [0, 1]; 0 for an empty list"""
    mean_relevance_before: FloatArray
    """(N,) the same of Z_x"""
    rank: FloatArray
    """(N,) rank of the first relevant product of Z_y among the judged ones, from 1; 0 where there is none"""
    rank_before: FloatArray
    """(N,) the same of Z_x"""
    increment: FloatArray
    """(N,) excellent products added, as a multiple of the original's"""
    increment_defined: BoolArray
    """(N,) the original found an excellent product"""
    hitrate: FloatArray
    """(N,) share of the relevant products bought outside search that Z_x or Z_y holds"""
    hitrate_gain: FloatArray
    """(N,) hitrate minus that of Z_x alone"""
    hitrate_defined: BoolArray
    """(N,) a relevant product was bought outside search"""
    coverage: FloatArray
    """(N,) distinct relevant products in Z_x or Z_y"""
    diversity: FloatArray
    """(N,) share of Z_y that Z_x does not hold, in [0, 1]"""
    missing: FloatArray
    """(N,) share of both lists' products without a verdict"""
    words: FloatArray
    """(N,) words of the rewrite"""
    words_original: FloatArray
    """(N,) words of the original"""
    copied: FloatArray
    """(N,) words of the rewrite that the original has, or that stand earlier in the rewrite"""
    kept: BoolArray
    """(N,) the rewrite keeps the original"""
    malformed_weights: FloatArray
    """(N,) words of the rewrite with a `^` but no weight"""
    clipped_weights: FloatArray
    """(N,) words of the rewrite whose weight was out of range"""
    click: FloatArray | None = None
    """(N,) change in the chance of at least one click, in [−1, 1]; None without a shopper"""
    cart: FloatArray | None = None
    """(N,) the same of a product put into the cart"""
    purchase: FloatArray | None = None
    """(N,) the same of a purchase: conversion"""

    def __len__(self) -> int:
        return len(self.gain)

    def __getitem__(self, index: slice | npt.NDArray[np.int_]) -> Feedback:
        values: list[Any] = [getattr(self, field.name) for field in fields(self)]
        taken: list[Any] = [None if value is None else value[index] for value in values]
        return Feedback(*taken)


@dataclass(frozen=True, slots=True)
class Bought:
    """E of the formulas: M products bought for each of N originals outside search."""

    rows_NM: RowArray
    """(N, M) int32 product rows, -1 is padding"""
    relevance_NM: FloatArray
    """(N, M) relevance f to the original, NaN where the verdict is missing"""


def feedback(
    before: Hits,
    after: Hits,
    grades_before: Grades,
    grades_after: Grades,
    texts: TextFigures,
    excellent_C: BoolArray | None = None,
    bought: Bought | None = None,
    engaged: tuple[Engagement, Engagement] | None = None,
) -> Feedback:
    """Figures of N rewrites; the formulas are in the module docstring.

    Args:
        before, after: Z_x and Z_y, (N, K) each, the same K not needed.
        grades_before, grades_after: their verdicts for the original query, (N, K, 4).
        texts: `text_figures` of the same N.
        excellent_C: (products,) True for Z_e; None counts every product as excellent.
        bought: E; None: nothing was bought outside search.
        engaged: engagement with Z_x and with Z_y; None: there is no shopper.
    """
    n = _counts(before, after, grades_before, grades_after, excellent_C, bought)
    unjudged_before = (n["found_before"] > 0) & (n["judged_before"] == 0)
    unjudged_after = (n["found_after"] > 0) & (n["judged_after"] == 0)
    unknown = unjudged_before | unjudged_after
    gain = _gain(before, after, grades_before, grades_after)
    found, judged = n["found_before"] + n["found_after"], n["judged_before"] + n["judged_after"]
    return Feedback(
        gain=np.where(texts.kept, 0, gain).astype(np.float32),
        relevance=_nan_where(unknown, _share(n["relevant_after"], n["judged_after"])),
        mean_relevance=n["mean_after"].astype(np.float32),
        mean_relevance_before=n["mean_before"].astype(np.float32),
        rank=_nan_where(unknown, n["rank_after"]),
        rank_before=_nan_where(unknown, n["rank_before"]),
        increment=_nan_where(unknown, _share(n["excellent_new"], n["excellent_before"])),
        increment_defined=n["excellent_before"] > 0,
        hitrate=_nan_where(unknown, _share(n["wanted_either"], n["wanted"])),
        hitrate_gain=_nan_where(unknown, _share(n["wanted_either"] - n["wanted_before"], n["wanted"])),
        hitrate_defined=n["wanted"] > 0,
        coverage=_nan_where(unknown, n["relevant_before"] + n["new_relevant"]),
        diversity=_share(n["new"], n["found_after"]).astype(np.float32),
        missing=_share(found - judged, found).astype(np.float32),
        words=texts.words,
        words_original=texts.words_original,
        copied=texts.copied,
        kept=texts.kept,
        malformed_weights=texts.malformed_weights,
        clipped_weights=texts.clipped_weights,
        **_engagement(engaged, texts.kept),
    )


def _nan_where(unknown_N: BoolArray, values_N: npt.NDArray[np.floating]) -> FloatArray:
    """The values as float32, NaN where unknown."""
    return np.where(unknown_N, np.nan, values_N).astype(np.float32)


def _share(part_N: npt.NDArray[np.generic], total_N: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Ratio of counts; 0 where the denominator, and so the numerator, is 0."""
    return np.divide(part_N, np.maximum(total_N, 1))


def _counts(
    before: Hits,
    after: Hits,
    grades_before: Grades,
    grades_after: Grades,
    excellent_C: BoolArray | None,
    bought: Bought | None,
) -> dict[str, npt.NDArray[np.float64]]:
    """Counts over each of N pairs of lists, name → (N,): the names are `list_kernel.COUNTS`."""
    from qr_env.reward import list_kernel  # noqa: PLC0415 - loads numba

    bought = bought or Bought(np.zeros((len(before), 0), np.int32), np.zeros((len(before), 0), np.float32))
    excellent_C = np.zeros(0, np.bool_) if excellent_C is None else excellent_C
    counts_FN = np.empty((len(list_kernel.COUNTS), len(before)))
    lists = (before.rows_NK, grades_before.probs_NK4, after.rows_NK, grades_after.probs_NK4)
    list_kernel.count_products(*lists, excellent_C, bought.rows_NM, bought.relevance_NM, TAU, DEPTH, counts_FN)
    return dict(zip(list_kernel.COUNTS, counts_FN, strict=True))


def _gain(before: Hits, after: Hits, grades_before: Grades, grades_after: Grades) -> npt.NDArray[np.float64]:
    """Difference in DCG@10 over that of ten Exact products; NaN where a verdict that matters is missing."""
    rows_b, gains_b = _top(before, grades_before)
    rows_a, gains_a = _top(after, grades_after)
    return dcg(np.where(rows_b == rows_a, 0.0, gains_a - gains_b)) / best_dcg()


def _top(hits: Hits, grades: Grades) -> tuple[RowArray, npt.NDArray[np.float64]]:
    """Rows and gains of the first ten places, (N, 10); an empty place gains 0."""
    rows_NK = hits.rows_NK[:, :DEPTH]
    gains_NK = np.where(rows_NK >= 0, Grades(grades.probs_NK4[:, :DEPTH]).gain_NK, 0.0).astype(np.float64)
    if spare := DEPTH - rows_NK.shape[1]:
        rows_NK = np.pad(rows_NK, ((0, 0), (0, spare)), constant_values=-1)
        gains_NK = np.pad(gains_NK, ((0, 0), (0, spare)))
    return rows_NK, gains_NK


def _engagement(engaged: tuple[Engagement, Engagement] | None, kept_N: BoolArray) -> dict[str, FloatArray]:
    """Change in the chance of at least one click, cart, purchase; exactly 0 for a kept original."""
    if engaged is None:
        return {}
    before, after = engaged
    change_N3 = np.where(kept_N[:, None], np.float32(0), after.some_N3 - before.some_N3)
    return dict(zip(("click", "cart", "purchase"), change_N3.T, strict=True))
