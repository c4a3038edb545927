"""The constants of `suggest` for one shop, chosen by a judge's mean over many of its queries.

    trials = tried(agent, retriever, queries, grid(), judge)
    chosen = choose(trials)                 # the best settings, where they are better than the default beyond doubt

A few constants are chosen by the mean over hundreds of queries, never a rewrite per query: a judge errs on single
queries, and the best of many rewrites by such a judge is often its greatest error. All settings are searched over the
same queries and the same suggested words; a product is graded once for each query, however many settings find it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from tqdm import tqdm

from agents.suggestions.rewriter import Suggest
from agents.suggestions.settings import NO_GATE, SuggestSettings
from qr_env.common.protocols import Judge, Retriever
from qr_env.common.types import Grades, Hits, Query
from qr_env.evaluation.bootstrap import interval, resampled_means
from qr_env.evaluation.scorers import TOP, JudgeScorer, LabelScorer
from qr_env.retrieval import combine as combining
from qr_env.shop.shop import Shop

WORDS = (3, 5, 10, 20)
RATIOS = (1.5, 2.0, 3.0, 4.0, 6.0, 10.0)
FULL_MATCHES = (1, 3, NO_GATE)
QUERIES_A_CALL = 256  # queries that are graded at a time
LABEL_DEPTH = 100  # length of the lists that labels score: recall is at 100

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting, tried on P queries."""

    settings: SuggestSettings
    """What was tried."""
    values_P: Array
    """(P,) the figure of each query's first ten results, judge nDCG@10; NaN without verdicts."""
    changed: float
    """Share of the queries whose rewrite differs from the query."""

    @property
    def mean(self) -> float:
        """Mean over the queries with verdicts; NaN where there is none."""
        return float(np.nanmean(self.values_P)) if np.isfinite(self.values_P).any() else float("nan")


def grid(base: SuggestSettings | None = None) -> list[SuggestSettings]:
    """Every combination of `WORDS`, `RATIOS` and `FULL_MATCHES`, `base` first, then repair alone (no words)."""
    base = base or SuggestSettings()
    combinations = product(WORDS, RATIOS, FULL_MATCHES)
    settings = [replace(base, words=words, ratio=ratio, full_matches=n) for words, ratio, n in combinations]
    return list(dict.fromkeys([base, replace(base, words=0), *settings]))


def rewrites_of(agent: Suggest, texts: Sequence[str], settings: Sequence[SuggestSettings]) -> list[list[str]]:
    """For each of the settings the rewrites of P texts; words are suggested once."""
    evidence = agent.evidence(texts)
    return [[agent.compose(one, chosen) for one in evidence] for chosen in settings]


def tried(
    agent: Suggest, retriever: Retriever, queries: Sequence[Query], settings: Sequence[SuggestSettings], judge: Judge
) -> list[Trial]:
    """Every setting on the same P queries, scored by the judge's nDCG@10 (`JudgeScorer`), with progress bars."""
    texts = [query.text for query in queries]
    rewrites = rewrites_of(agent, texts, settings)
    bar = tqdm(rewrites, desc="search", leave=False)
    lists = [combining.search(retriever, texts, one, agent.combine, agent.weight, TOP) for one in bar]
    grades = graded_once(judge, queries, [hits.rows_NK for hits in lists])
    scorer = JudgeScorer(judge, queries)
    return [
        Trial(chosen, scorer.rank(hits, verdicts)[scorer.main], _changed(texts, one))
        for chosen, one, hits, verdicts in zip(settings, rewrites, lists, grades, strict=True)
    ]


def _changed(texts: Sequence[str], rewrites: Sequence[str]) -> float:
    return float(1 - combining.kept(texts, rewrites).mean()) if len(texts) else float("nan")


def graded_once(judge: Judge, queries: Sequence[Query], lists: Sequence[npt.NDArray[np.int32]]) -> list[Grades]:
    """Verdicts on several (P, K) lists of the same queries, each pair of query and product graded once."""
    rows_PM = np.concatenate(lists, axis=1)
    span = int(rows_PM.max(initial=0)) + 1
    query_M, place_M = np.nonzero(rows_PM >= 0)
    pairs_M = query_M * span + rows_PM[query_M, place_M]
    distinct_U, inverse_M = np.unique(pairs_M, return_inverse=True)
    query_U, row_U = np.divmod(distinct_U, span)
    probs_U4 = _graded(judge, queries, query_U, row_U.astype(np.int32))
    probs_PM4 = np.full((*rows_PM.shape, 4), np.nan, np.float32)
    probs_PM4[query_M, place_M] = probs_U4[inverse_M]
    cuts = np.cumsum([rows_NK.shape[1] for rows_NK in lists])[:-1]
    return [Grades(part) for part in np.split(probs_PM4, cuts, axis=1)]


def _graded(
    judge: Judge, queries: Sequence[Query], query_U: npt.NDArray[np.int64], row_U: npt.NDArray[np.int32]
) -> npt.NDArray[np.float32]:
    """(U, 4) verdicts on distinct pairs, sorted by query, in batches of queries."""
    probs_U4 = np.full((len(row_U), 4), np.nan, np.float32)
    for first in tqdm(range(0, len(queries), QUERIES_A_CALL), desc="grade", leave=False):
        batch = queries[first : first + QUERIES_A_CALL]
        start, end = np.searchsorted(query_U, (first, first + len(batch)))
        if start == end:
            continue
        own_U = query_U[start:end] - first
        place_U = np.arange(end - start) - np.searchsorted(own_U, own_U)
        rows_PM = np.full((len(batch), int(place_U.max()) + 1), -1, np.int32)
        rows_PM[own_U, place_U] = row_U[start:end]
        probs_U4[start:end] = judge.grade(batch, rows_PM).probs_NK4[own_U, place_U]
    return probs_U4


def differences(trials: Sequence[Trial], seed: int = 0) -> list[tuple[float, float, float]]:
    """Of each trial the mean difference to the first one, and its 95 % interval (paired bootstrap over the queries)."""
    values_PF = np.stack([trial.values_P - trials[0].values_P for trial in trials], axis=1)
    means_RF = resampled_means(values_PF, seed=seed)
    means_F = np.array([np.nanmean(column) if np.isfinite(column).any() else np.nan for column in values_PF.T])
    return [(float(mean), *interval(means_R)) for mean, means_R in zip(means_F, means_RF.T, strict=True)]


def choose(trials: Sequence[Trial], seed: int = 0) -> Trial:
    """The trial with the greatest mean, if the interval of its difference to the first is above 0; else the first."""
    gains = differences(trials, seed)
    best = int(np.argmax(np.nan_to_num([mean for mean, _, _ in gains], nan=-np.inf)))
    return trials[best] if gains[best][1] > 0 else trials[0]


def label_means(
    agent: Suggest, retriever: Retriever, shop: Shop, queries: Sequence[Query], settings: Sequence[SuggestSettings]
) -> list[dict[str, float]]:
    """What people say: of each setting the means of the labels' figures over queries with labels, by name."""
    texts = [query.text for query in queries]
    scorer = LabelScorer(shop, queries, LABEL_DEPTH)
    means = []
    for rewrites in tqdm(rewrites_of(agent, texts, settings), desc="labels", leave=False):
        hits: Hits = combining.search(retriever, texts, rewrites, agent.combine, agent.weight, LABEL_DEPTH)
        figures = scorer.rank(hits, scorer.grade(hits))
        means.append({name: float(values_P.mean()) for name, values_P in figures.items()})
    return means


def agreement(trials: Sequence[Trial], labels: Sequence[dict[str, float]]) -> dict[str, float]:
    """Spearman's correlation, over the settings, of the judge's means with each of the labels' means, by name.

    NaN where one of them is the same for all settings.
    """
    judged = [trial.mean for trial in trials]
    return {name: _spearman(judged, [means[name] for means in labels]) for name in labels[0]}


def _spearman(first: Sequence[float], second: Sequence[float]) -> float:
    if len(set(first)) < 2 or len(set(second)) < 2:
        return float("nan")
    return float(spearmanr(first, second).statistic)
