"""Which rewriter a run says to serve: paired tests of all candidates on held-out queries, and the rule that chooses.

    grading = grade_candidates(candidates, evaluations, max_worse=0.1)
    grading.serve                      # "identity", "suggest", "online" …

Candidates are in order of simplicity: the original queries, the rewriters that train nothing, then the students. A
difference is proven where the p-value of the paired randomisation test, adjusted by Holm for all pairs of candidates,
is at most `ALPHA`. The rule:

1. A candidate may be served if it makes at most `max_worse` of the queries worse (by a judge: by more than
   `WORSE_BY_JUDGE`), is proven better than the original
   queries and, if it was trained, proven better than `suggest` too (unless that makes too many queries worse itself).
   The original queries may always be served.
2. Of these, the simplest one is served that none of the others is proven to be better than.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from qr_env.evaluation.bootstrap import interval, resampled_means
from qr_env.evaluation.paired import holm, sign_flip_p_values
from qr_env.evaluation.result import SAME, Evaluation, weighted_means
from runs.common.serving_choice import IDENTITY, CandidateFigures, Grading, PairedComparison

Array = npt.NDArray[np.float64]
SUGGEST = "suggest"
UNTRAINED = (IDENTITY, "spell", "repair", SUGGEST)  # in order of simplicity; every other candidate is a student
# A judge's grades are continuous: nearly every change of a result list moves its figure a little. People's are not.
WORSE_BY_JUDGE = 0.01
ALPHA = 0.05  # bound on the probability that any difference is called proven falsely


@dataclass(frozen=True)
class Candidate:
    """A rewriter that could be served."""

    name: str
    """column of the evaluation table"""
    agent_spec: str
    """name for `agents.factory.make_agent`, a path relative to the run folder"""
    made_with: str = ""
    """what it was built from, where that depends on the machine"""


def grade_candidates(
    candidates: Sequence[Candidate], evaluations: Mapping[str, Evaluation], max_worse: float, seed: int = 0
) -> Grading:
    """Figures, comparisons and choice by the source of grades of these evaluations.

    Args:
        candidates: from the simplest to the least simple, the original queries first.
        evaluations: name → evaluation of at least these candidates on the same queries.
        max_worse: largest share of queries that the choice may make worse.
        seed: of bootstrap and randomisation test.

    Only queries with a figure for every candidate count. Equal query texts, as in a log with a line a search, count as
    one query, since copies would narrow the intervals.
    """
    first = evaluations[candidates[0].name]
    main = first.main
    texts = [query.text for query in first.queries]
    names = [candidate.name for candidate in candidates]
    values_NF = distinct(np.stack([evaluations[name].values[main] for name in names], axis=1), texts)
    kept_NF = distinct(np.stack([evaluations[name].values["kept"] for name in names], axis=1), texts)
    known_N = ~np.isnan(values_NF).any(axis=1)
    values_NF = values_NF[known_N]
    worse_by = SAME if first.by == "labels" else WORSE_BY_JUDGE
    figures = _figures(candidates, values_NF, weighted_means(kept_NF[known_N]), worse_by, seed)
    comparisons = _comparisons(names, values_NF, seed)
    serve = choose(figures, comparisons, max_worse)
    return Grading(first.by, main, first.split, len(values_NF), worse_by, serve, figures, comparisons)


def distinct(values_NF: Array, texts: Sequence[str]) -> Array:
    """One row for each different text (ignoring case and spaces), the mean of its rows; NaN where any of them is."""
    number: dict[str, int] = {}
    group_N = np.array([number.setdefault(" ".join(text.casefold().split()), len(number)) for text in texts], int)
    sums_MF = np.zeros((len(number), values_NF.shape[1]))
    np.add.at(sums_MF, group_N, values_NF)
    means_MF: Array = sums_MF / np.bincount(group_N, minlength=len(number))[:, None]
    return means_MF


def _figures(
    candidates: Sequence[Candidate], values_NF: Array, kept_F: Array, worse_by: float, seed: int
) -> list[CandidateFigures]:
    means_F, means_RF = weighted_means(values_NF), resampled_means(values_NF, seed=seed)
    figures = []
    for at, candidate in enumerate(candidates):
        low, high = interval(means_RF[:, at] - means_RF[:, 0])
        gain_N = values_NF[:, at] - values_NF[:, 0]
        better, worse = weighted_means(np.stack([gain_N > worse_by, gain_N < -worse_by], axis=1)).tolist()
        figures.append(
            CandidateFigures(
                name=candidate.name,
                agent_spec=candidate.agent_spec,
                mean=_known(means_F[at]),
                difference=_known(means_F[at] - means_F[0]),
                low=_known(low),
                high=_known(high),
                better=_known(better),
                worse=_known(worse),
                kept=_known(kept_F[at]),
                made_with=candidate.made_with,
            )
        )
    return figures


def _comparisons(names: Sequence[str], values_NF: Array, seed: int) -> list[PairedComparison]:
    """Every pair, the less simple candidate minus the simpler one."""
    pairs = list(combinations(range(len(names)), 2))
    if not pairs:
        return []
    differences_NM = np.stack([values_NF[:, more] - values_NF[:, less] for less, more in pairs], axis=1)
    means_M = weighted_means(differences_NM)
    means_RM = resampled_means(differences_NM, seed=seed)
    p_values_M = holm(sign_flip_p_values(differences_NM, seed=seed))
    found = []
    for at, (less, more) in enumerate(pairs):
        low, high = interval(means_RM[:, at])
        figures = (_known(means_M[at]), _known(low), _known(high))
        found.append(PairedComparison(names[more], names[less], *figures, p_value=float(p_values_M[at])))
    return found


def _known(value: float) -> float | None:
    """A figure for `serve.json`: None where it is undefined."""
    return None if np.isnan(value) else float(value)


def choose(figures: Sequence[CandidateFigures], comparisons: Sequence[PairedComparison], max_worse: float) -> str:
    """The candidate to serve, by the rule of the module docstring."""
    proven = proven_better(comparisons)
    tolerable = {figure.name for figure in figures if is_tolerable(figure, max_worse)}
    servable = [figures[0].name]
    for figure in figures[1:]:
        must_beat = {IDENTITY} if figure.name in UNTRAINED else {IDENTITY, SUGGEST} & tolerable
        if figure.name in tolerable and all((figure.name, baseline) in proven for baseline in must_beat):
            servable.append(figure.name)
    # The candidate with the highest mean is never proven worse, so that one is always left.
    return next(name for name in servable if not any((other, name) in proven for other in servable))


def is_tolerable(figure: CandidateFigures, max_worse: float) -> bool:
    """Whether it makes few enough queries worse; the original queries make none."""
    return figure.name == IDENTITY or (figure.worse is not None and figure.worse <= max_worse)


def proven_better(comparisons: Sequence[PairedComparison]) -> set[tuple[str, str]]:
    """All (better, worse) pairs of candidates whose difference is proven."""
    proven = set()
    for pair in comparisons:
        if pair.difference is not None and pair.p_value <= ALPHA:
            proven.add((pair.name, pair.baseline) if pair.difference > 0 else (pair.baseline, pair.name))
    return proven
