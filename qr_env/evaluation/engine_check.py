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
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from qr_env.common.errors import DataError
from qr_env.common.protocols import FilteredRetriever, Judge
from qr_env.common.types import GAINS, Query, RowArray
from qr_env.evaluation.bootstrap import interval, resampled_means
from qr_env.evaluation.scorers import condensed
from qr_env.retrieval.bm25 import BM25Settings
from qr_env.retrieval.bm25_spec import bm25_spec, fields_text
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
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of means with its 95 % bootstrap interval."""

    value: float
    """on the sample"""
    low: float
    """lower end of the interval"""
    high: float
    """upper end of the interval"""

    @classmethod
    def of(cls, values_P: Array, seed: int) -> Difference:
        """Mean of one difference a query; NaN where a query has none."""
        known_P = values_P[~np.isnan(values_P)]
        if not len(known_P):
            return cls(float("nan"), float("nan"), float("nan"))
        return cls(float(known_P.mean()), *interval(resampled_means(known_P[:, None], seed=seed)[:, 0]))

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One engine and its figures."""

    settings: BM25Settings
    """of its BM25"""
    is_hybrid: bool
    """whether its list is fused with dense retrieval"""
    judged: float
    """mean nDCG@10 by the judge"""
    difference: Difference
    """in the judge's nDCG@10 from the baseline"""
    labelled: dict[str, float]
    """metric → mean by human grades or the known truth; empty without labels"""

    @property
    def spec(self) -> str:
        """The name for --retriever."""
        return ("hybrid:" if self.is_hybrid else "") + bm25_spec(self.settings)

    def to_json(self) -> dict[str, object]:
        """All figures as JSON values."""
        low, high = self.difference.low, self.difference.high
        return {
            "retriever": self.spec, "judged nDCG@10": self.judged, "difference": self.difference.value,
            "interval": [low, high], "labels": self.labelled,
        }  # fmt: skip


@dataclass(frozen=True)
class EngineCheck:
    """The outcome of `check_engines`."""

    judge: str
    """name of the judge"""
    queries: int
    """number of queries with a figure"""
    baseline: Candidate
    """the BM25 in use"""
    best: Candidate
    """the choice among BM25 engines"""
    gain: Difference
    """cross-fitted gain of the choice over the baseline, in the judge's nDCG@10"""
    candidates: tuple[Candidate, ...]
    """all engines, best figure first"""
    labelled_gain: dict[str, Difference]
    """metric → difference of the choice from the baseline by labels; empty without labels"""
    agreement: dict[str, float]
    """metric → share of the pairs of BM25 engines that judge and labels order the same way; empty without labels"""

    @property
    def is_clear(self) -> bool:
        """Whether the choice differs from the baseline and its gain's interval is above zero."""
        return self.best.spec != self.baseline.spec and self.gain.low > 0

    @property
    def served(self) -> Candidate:
        """The engine to use: the choice if it is clear, else the baseline."""
        return self.best if self.is_clear else self.baseline

    def sentence(self) -> str:
        """What to do, in one sentence."""
        by = f"nDCG@10 by judge {self.judge!r}, {self.queries:,} queries"
        if not self.is_clear:
            return f"keep {self.baseline.spec}: no setting is clearly better ({self.gain} {by})"
        return f"{_changes(self.baseline.settings, self.best.settings)}: {self.gain} {by}; --retriever {self.best.spec}"

    def to_json(self) -> dict[str, object]:
        """Everything as JSON values."""
        return {
            "judge": self.judge,
            "queries": self.queries,
            "sentence": self.sentence(),
            "is clear": self.is_clear,
            "baseline": self.baseline.to_json(),
            "best": self.best.to_json(),
            "gain": [self.gain.value, self.gain.low, self.gain.high],
            "gain by labels": {name: [d.value, d.low, d.high] for name, d in self.labelled_gain.items()},
            "pairs ordered as by labels": self.agreement,
            "candidates": [candidate.to_json() for candidate in self.candidates],
        }


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
    values_JP = judged_values(judge, queries, [rows_NK[:, :TOP] for rows_NK in lists])
    known_P: npt.NDArray[np.bool_] = np.asarray(~np.isnan(values_JP).any(axis=0))
    if not known_P.any():
        raise DataError(f"{shop!r}: judge {judge.name!r} has no verdict for any of {len(queries)} queries")
    at_baseline = settings.index(in_use)
    chosen = choose(values_JP[:, known_P], settings, at_baseline)
    gain_P = cross_fitted_gain(values_JP, known_P, settings, at_baseline, seed)
    bm25_count = len(lists)
    if dense is not None:
        dense_NK = dense.search(texts, depth).rows_NK
        lists += [fuse([lists[at], dense_NK], depth).rows_NK for at in sorted({at_baseline, chosen})]
        settings += [settings[at] for at in sorted({at_baseline, chosen})]
        values_JP = judged_values(judge, queries, [rows_NK[:, :TOP] for rows_NK in lists])
    labels = [labelled_values(shop, queries, rows_NK) if with_labels else {} for rows_NK in lists]
    candidates = [
        Candidate(
            one, at >= bm25_count, _mean(values_JP[at]), Difference.of(values_JP[at] - values_JP[at_baseline], seed),
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
    values_JP = np.zeros((len(lists), len(queries)))
    for at, rows_NK in enumerate(lists):
        place_NK = np.array([np.searchsorted(row_M, row_K) for row_M, row_K in zip(shown_PM, rows_NK, strict=True)])
        gains_NK = np.take_along_axis(gains_PM, np.minimum(place_NK, shown_PM.shape[1] - 1), axis=1)
        found_NK = np.where(rows_NK >= 0, np.nan_to_num(gains_NK), 0.0)
        values_JP[at] = metrics.dcg(found_NK) / metrics.best_dcg()
    values_JP[:, nothing_P] = np.nan
    return values_JP


def _shown(rows_PM: RowArray) -> RowArray:
    """The distinct rows of each line, ascending, -1 in front; as wide as the longest."""
    distinct = [np.unique(row_M[row_M >= 0]) for row_M in rows_PM]
    width = max(map(len, distinct), default=0) or 1
    out = np.full((len(rows_PM), width), -1, np.int32)
    for at, rows in enumerate(distinct):
        out[at, width - len(rows) :] = rows
    return out


def choose(values_JP: Array, settings: Sequence[BM25Settings], at_baseline: int) -> int:
    """The setting with the best mean after the price of its changes."""
    changes_J = np.array([changed_parts(one, settings[at_baseline]) for one in settings])
    return int(np.argmax(values_JP.mean(axis=1) - PRICE * changes_J))


def changed_parts(one: BM25Settings, other: BM25Settings) -> int:
    """Number of fields that only one of the two indexes, plus one each for another title weight, k1 and b."""
    names, others = dict(one.fields), dict(other.fields)
    values = (names.get("title") != others.get("title"), one.k1 != other.k1, one.b != other.b)
    return len(names.keys() ^ others.keys()) + sum(values)


def cross_fitted_gain(
    values_JP: Array, known_P: npt.NDArray[np.bool_], settings: Sequence[BM25Settings], at_baseline: int, seed: int
) -> Array:
    """(P,) difference from the baseline of what the other half of the queries chooses; NaN where unknown."""
    order = np.random.default_rng(seed).permutation(np.flatnonzero(known_P))
    halves = np.array_split(order, 2)
    gain_P = np.full(values_JP.shape[1], np.nan)
    for own, other in (halves, halves[::-1]):
        chosen = choose(values_JP[:, other], settings, at_baseline) if len(other) else at_baseline
        gain_P[own] = values_JP[chosen, own] - values_JP[at_baseline, own]
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


def pairs_agree(first_J: Array, second_J: Array) -> float:
    """Share of the pairs that both figures order the same way, among pairs that neither ties; NaN without one."""
    upper = np.triu_indices(len(first_J), 1)
    signs = np.sign(np.subtract.outer(first_J, first_J)[upper]) * np.sign(np.subtract.outer(second_J, second_J)[upper])
    ordered = signs[signs != 0]
    return float((ordered > 0).mean()) if len(ordered) else float("nan")


def _changes(baseline: BM25Settings, best: BM25Settings) -> str:
    """What to change, such as "index the description, title weight 10"."""
    old, new = dict(baseline.fields), dict(best.fields)
    parts = [f"index the {name}" for name in new if name not in old]
    parts += [f"leave out the {name}" for name in old if name not in new]
    if old.get("title") != new["title"]:
        parts.append(f"title weight {new['title']}")
    parts += [
        f"{name} {getattr(best, name):g}" for name in ("k1", "b") if getattr(best, name) != getattr(baseline, name)
    ]
    return ", ".join(parts) or fields_text(best)


def _judged(candidate: Candidate) -> float:
    return candidate.judged


def _mean(values_P: Array) -> float:
    return float(np.nanmean(values_P)) if (~np.isnan(values_P)).any() else float("nan")
