"""The sentence that names the rewriter to serve, and why: first line of the terminal and of the report.

reason([grading], max_worse=0.1)
# "Serve suggest: nDCG@10 0.386 → 0.411 (+0.025 [+0.020 +0.030]), 9.0 % of 3,833 test queries worse. The student is
# no better than suggest (-0.001 [-0.004 +0.002]). Graded by labels."
"""

from __future__ import annotations

from collections.abc import Sequence

from qr_env.evaluation.result import SAME
from qr_env.evaluation.tables import number
from runs.common.serving_choice import IDENTITY, CandidateFigures, Grading, PairedComparison
from runs.online.verdict import SUGGEST, UNTRAINED, is_tolerable, proven_better

DISPLAY_NAMES = {
    IDENTITY: "the original queries",
    "warm start": "the warm start",
    "online": "the student",
    "serving": "the promoted student",
}
STUDENTS = ("online", "serving", "warm start")  # the first that there is stands for training in the sentence
NOT_ENOUGH = (
    "Serve the original queries: no held-out query that a shopper typed could be compared, so that nothing is proven "
    "better. A log of some hundred different queries has held-out ones."
)


def reason(gradings: Sequence[Grading], max_worse: float, made_up: str = "") -> str:
    """One short paragraph on one line; the first grading decides, the others are mentioned where they differ.

    made_up: what must be said first where the table is of made-up queries (`Evaluation.made_up_note`).
    """
    if not gradings or not gradings[0].queries:
        return f"{made_up} {NOT_ENOUGH}".strip()
    first = gradings[0]
    parts = [_served(first), _students(first), _refused(first, max_worse), _graded(first)]
    parts += [f"By {other.by}: {display_name(other.serve)}." for other in gradings[1:] if other.serve != first.serve]
    return " ".join(part for part in parts if part)


def display_name(name: str) -> str:
    """A candidate's name in a sentence."""
    return DISPLAY_NAMES.get(name, name)


def figures_text(difference: float | None, low: float | None, high: float | None) -> str:
    """A difference with its 95 % interval."""
    if difference is None or low is None or high is None:
        return "unknown"
    return f"{difference:+.3f} [{low:+.3f} {high:+.3f}]"


def _served(grading: Grading) -> str:
    figure = _figure(grading, grading.serve)
    if grading.serve == IDENTITY:
        best = max(grading.candidates, key=_mean)
        if best.name == IDENTITY:
            return f"Serve the original queries: no rewriter raises {grading.metric}."
        found = figures_text(best.difference, best.low, best.high)
        return f"Serve the original queries: nothing that may be served is proven better (best: {best.name}, {found})."
    raw = grading.candidates[0]
    made_with = f" ({figure.made_with})" if figure.made_with else ""
    found = figures_text(figure.difference, figure.low, figure.high)
    return (
        f"Serve {display_name(figure.name)}{made_with}: {grading.metric} {_text(raw.mean)} → {_text(figure.mean)} "
        f"({found}), {_percent(figure.worse)} of {grading.queries:,} {grading.split} queries worse{_by(grading)}."
    )


def _students(grading: Grading) -> str:
    """How the student compares with the best that trains nothing."""
    names = [figure.name for figure in grading.candidates]
    student = next((name for name in STUDENTS if name in names), None)
    baseline = SUGGEST if SUGGEST in names else grading.serve if grading.serve in UNTRAINED else IDENTITY
    pair = next((p for p in grading.comparisons if (p.name, p.baseline) == (student, baseline)), None)
    if student is None or pair is None:
        return ""
    found = figures_text(pair.difference, pair.low, pair.high)
    return f"{display_name(student).capitalize()} is {_relation(grading, pair)} {display_name(baseline)} ({found})."


def _relation(grading: Grading, pair: PairedComparison) -> str:
    proven = proven_better(grading.comparisons)
    if (pair.name, pair.baseline) in proven:
        return "better than"
    if (pair.baseline, pair.name) in proven:
        return "worse than"
    return "not proven better than" if (pair.difference or 0.0) > 0 else "no better than"


def _refused(grading: Grading, max_worse: float) -> str:
    """Candidates that are proven better than the choice, but make too many queries worse."""
    proven = proven_better(grading.comparisons)
    refused = [
        f"{display_name(figure.name)} ({_percent(figure.worse)})"
        for figure in grading.candidates
        if (figure.name, grading.serve) in proven and not is_tolerable(figure, max_worse)
    ]
    if not refused:
        return ""
    share = _percent(max_worse)
    return f"Better on average, but more than {share} of the queries worse{_by(grading)}: {', '.join(refused)}."


def _by(grading: Grading) -> str:
    """By how much a query must change, where small changes do not count."""
    return f" by more than {grading.worse_by:g}" if grading.worse_by > SAME else ""


def _graded(grading: Grading) -> str:
    chosen_on = ", which also chose the checkpoint" if grading.split == "dev" else ""
    counted = f" on {grading.queries:,} {grading.split} queries" if grading.serve == IDENTITY or chosen_on else ""
    return f"Graded by {grading.by}{counted}{chosen_on}."


def _figure(grading: Grading, name: str) -> CandidateFigures:
    return next(figure for figure in grading.candidates if figure.name == name)


def _mean(figure: CandidateFigures) -> float:
    return float("-inf") if figure.mean is None else figure.mean


def _text(value: float | None) -> str:
    return "–" if value is None else number(value)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
