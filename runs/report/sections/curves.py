"""The report's learning curves, from `metrics.jsonl`: held-out scores first, then what each update logged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from qr_env.evaluation.made_up import MADE_UP_SHARE, source_of_grades
from runs.report.charts import Chart, Line, Point, chart
from runs.report.html import render

MetricRows = Sequence[Mapping[str, Any]]
# (metric, title, note, whether it is a share); in the order of the page.
CURVES = (
    ("reward", "Reward", "Mean reward of a rewrite; keeping the original query earns 0", False),
    ("completions/mean_length", "Length", "Tokens of a rewrite", False),
    ("keep_fraction", "Originals kept", "Share of rewrites that keep the original query", True),
    ("kl", "KL to the warm start", "KL divergence of the policy from its warm start, nats a token", False),
    ("entropy", "Entropy", "Entropy of the policy, nats a token", False),
    ("groups/zero_variance", "Groups without a gradient", "Share of groups whose rewrites have equal rewards", True),
    ("loss", "Loss", "", False),
    ("grad_norm", "Gradient norm", "", False),
    ("judge/failed_fraction", "Missing verdicts", "Share of rewards that are missing because the judge failed", True),
)
EVAL_CURVES = (
    ("eval/headroom", "Headroom closed", "Dev queries: (student − identity) / (oracle − identity)", True),
    ("eval/worse", "Queries made worse", "Dev queries whose nDCG@10 fell", True),
    ("eval/kept", "Originals kept, greedy", "Dev queries that the greedy rewrite keeps", True),
    ("eval/words ratio", "Words", "Words of the rewrite / words of the query", False),
)
MAIN_METRICS = ("nDCG@10", "judge nDCG@10")


def series(metrics: MetricRows, key: str) -> list[Point]:
    """(update, value) of every line that has a finite value of the metric."""
    return [(float(row["update"]), float(row[key])) for row in metrics if _is_number(row.get(key)) and "update" in row]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def graded_by(metrics: MetricRows) -> str:
    """Name of the shop's own grades of dev queries, by which "eval/nDCG@10" is measured."""
    shares = series(metrics, MADE_UP_SHARE)
    return source_of_grades(shares[-1][1] if shares else 0.0, 1.0)


def learning_section(metrics: MetricRows) -> str:
    """The section; "" without metrics."""
    if not metrics:
        return ""
    small = [_metric_chart(metrics, *curve, dots=True) for curve in EVAL_CURVES]
    small += [_metric_chart(metrics, *curve) for curve in CURVES]
    small.append(_reward_terms_chart(metrics))
    return render("learning.html", wide=[_score_chart(metrics, main) for main in MAIN_METRICS], small=small)


def _score_chart(metrics: MetricRows, main: str) -> Markup:
    """The student on dev queries, with identity, oracle and the warm start as levels."""
    points = series(metrics, f"eval/{main}")
    if not points:
        return Markup("")
    levels = [(name, series(metrics, f"eval/{name}/{main}"), color) for name, color in (("identity", 1), ("oracle", 2))]
    drawn = [(name, found[-1][1], color) for name, found, color in levels if found]
    drawn.append(("warm start", points[0][1], 3))
    note = f"Dev queries, greedy rewrites, graded by {graded_by(metrics)}."
    if main != "nDCG@10":
        note = "Dev queries, greedy rewrites, graded by the training judge: not a measurement by labels."
    line = Line("student", points, 0, dots=True)
    return chart(Chart(f"{main} while learning", "update", [line], drawn, note, width=1060, height=320, y_label=main))


def _metric_chart(metrics: MetricRows, key: str, title: str, note: str, percent: bool, dots: bool = False) -> Markup:
    return chart(Chart(title, "update", [Line(key, series(metrics, key), 0, dots)], note=note, percent=percent))


def _reward_terms_chart(metrics: MetricRows) -> Markup:
    """The terms of the reward in one chart; terms that are always 0 are left out."""
    names = sorted({key for row in metrics for key in row if key.startswith("reward/")})
    terms = [(name.removeprefix("reward/"), series(metrics, name)) for name in names]
    nonzero = [(name, points) for name, points in terms if any(y for _, y in points)]
    lines = [Line(name, points, color % 6) for color, (name, points) in enumerate(nonzero)]
    return chart(Chart("Reward, term by term", "update", lines, note="Their sum is the reward"))
