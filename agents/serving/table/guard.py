"""The guard of a table: a rewrite is served only where a judge does not find its results worse than the query's own.

A judge gives each product a probability of the four relevance levels. With g_k and v_k the mean and the variance of the
gain of the product at rank k (levels drawn from those probabilities), d_k = 1 / log2(k + 1) and I the ideal DCG of the
judged products of both lists, the difference of the two lists' nDCG@10 has the mean and the variance

    Δ = Σ_i (d_i' − d_i) g_i / I,        V = Σ_i (d_i' − d_i)² v_i / I²

over the products i of either list, with d_i and d_i' their discounts in the query's and in the rewrite's list (0 where
absent): products that both lists show at the same rank say nothing. The 95 % interval is Δ ± 1.96 √V. It holds the
judge's own doubt about single products, and not its errors that all products share.

A judge that answers differently each time is asked `repeats` times, and the mean of its probabilities is taken: the
variance of that mixture is the mean of the v_k plus the variance of the g_k between the answers.

A rewrite passes where Δ ≥ −`tolerance`; for the most frequent queries, where a loss is dear, where the interval's lower
end is ≥ −`tolerance`. A missing verdict in either list is no proof: the query is searched as typed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from agents.serving.rewritten import Rewritten
from agents.serving.table.entry import Judged, TableEntry
from qr_env.common.protocols import Judge
from qr_env.common.text_keys import text_key
from qr_env.common.types import GAINS, FloatArray, Hits, Query, RowArray

DEPTH = 10
UNPROVEN = "not proven to be no worse, as one of the most frequent queries must be"
NORMAL_95 = 1.96


@dataclass(frozen=True)
class GuardSettings:
    """When a rewrite passes."""

    tolerance: float = 0.01
    """loss of the judge's nDCG@10 that counts as none: a judge's grades move a little with every change"""
    repeats: int = 1
    """times that the judge is asked"""


def judge_rows(
    rows: Sequence[Rewritten],
    queries: Sequence[Query],
    original: Hits,
    changed: Hits,
    product_ids: Sequence[str],
    judge: Judge,
    settings: GuardSettings,
    strict: Set[str] = frozenset(),
) -> list[TableEntry]:
    """The entries of P rows.

    Args:
        queries: P queries as the judge reads them.
        original: (P, K) hits of the queries as typed, K ≥ 10. changed: those of the rewrites.
        product_ids: by product row.
        strict: text keys of the queries whose rewrites must be proven to be no worse.
    """
    lists = [hits.rows_NK[:, :DEPTH] for hits in (original, changed)]
    probs = np.split(mean_probs(judge, [*queries, *queries], np.concatenate(lists), settings.repeats), 2)
    return [
        _entry(
            row,
            [part[at] for part in lists],
            [part[at] for part in probs],
            product_ids,
            settings,
            text_key(row.query) in strict,
        )
        for at, row in enumerate(rows)
    ]


def mean_probs(judge: Judge, queries: Sequence[Query], rows_NK: RowArray, repeats: int) -> FloatArray:
    """Mean of the verdicts of several gradings, (N, K, 4); NaN where none of them has one."""
    total_NK4 = judge.grade(queries, rows_NK).probs_NK4
    if repeats == 1:
        return total_NK4
    known_NK4 = (~np.isnan(total_NK4)).astype(np.float32)
    total_NK4 = np.nan_to_num(total_NK4)
    for _ in range(repeats - 1):
        probs_NK4 = judge.grade(queries, rows_NK).probs_NK4
        known_NK4 += ~np.isnan(probs_NK4)
        total_NK4 = total_NK4 + np.nan_to_num(probs_NK4)
    return np.where(known_NK4 > 0, total_NK4 / np.maximum(known_NK4, 1), np.nan).astype(np.float32)


def _entry(
    row: Rewritten,
    rows_K: Sequence[RowArray],
    probs_K4: Sequence[FloatArray],
    product_ids: Sequence[str],
    settings: GuardSettings,
    strict: bool,
) -> TableEntry:
    ids = [tuple(product_ids[at] for at in one.tolist() if at >= 0) for one in rows_K]
    if row.kept:
        return decided(TableEntry(row, judged=Judged(ids[0], ids[0])), settings, strict)
    judged = compared(rows_K, probs_K4)
    judged = Judged(ids[0], ids[1], judged.original, judged.rewrite, judged.low, judged.high)
    return decided(TableEntry(row, judged=judged), settings, strict)


def decided(entry: TableEntry, settings: GuardSettings, strict: bool) -> TableEntry:
    """The entry with the guard's decision, from what engine and judge saw."""
    if entry.rewritten.kept:
        passed, why = True, "searched as typed"
    elif entry.rewritten.source == "override":
        passed, why = True, "decided by a person"
    else:
        passed, why = verdict(entry.judged, settings, strict)
    return replace(entry, passed=passed, why=why)


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


def verdict(judged: Judged, settings: GuardSettings, strict: bool) -> tuple[bool, str]:
    """(whether the rewrite passes, why); strict: it must be proven to be no worse."""
    gain, low = judged.gain, judged.low
    if gain is None or low is None:
        return False, "a verdict is missing"
    text = f"judged {gain:+.3f} [{low:+.3f} {judged.high:+.3f}]"
    if gain < -settings.tolerance:
        return False, f"{text}: worse than the query as typed"
    if strict and low < -settings.tolerance:
        return False, f"{text}: {UNPROVEN}"
    return True, f"{text}, proven to be no worse" if strict else text
