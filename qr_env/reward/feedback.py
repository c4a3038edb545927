"""What a rewrite did to the result list, as figures: BEQUE's offline feedback, diversity, and the gain in DCG.

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
  that is clicked through in search of something does not beat one that sells at once.

Missing verdicts are never zero. A product at the same rank of both lists changes nothing, so its verdict is not needed
for the gain; any other verdict missing from a top ten makes the gain, and with it the reward, NaN: an estimate would
pay for finding what the judge cannot grade. Shares and counts are of the judged products, as if the others had not
been found (read them beside `missing`), and NaN where a list holds products and none is judged. Engagement is NaN
where the shopper's is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from qr_env.common.types import Engagement, FloatArray, Grades, Hits, RowArray
from qr_env.reward.metrics import DEPTH, best_dcg, dcg

TAU = 0.5  # τ': a product counts as relevant when P(Exact or Substitute) is above it
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Feedback:
    """N steps' figures, each (N,) float32 or bool; NaN where verdicts are missing. Formulas: module docstring.

    mean_relevance, mean_relevance_before: mean f over the products in the top ten, in [0, 1]; 0 for an empty list.
    rank, rank_before: place of the best relevant product among the judged ones, from 1; 0 where there is none.
    hitrate_gain: hitrate minus that of Z_x alone. missing: share of both lists' products without a verdict.
    words, words_original: lengths in words. copied: words of the rewrite that the original, or the rewrite before
    them, already has. kept: the rewrite means "keep the original". click, cart, purchase: None without a shopper.
    """

    gain: FloatArray
    relevance: FloatArray
    mean_relevance: FloatArray
    mean_relevance_before: FloatArray
    rank: FloatArray
    rank_before: FloatArray
    increment: FloatArray
    increment_defined: BoolArray
    hitrate: FloatArray
    hitrate_gain: FloatArray
    hitrate_defined: BoolArray
    coverage: FloatArray
    diversity: FloatArray
    missing: FloatArray
    words: FloatArray
    words_original: FloatArray
    copied: FloatArray
    kept: BoolArray
    click: FloatArray | None = None
    cart: FloatArray | None = None
    purchase: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.gain)

    def __getitem__(self, index: slice | npt.NDArray[np.int_]) -> Feedback:
        values: list[Any] = [getattr(self, field.name) for field in fields(self)]
        taken: list[Any] = [None if value is None else value[index] for value in values]
        return Feedback(*taken)


@dataclass(frozen=True, slots=True)
class TextFigures:
    """What the texts alone say of N rewrites, each (N,): see `Feedback`."""

    words: FloatArray
    words_original: FloatArray
    copied: FloatArray
    kept: BoolArray


@dataclass(frozen=True, slots=True)
class Bought:
    """E: products bought for the original outside search. rows_NM int32, -1 padding; relevance_NM f, NaN missing."""

    rows_NM: RowArray
    relevance_NM: FloatArray


def text_figures(originals: Sequence[str], rewrites: Sequence[str]) -> TextFigures:
    """Lengths and copies of N rewrites, in words of the `plain` texts."""
    from qr_env.common import kernels as step_kernels

    place = {text: at for at, text in enumerate(dict.fromkeys(originals))}
    folded = list(map(str.casefold, (*place, *rewrites)))
    starts_T = np.zeros(len(folded) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, folded), np.int64, len(folded)), out=starts_T[1:])
    codes = np.frombuffer("".join(folded).encode("utf-32-le", "surrogatepass"), np.uint32)
    original_N = np.fromiter(map(place.__getitem__, originals), np.int64, len(originals))
    figures_4N = np.zeros((4, len(rewrites)), np.float32)
    if len(rewrites):
        step_kernels.compare_texts(codes, starts_T, original_N, _spaces(), figures_4N)
    words_N, words_original_N, copied_N, same_N = figures_4N
    return TextFigures(words_N, words_original_N, copied_N, (words_N == 0) | (same_N > 0))


@cache
def _spaces() -> BoolArray:
    """What `str.split` splits at, by code point; all are below the length."""
    return np.array([chr(code).isspace() for code in range(0x3001)])


def feedback(
    before: Hits,
    after: Hits,
    grades_before: Grades,
    grades_after: Grades,
    texts: TextFigures,
    excellent_P: BoolArray | None = None,
    bought: Bought | None = None,
    engaged: tuple[Engagement, Engagement] | None = None,
) -> Feedback:
    """Figures of N steps, vectorised; the formulas are in the module docstring.

    Args:
        before, after: Z_x and Z_y, (N, K) each, the same K not needed.
        grades_before, grades_after: their verdicts for the original query, (N, K, 4).
        texts: `text_figures` of the same N.
        excellent_P: (products,) True for Z_e; None counts every product as excellent.
        bought: E; None: nothing was bought outside search.
        engaged: what the shopper does with Z_x and with Z_y; None: there is no shopper.
    """
    n = _counts(before, after, grades_before, grades_after, excellent_P, bought)
    missing_b = (n["found_before"] > 0) & (n["judged_before"] == 0)
    unknown = missing_b | ((n["found_after"] > 0) & (n["judged_after"] == 0))

    def known(values: npt.NDArray[np.floating]) -> FloatArray:
        return np.where(unknown, np.nan, values).astype(np.float32)

    gain = _gain(before, after, grades_before, grades_after)
    found, judged = n["found_before"] + n["found_after"], n["judged_before"] + n["judged_after"]
    return Feedback(
        gain=np.where(texts.kept, 0, gain).astype(np.float32),
        relevance=known(_share(n["relevant_after"], n["judged_after"])),
        mean_relevance=n["mean_after"].astype(np.float32),
        mean_relevance_before=n["mean_before"].astype(np.float32),
        rank=known(n["rank_after"]),
        rank_before=known(n["rank_before"]),
        increment=known(_share(n["excellent_new"], n["excellent_before"])),
        increment_defined=n["excellent_before"] > 0,
        hitrate=known(_share(n["wanted_either"], n["wanted"])),
        hitrate_gain=known(_share(n["wanted_either"] - n["wanted_before"], n["wanted"])),
        hitrate_defined=n["wanted"] > 0,
        coverage=known(n["relevant_before"] + n["new_relevant"]),
        diversity=_share(n["new"], n["found_after"]).astype(np.float32),
        missing=_share(found - judged, found).astype(np.float32),
        words=texts.words,
        words_original=texts.words_original,
        copied=texts.copied,
        kept=texts.kept,
        **_engagement(engaged, texts.kept),
    )


def _share(part_N: npt.NDArray[np.generic], whole_N: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """part / whole of counts, 0 where the whole, and so the part, is 0."""
    return np.divide(part_N, np.maximum(whole_N, 1))


def _counts(
    before: Hits,
    after: Hits,
    grades_before: Grades,
    grades_after: Grades,
    excellent_P: BoolArray | None,
    bought: Bought | None,
) -> dict[str, npt.NDArray[np.float64]]:
    """What each of N pairs of lists holds, name → (N,), in one compiled pass: names in `step_kernels`."""
    from qr_env.common import kernels as step_kernels

    bought = bought or Bought(np.zeros((len(before), 0), np.int32), np.zeros((len(before), 0), np.float32))
    excellent_P = np.zeros(0, np.bool_) if excellent_P is None else excellent_P
    counts_CN = np.empty((len(step_kernels.COUNTS), len(before)))
    lists = (before.rows_NK, grades_before.probs_NK4, after.rows_NK, grades_after.probs_NK4)
    step_kernels.compare(*lists, excellent_P, bought.rows_NM, bought.relevance_NM, TAU, DEPTH, counts_CN)
    return dict(zip(step_kernels.COUNTS, counts_CN, strict=True))


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
