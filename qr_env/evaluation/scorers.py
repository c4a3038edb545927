"""Figures of each query's result list, by the shop's labels (with ir_measures) or by a judge's grades.

    scorer = LabelScorer(shop, shop.split("test"), k=100)
    scorer.rank(hits, scorer.grade(hits))["nDCG@10"]  # (N,)

By labels, with ESCI's gains (E 1, S 0.1, C 0.01, I 0; pytrec_eval wants whole numbers, so 100, 10, 1, 0: nDCG does not
change with the scale): nDCG@10, R@100 and RR@10. A product is relevant for recall and reciprocal rank when it is Exact,
as in the ESCI paper's recall. A query that found nothing scores 0 in all three (pytrec_eval leaves it out, so that
returning nothing for a hard query would raise the mean).

By a judge: its nDCG@10 is the DCG of its expected gains over the DCG of ten Exact products, so that it needs no list of
all relevant products and does not depend on which agents are compared. A product of the first ten without a verdict is
removed together with its place: the rest moves up and is compared with as many Exact products as places remain, so that
a missing verdict is no zero. Places below the tenth never count. Reports mark it as a judge's figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import ir_measures
import numpy as np
import numpy.typing as npt
from ir_measures import RR, R, nDCG

from qr_env.common.protocols import Judge
from qr_env.common.types import EXACT, GAINS, LEVELS, Grades, Hits, Query
from qr_env.environment import original_results
from qr_env.retrieval import combine
from qr_env.reward import metrics
from qr_env.reward.feedback import Bought, feedback
from qr_env.reward.text_figures import TextFigures
from qr_env.shop.shop import Shop

Array = npt.NDArray[np.float64]
INTEGER_GAINS = {level: round(100 * float(gain)) for level, gain in enumerate(GAINS)}
# Row level + 1: NaN for ungraded, then one-hot.
ONE_HOT = np.concatenate([np.full((1, len(LEVELS)), np.nan), np.eye(len(LEVELS))]).astype(np.float32)
TOP = metrics.DEPTH
GradedHits = tuple[Hits, Grades]


class Scorer(Protocol):
    """Grades result lists of the queries that it was made for."""

    main: str
    """name of the headline figure"""
    by: str
    """source of the grades: "labels" or "judge NAME\""""

    def grade(self, hits: Hits) -> Grades:
        """Verdicts (N, K, 4), NaN where there is none."""
        ...

    def rank(self, hits: Hits, grades: Grades) -> dict[str, Array]:
        """Ranking figures by name, each (N,)."""
        ...

    def quick(self, hits: Hits) -> Array:
        """The headline figure alone, (N,)."""
        ...


class LabelScorer:
    """Scores by the shop's labels. Queries are a subset of the shop's, in the order of the hits."""

    main, by = "nDCG@10", "labels"

    def __init__(self, shop: Shop, queries: Sequence[Query], k: int = 100) -> None:
        self._shop, self._rows_N = shop, np.array([query.row for query in queries], np.int64)
        self._recall_depth = min(k, 100)
        self._ideal_N = metrics.ideal_dcg(shop.qrels[self._rows_N])
        exact = R(rel=EXACT) @ self._recall_depth
        self._names = {nDCG(gains=INTEGER_GAINS) @ TOP: self.main, exact: f"R@{self._recall_depth}"}
        self._names[RR(rel=EXACT) @ TOP] = "RR@10"
        if not shop.qrels_complete:
            self._names[nDCG(gains=INTEGER_GAINS, judged_only=True) @ TOP] = "nDCG@10 (judged only)"
        self._ids = [str(row) for row in range(len(shop.products))]
        self._evaluator = ir_measures.evaluator(list(self._names), self._qrels())

    def _qrels(self) -> dict[str, dict[str, int]]:
        """Query number → product row → level. Level 0 is left out where every pair is graded."""
        part = self._shop.qrels[self._rows_N]
        least = 1 if self._shop.qrels_complete else 0
        levels = part.data.astype(int) - 1
        qrels: dict[str, dict[str, int]] = {}
        for n, (start, end) in enumerate(zip(part.indptr[:-1], part.indptr[1:], strict=True)):
            kept = np.flatnonzero(levels[start:end] >= least) + start
            names = [self._ids[row] for row in part.indices[kept]]
            qrels[str(n)] = dict(zip(names, levels[kept].tolist(), strict=True))
        return qrels

    def grade(self, hits: Hits) -> Grades:
        """One-hot verdicts; NaN where the pair is not graded."""
        return Grades(ONE_HOT[self._shop.levels(self._rows_N, hits.rows_NK).astype(np.int64) + 1])

    def rank(self, hits: Hits, grades: Grades) -> dict[str, Array]:
        """nDCG@10, R@100, RR@10 and, where grades are incomplete, nDCG@10 over judged products only."""
        values = {name: np.zeros(len(hits)) for name in self._names.values()}
        for result in self._evaluator.iter_calc(self._run(hits)):
            values[self._names[result.measure]][int(result.query_id)] = result.value
        return values

    def _run(self, hits: Hits) -> dict[str, dict[str, float]]:
        """The lists in ir_measures' format, scored by rank: trec_eval would break ties by product id."""
        places = [float(place) for place in range(hits.rows_NK.shape[1], 0, -1)]
        lists = ([row for row in rows_K if row >= 0] for rows_K in hits.rows_NK.tolist())
        return {
            str(n): dict(zip([self._ids[row] for row in rows], places, strict=False))
            for n, rows in enumerate(lists)
            if rows
        }

    def quick(self, hits: Hits) -> Array:
        """nDCG@10 with numpy; equal to ir_measures' (tested)."""
        levels_NK = self._shop.levels(self._rows_N, np.ascontiguousarray(hits.rows_NK[:, :TOP]))
        return metrics.ndcg(GAINS[np.maximum(levels_NK, 0)], self._ideal_N)


class JudgeScorer:
    """Scores by a judge's grades, for shops without labels or in addition to them."""

    main = "judge nDCG@10"

    def __init__(self, judge: Judge, queries: Sequence[Query]) -> None:
        self._judge, self._queries = judge, list(queries)
        self.by = f"judge {judge.name}"

    def grade(self, hits: Hits) -> Grades:
        """The judge's verdicts."""
        return self._judge.grade(self._queries, hits.rows_NK)

    def rank(self, hits: Hits, grades: Grades) -> dict[str, Array]:
        """The judge's nDCG@10; NaN where the first ten hold products and none has a verdict."""
        found_NK, gains_NK = hits.found_NK[:, :TOP], grades.gain_NK[:, :TOP]
        missing_NK = found_NK & np.isnan(gains_NK)
        best_N = np.array([metrics.best_dcg(places) for places in range(TOP + 1)])[TOP - missing_NK.sum(axis=1)]
        scores_N = np.divide(metrics.dcg(condensed(gains_NK)), best_N, out=np.full(len(hits), np.nan), where=best_N > 0)
        return {self.main: np.where(missing_NK.any(axis=1) & (missing_NK == found_NK).all(axis=1), np.nan, scores_N)}

    def quick(self, hits: Hits) -> Array:
        """The same as `rank`, grading the first ten places only."""
        top = combine.padded(hits, TOP)
        return self.rank(top, self.grade(top))[self.main]


def condensed(gains_NK: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Each list without its missing (NaN) places, the rest moved up, padded with 0."""
    missing_NK = np.isnan(gains_NK)
    order_NK = np.argsort(missing_NK, axis=1, kind="stable")
    return np.take_along_axis(np.where(missing_NK, 0.0, gains_NK), order_NK, axis=1)


def list_figures(
    scorer: Scorer, before: GradedHits, after: Hits, texts: TextFigures, bought: Bought | None
) -> tuple[dict[str, Array], Grades]:
    """Every figure of N result lists after a rewrite, by name, each (N,); and the verdicts that they are based on.

    `relevance@10` and `diversity@10` are of the first page; increment, hitrate and coverage of the whole list of k.
    Definitions: `qr_env.reward.feedback`; where the original found nothing relevant, its rule for the increment applies
    (their share is identity's `nothing relevant`). NaN for a query without a purchase (hitrate) or with too few
    verdicts.
    """
    k = after.rows_NK.shape[1]
    grades = scorer.grade(after)
    values = scorer.rank(after, grades)
    values["judged@10"] = _judged_share(after, grades)
    page = feedback(*_pair(before, (after, grades), TOP), texts, bought=bought)
    full = feedback(*_pair(before, (after, grades), k), texts, bought=bought)
    values["relevance@10"] = _as_float64(page.relevance)
    values[f"increment@{k}"] = _as_float64(full.increment)
    values[f"hitrate@{k}"] = _as_float64(full.hitrate, full.hitrate_defined)
    values[f"coverage@{k}"] = _as_float64(full.coverage)
    values["diversity@10"] = _as_float64(page.diversity)
    values[f"nothing relevant@{k}"] = _as_float64(full.relevance == 0, ~np.isnan(full.relevance))
    values["zero results"] = _as_float64(~np.any(after.found_NK, axis=1))
    return values, grades


def _pair(before: GradedHits, after: GradedHits, k: int) -> tuple[Hits, Hits, Grades, Grades]:
    """Both lists and their verdicts, truncated to k where they are longer, in the argument order of `feedback`."""
    hits_b, hits_a = (combine.padded(hits, min(k, hits.rows_NK.shape[1])) for hits, _ in (before, after))
    grades_b, grades_a = (Grades(grades.probs_NK4[:, :k]) for _, grades in (before, after))
    return hits_b, hits_a, grades_b, grades_a


def likely_levels(grades: Grades, k: int = TOP) -> npt.NDArray[np.int8]:
    """The likeliest level of each of the first k products, (N, k); -1 where there is no verdict."""
    probs_NK4 = grades.probs_NK4[:, :k]
    known_NK = ~np.isnan(probs_NK4[..., 0])
    return np.where(known_NK, np.nan_to_num(probs_NK4).argmax(axis=-1), -1).astype(np.int8)


def _as_float64(values_N: npt.NDArray[Any], defined_N: npt.NDArray[np.bool_] | None = None) -> Array:
    result_N = values_N.astype(np.float64)
    return result_N if defined_N is None else np.where(defined_N, result_N, np.nan)


def _judged_share(hits: Hits, grades: Grades) -> Array:
    """Share of the first ten products that have a verdict; NaN where nothing was found."""
    found_NK = hits.found_NK[:, :TOP]
    judged_N = (found_NK & ~np.isnan(grades.probs_NK4[:, :TOP, 0])).sum(axis=1)
    found_N = found_NK.sum(axis=1)
    return np.divide(judged_N, found_N, out=np.full(len(hits), np.nan), where=found_N > 0)


def bought_outside(shop: Shop, queries: Sequence[Query], scorer: Scorer) -> Bought | None:
    """Products bought for each query outside search (BEQUE's E), graded; None where the shop has no such purchase."""
    rows_NM = original_results.bought_outside(shop, limit=max(len(shop.purchases), 1))[[query.row for query in queries]]
    if not (rows_NM >= 0).any():
        return None
    return Bought(rows_NM, scorer.grade(Hits(rows_NM, np.zeros(rows_NM.shape, np.float32))).relevance_NK)
