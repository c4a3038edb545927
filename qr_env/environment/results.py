"""Result lists of a batch with their grades, feedback and reward, and how rows of them are taken and merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qr_env.common.types import Grades, Hits, RewardTerms
from qr_env.reward.feedback import Feedback

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Results:
    """Result lists of N queries with everything computed from them."""

    hits: Hits
    """(N, K)"""
    grades: Grades
    """verdicts on the hits"""
    figures: Feedback
    """feedback against the original's list"""
    terms: RewardTerms
    """reward against the original, by term"""


def take_rows(results: Results, index_N: npt.NDArray[np.int64]) -> Results:
    """Row index_N[n] of every array."""
    by_name = {name: values[index_N] for name, values in results.terms.terms.items()}
    terms = RewardTerms(results.terms.total[index_N], by_name)
    grades = Grades(results.grades.probs_NK4[index_N])
    return Results(results.hits[index_N], grades, results.figures[index_N], terms)


def choose_rows(mask_N: npt.NDArray[np.bool_], yes: Results, no: Results) -> Results:
    """Row n of `yes` where mask_N[n], else of `no`: concatenates both, then takes rows."""
    n = len(mask_N)
    hits = Hits(*(np.concatenate([getattr(yes.hits, f), getattr(no.hits, f)]) for f in ("rows_NK", "scores_NK")))
    grades = Grades(np.concatenate([yes.grades.probs_NK4, no.grades.probs_NK4]))
    names = Feedback.__dataclass_fields__
    both: dict[str, Any] = {f: _concatenated(getattr(yes.figures, f), getattr(no.figures, f)) for f in names}
    parts = {t: np.concatenate([yes.terms.terms[t], no.terms.terms[t]]) for t in no.terms.terms}
    terms = RewardTerms(np.concatenate([yes.terms.total, no.terms.total]), parts)
    return take_rows(Results(hits, grades, Feedback(**both), terms), np.where(mask_N, np.arange(n), n + np.arange(n)))


def _concatenated(first: Array | None, second: Array | None) -> Array | None:
    """Both arrays; None where the figure was not computed."""
    return None if first is None or second is None else np.concatenate([first, second])
