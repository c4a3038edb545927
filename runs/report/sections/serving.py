"""The report's first section: which rewriter to serve, and the candidates with their intervals, from `serve.json`."""

from __future__ import annotations

from collections.abc import Sequence

from runs.common.serving_choice import IDENTITY, CandidateFigures, Grading, PairedComparison, ServingChoice
from runs.report.html import Cell, Row, render, sign_color
from runs.report.intervals import Interval, IntervalChart, interval_chart

SERVED_COLOR, OTHER_COLOR = 2, 0  # CSS variables


def serving_section(choice: ServingChoice | None) -> str:
    """Table, chart and paired comparisons for each source of grades; "" before a run's end, or without candidates."""
    if choice is None or not choice.gradings:
        return ""
    gradings = [
        {
            "grading": grading,
            "decides": grading is choice.gradings[0],
            "chart": candidates_chart(grading),
            "candidates": candidate_rows(grading, choice.max_worse),
            "comparisons": comparison_rows(grading.comparisons, choice.alpha),
        }
        for grading in choice.gradings
    ]
    return render("serving.html", gradings=gradings, max_worse=choice.max_worse, alpha=choice.alpha)


def candidates_chart(grading: Grading) -> IntervalChart | None:
    """Difference of each candidate to the original queries; None where no candidate has one."""
    intervals = [
        Interval(
            figure.name,
            _difference(figure.difference, figure.low, figure.high),
            figure.difference,
            figure.low,
            figure.high,
            SERVED_COLOR if figure.name == grading.serve else OTHER_COLOR,
        )
        for figure in grading.candidates
        if figure.name != IDENTITY
        and figure.difference is not None
        and figure.low is not None
        and figure.high is not None
    ]
    return interval_chart(intervals, {"original queries": 0.0}) if intervals else None


def candidate_rows(grading: Grading, max_worse: float) -> list[Row]:
    """One row a candidate; the one to serve is highlighted."""
    return [
        Row(
            figure.name,
            [
                Cell("–" if figure.mean is None else f"{figure.mean:.3f}"),
                _difference_cell(figure),
                _share_cell(figure.worse, "down" if (figure.worse or 0.0) > max_worse else ""),
                _share_cell(figure.better),
                _share_cell(figure.kept),
            ],
            highlighted=figure.name == grading.serve,
            name_small=figure.made_with,
        )
        for figure in grading.candidates
    ]


def comparison_rows(comparisons: Sequence[PairedComparison], alpha: float) -> list[Row]:
    """One row a pair of candidates."""
    return [
        Row(
            f"{pair.name} − {pair.baseline}",
            [
                Cell(_difference(pair.difference, pair.low, pair.high)),
                Cell(f"{pair.p_value:.4f}"),
                Cell(_result(pair, alpha), color=_result_color(pair, alpha)),
            ],
        )
        for pair in comparisons
    ]


def _result(pair: PairedComparison, alpha: float) -> str:
    if pair.p_value > alpha or pair.difference is None:
        return "not proven"
    return "better" if pair.difference > 0 else "worse"


def _result_color(pair: PairedComparison, alpha: float) -> str:
    return {"better": "up", "worse": "down"}.get(_result(pair, alpha), "")


def _difference(difference: float | None, low: float | None, high: float | None) -> str:
    if difference is None or low is None or high is None:
        return "–"
    return f"{difference:+.3f} [{low:+.3f} {high:+.3f}]"


def _difference_cell(figure: CandidateFigures) -> Cell:
    if figure.name == IDENTITY or figure.difference is None or figure.low is None or figure.high is None:
        return Cell("–")
    bounds = f"{figure.low:+.3f} … {figure.high:+.3f}"
    return Cell(f"{figure.difference:+.3f}", bounds, small_color=sign_color(figure.low, figure.high))


def _share_cell(share: float | None, color: str = "") -> Cell:
    return Cell("–" if share is None else f"{100 * share:.1f} %", color=color)
