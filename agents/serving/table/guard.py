"""The guard of a table: a rewrite is served only where a judge does not find its results worse than the query's own.

A judge gives each product a probability of the four relevance levels. With g_k and v_k the mean and the variance of the
gain of the product at rank k (levels drawn from those probabilities), d_k = 1 / log2(k + 1) and I the ideal DCG of the
judged products of both lists, the difference of the two lists' nDCG@10 has the mean and the variance

    Δ = Σ_i (d_i' − d_i) g_i / I,        V = Σ_i (d_i' − d_i)² v_i / I²

over the products i of either list, with d_i and d_i' their discounts in the query's and in the rewrite's list (0 where
absent): products that both lists show at the same rank say nothing. The 95 % interval is Δ ± 1.96 √V. It holds the
judge's own doubt about single products, and not its errors that all products share.

A rewrite passes where Δ ≥ −`tolerance`; for the most frequent queries, where a loss is dear, where the interval's lower
end is ≥ −`tolerance`. A missing verdict in either list is no proof: the query is searched as typed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.serving.rewritten import Rewritten
from agents.serving.table.entry import Judged, TableEntry
from qr_env.common.protocols import Judge
from qr_env.common.types import GAINS, FloatArray, Hits, Query, RowArray

DEPTH = 10
NORMAL_95 = 1.96


@dataclass(frozen=True)
class GuardSettings:
    """When a rewrite passes."""

    tolerance: float = 0.01
    """loss of the judge's nDCG@10 that counts as none: a judge's grades move a little with every change"""
    strict: float = 0.0
    """queries at least as frequent must be proven not worse, by the interval; 0: none"""


def judge_rows(
    rows: Sequence[Rewritten],
    queries: Sequence[Query],
    original: Hits,
    changed: Hits,
    product_ids: Sequence[str],
    judge: Judge,
    settings: GuardSettings,
) -> list[TableEntry]:
    """The entries of P rows.

    Args:
        queries: P queries as the judge reads them.
        original: (P, K) hits of the queries as typed, K ≥ 10. changed: those of the rewrites.
        product_ids: by product row.
    """
    lists = [hits.rows_NK[:, :DEPTH] for hits in (original, changed)]
    graded = judge.grade([*queries, *queries], np.concatenate(lists))
    probs = np.split(graded.probs_NK4, 2)
    return [
        _entry(row, [part[at] for part in lists], [part[at] for part in probs], product_ids, settings)
        for at, row in enumerate(rows)
    ]


def _entry(
    row: Rewritten,
    rows_K: Sequence[RowArray],
    probs_K4: Sequence[FloatArray],
    product_ids: Sequence[str],
    settings: GuardSettings,
) -> TableEntry:
    ids = [tuple(product_ids[at] for at in one.tolist() if at >= 0) for one in rows_K]
    if row.kept:
        return TableEntry(row, True, "searched as typed", Judged(ids[0], ids[0]))
    judged = compared(rows_K, probs_K4)
    judged = Judged(ids[0], ids[1], judged.original, judged.rewrite, judged.low, judged.high)
    if row.source == "override":
        return TableEntry(row, True, "decided by a person", judged)
    passed, why = verdict(judged, row.frequency, settings)
    return TableEntry(row, passed, why, judged)


def compared(rows_K: Sequence[RowArray], probs_K4: Sequence[FloatArray]) -> Judged:
    """Judge's nDCG@10 of two lists and the interval of their difference, by the formulas of the module docstring.

    rows_K, probs_K4: product rows (−1 is padding) and level probabilities of the query's list, then of the rewrite's.
    """
    discount_K = 1.0 / np.log2(np.arange(2, DEPTH + 2))
    weights: dict[int, list[float]] = {}
    probs: dict[int, FloatArray] = {}
    for side, (one, grades) in enumerate(zip(rows_K, probs_K4, strict=True)):
        for rank, product in enumerate(one.tolist()):
            if product >= 0:
                weights.setdefault(product, [0.0, 0.0])[side] = float(discount_K[rank])
                probs[product] = grades[rank].astype(np.float64)
    if any(np.isnan(one).any() for one in probs.values()):
        return Judged()
    if not probs:
        return Judged((), (), 0.0, 0.0, 0.0, 0.0)
    levels = np.stack(list(probs.values()))
    gain = levels @ GAINS.astype(np.float64)
    variance = levels @ np.square(GAINS.astype(np.float64)) - np.square(gain)
    discounts = np.array(list(weights.values()))
    best = np.sort(gain)[::-1][:DEPTH]
    ideal = float((best * discount_K[: len(best)]).sum())
    if ideal <= 0:
        return Judged((), (), 0.0, 0.0, 0.0, 0.0)
    before, after = (float((discounts[:, side] * gain).sum()) / ideal for side in (0, 1))
    spread = (
        NORMAL_95 * math.sqrt(max(float((np.square(discounts[:, 1] - discounts[:, 0]) * variance).sum()), 0)) / ideal
    )
    return Judged((), (), before, after, after - before - spread, after - before + spread)


def verdict(judged: Judged, frequency: float, settings: GuardSettings) -> tuple[bool, str]:
    """(whether the rewrite passes, why)."""
    gain, low = judged.gain, judged.low
    if gain is None or low is None:
        return False, "a verdict is missing"
    text = f"judged {gain:+.3f} [{low:+.3f} {judged.high:+.3f}]"
    if gain < -settings.tolerance:
        return False, f"{text}: worse than the query as typed"
    if settings.strict and frequency >= settings.strict and low < -settings.tolerance:
        return False, f"{text}: not proven to be no worse, as a query of {frequency:g} searches must be"
    return True, text
