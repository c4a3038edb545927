"""Which settings of the search engine suit a shop: fields, title weight, k1, b, and BM25 alone or fused with vectors.

    check = check_engines(shop, judge, queries)
    check.best.settings, check.gain, check.sentence()

Every candidate searches the same queries; the judge grades each (query, product) pair that any of them shows in its
first ten once; a candidate's figure is the judge's nDCG@10. The choice is the candidate with the best figure after
`PRICE` for each part of the baseline that it changes, so that k1 and b stay as they are unless it matters.

The gain is cross-fitted: half of the queries is scored with the choice that the other half makes, so it does not profit
from having picked the best of many. Its interval, and those of the candidates' differences from the baseline, are 95 %
paired bootstrap intervals over queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from qr_env.common.errors import DataError
from qr_env.common.protocols import FilteredRetriever, Judge
from qr_env.common.types import GAINS, Query, RowArray
from qr_env.evaluation.engine_outcome import Array, Candidate, Difference, EngineCheck
from qr_env.evaluation.scorers import condensed
from qr_env.retrieval.bm25 import BM25Settings
from qr_env.retrieval.field_counts import FieldCounts
from qr_env.retrieval.hybrid import DEPTH, fuse
from qr_env.reward import metrics
from qr_env.shop.shop import Shop

TOP = metrics.DEPTH
SHORT_FIELDS = ("brand", "category", "color")  # indexed together: a word or two each
LONG_FIELDS = ("attributes", "description")
TITLE_WEIGHTS = (1, 2, 5, 10)
K1 = (0.6, 1.2, 1.5, 2.4)
B = (0.4, 0.75, 0.9)
PRICE = 0.003  # of a changed part (one field more or less, title weight, k1, b), in the judge's nDCG@10


def check_engines(
    shop: Shop,
    judge: Judge,
    queries: Sequence[Query],
    *,
    baseline: BM25Settings | None = None,
    dense: FilteredRetriever | None = None,
    with_labels: bool = True,
    seed: int = 0,
    show_progress: bool = False,
) -> EngineCheck:
    """Compare engines on the queries.

    Args:
        judge: must not use the encoder of `dense`.
        queries: of the log, some hundreds.
        baseline: settings in use, with which the others are compared; None is the default.
        dense: fused with the baseline and with the chosen BM25, if given.
        with_labels: report figures by labels too; the choice never depends on them.
        seed: of the halves and the bootstrap.

    Raises:
        DataError: no query has a verdict of the judge.
    """
    texts = [query.text for query in queries]
    counts = FieldCounts.of(shop)
    in_use = filled_fields(baseline or BM25Settings(), counts.fields)
    settings = candidate_settings(counts.fields, in_use)
    counts = counts.restricted(texts)
    depth = min(DEPTH, len(shop.products))
    bar = tqdm(settings, desc="engines", unit="engine", disable=not show_progress)
    lists = [counts.bm25(one).search(texts, depth).rows_NK for one in bar]
    values_BP = judged_values(judge, queries, [rows_NK[:, :TOP] for rows_NK in lists])
    known_P: npt.NDArray[np.bool_] = np.asarray(~np.isnan(values_BP).any(axis=0))
    if not known_P.any():
        raise DataError(f"{shop!r}: judge {judge.name!r} has no verdict for any of {len(queries)} queries")
    at_baseline = settings.index(in_use)
    chosen = choose(values_BP[:, known_P], settings, at_baseline)
    gain_P = cross_fitted_gain(values_BP, known_P, settings, at_baseline, seed)
    bm25_count = len(lists)
    if dense is not None:
        dense_NK = dense.search(texts, depth).rows_NK
        lists += [fuse([lists[at], dense_NK], depth).rows_NK for at in sorted({at_baseline, chosen})]
        settings += [settings[at] for at in sorted({at_baseline, chosen})]
        values_BP = judged_values(judge, queries, [rows_NK[:, :TOP] for rows_NK in lists])
    labels = [labelled_values(shop, queries, rows_NK) if with_labels else {} for rows_NK in lists]
    candidates = [
        Candidate(
            one, at >= bm25_count, _mean(values_BP[at]), Difference.of(values_BP[at] - values_BP[at_baseline], seed),
            {name: _mean(values_P) for name, values_P in labels[at].items()},
        )
        for at, one in enumerate(settings)
    ]  # fmt: skip
    judged = np.array([one.judged for one in candidates[:bm25_count]])
    return EngineCheck(
        judge.name, int(known_P.sum()), candidates[at_baseline], candidates[chosen], Difference.of(gain_P, seed),
        tuple(sorted(candidates, key=_judged, reverse=True)),
        {name: Difference.of(labels[chosen][name] - labels[at_baseline][name], seed) for name in labels[at_baseline]},
        {name: pairs_agree(judged, np.array([one.labelled[name] for one in candidates[:bm25_count]]))
         for name in labels[at_baseline]},
    )  # fmt: skip


def filled_fields(settings: BM25Settings, fields: Sequence[str]) -> BM25Settings:
    """The settings without the fields that no product fills: the same lists."""
    return replace(settings, fields=tuple((name, count) for name, count in settings.fields if name in fields))


def candidate_settings(fields: Sequence[str], baseline: BM25Settings) -> list[BM25Settings]:
    """The baseline, and all combinations of indexed fields, title weight, k1 and b that rank unlike it."""
    short = tuple((name, 1) for name in SHORT_FIELDS if name in fields)
    long = [name for name in LONG_FIELDS if name in fields]
    others = [tuple((name, 1) for name in long if name in chosen) for chosen in _subsets(long)]
    sets = dict.fromkeys([(), *(short + other for other in others)])
    found = [baseline]
    for other, weight, k1, b in product(sets, TITLE_WEIGHTS, K1, B):
        found.append(BM25Settings(fields=(("title", weight), *other), k1=k1, b=b))
    distinct: dict[tuple[object, ...], BM25Settings] = {}
    for one in found:
        distinct.setdefault(_engine_key(one), one)
    return list(distinct.values())


def _subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """() … all names, the smaller sets first."""
    found: list[tuple[str, ...]] = [()]
    for name in names:
        found += [(*chosen, name) for chosen in found]
    return sorted(found, key=len)


def _engine_key(settings: BM25Settings) -> tuple[object, ...]:
    """Equal for settings that rank alike: with one field, its weight only divides k1."""
    if len(settings.fields) > 1:
        return (tuple(sorted(settings.fields)), settings.k1, settings.b)
    return (settings.fields[0][0], round(settings.k1 / settings.fields[0][1], 9), settings.b)


def judged_values(judge: Judge, queries: Sequence[Query], lists: Sequence[RowArray]) -> Array:
    """(J, P) nDCG@10 by the judge of J engines' lists, (P, 10) each; every pair is graded once. An empty list has 0.

    NaN where the judge has no verdict on any product that the engines show for a query.
    """
    shown_PM = _shown(np.concatenate(lists, axis=1))
    gains_PM = judge.grade(queries, shown_PM).gain_NK
    nothing_P = np.isnan(gains_PM).all(axis=1) & (shown_PM >= 0).any(axis=1)
    values_BP = np.zeros((len(lists), len(queries)))
    for at, rows_NK in enumerate(lists):
        place_NK = np.array([np.searchsorted(row_M, row_K) for row_M, row_K in zip(shown_PM, rows_NK, strict=True)])
        gains_NK = np.take_along_axis(gains_PM, np.minimum(place_NK, shown_PM.shape[1] - 1), axis=1)
        found_NK = np.where(rows_NK >= 0, np.nan_to_num(gains_NK), 0.0)
        values_BP[at] = metrics.dcg(found_NK) / metrics.best_dcg()
    values_BP[:, nothing_P] = np.nan
    return values_BP


def _shown(rows_PM: RowArray) -> RowArray:
    """The distinct rows of each line, ascending, -1 in front; as wide as the longest."""
    distinct = [np.unique(row_M[row_M >= 0]) for row_M in rows_PM]
    width = max(map(len, distinct), default=0) or 1
    out = np.full((len(rows_PM), width), -1, np.int32)
    for at, rows in enumerate(distinct):
        out[at, width - len(rows) :] = rows
    return out


def choose(values_BP: Array, settings: Sequence[BM25Settings], at_baseline: int) -> int:
    """The setting with the best mean after the price of its changes."""
    changes_B = np.array([changed_parts(one, settings[at_baseline]) for one in settings])
    return int(np.argmax(values_BP.mean(axis=1) - PRICE * changes_B))


def changed_parts(one: BM25Settings, other: BM25Settings) -> int:
    """Number of fields that only one of the two indexes, plus one each for another title weight, k1 and b."""
    names, others = dict(one.fields), dict(other.fields)
    values = (names.get("title") != others.get("title"), one.k1 != other.k1, one.b != other.b)
    return len(names.keys() ^ others.keys()) + sum(values)


def cross_fitted_gain(
    values_BP: Array, known_P: npt.NDArray[np.bool_], settings: Sequence[BM25Settings], at_baseline: int, seed: int
) -> Array:
    """(P,) difference from the baseline of what the other half of the queries chooses; NaN where unknown."""
    order = np.random.default_rng(seed).permutation(np.flatnonzero(known_P))
    halves = np.array_split(order, 2)
    gain_P = np.full(values_BP.shape[1], np.nan)
    for own, other in (halves, halves[::-1]):
        chosen = choose(values_BP[:, other], settings, at_baseline) if len(other) else at_baseline
        gain_P[own] = values_BP[chosen, own] - values_BP[at_baseline, own]
    return gain_P


def labelled_values(shop: Shop, queries: Sequence[Query], rows_PK: RowArray) -> dict[str, Array]:
    """Metric → (P,) by the shop's labels, NaN for a query without any; {} where no query has one."""
    query_rows_P = np.array([query.row for query in queries], np.int64)
    qrels = shop.qrels[np.maximum(query_rows_P, 0)]
    labelled_P = (np.diff(qrels.indptr) > 0) & (query_rows_P >= 0)
    if not labelled_P.any():
        return {}
    levels_PK = shop.levels(np.maximum(query_rows_P, 0), rows_PK)
    ideal_P = metrics.ideal_dcg(qrels)
    gains_PK = np.where(levels_PK < 0, np.nan, GAINS[np.maximum(levels_PK, 0)])
    figures = {
        "nDCG@10": metrics.ndcg(np.nan_to_num(gains_PK), ideal_P),
        "condensed nDCG@10": metrics.ndcg(condensed(gains_PK), ideal_P),
    }
    return {name: np.where(labelled_P, values_P, np.nan) for name, values_P in figures.items()}


def pairs_agree(first_B: Array, second_B: Array) -> float:
    """Share of the pairs that both figures order the same way, among pairs that neither ties; NaN without one."""
    upper = np.triu_indices(len(first_B), 1)
    signs = np.sign(np.subtract.outer(first_B, first_B)[upper]) * np.sign(np.subtract.outer(second_B, second_B)[upper])
    ordered = signs[signs != 0]
    return float((ordered > 0).mean()) if len(ordered) else float("nan")


def _judged(candidate: Candidate) -> float:
    return candidate.judged


def _mean(values_P: Array) -> float:
    return float(np.nanmean(values_P)) if (~np.isnan(values_P)).any() else float("nan")
