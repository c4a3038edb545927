"""The page of `qr judge calibrate`: one self-contained HTML file that explains every figure.

page = write_judge_page(Path("out/judges/calibrate-icecat.html"), report)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from qr_env.common.types import LEVELS
from runs.report.charts import Chart, Line, chart
from runs.report.html import Cell, Row, render, write_page

Report = Mapping[str, Any]  # of one judge (judges/validation/calibrate.py), or of `qr judge calibrate`
Figure = Mapping[str, Any] | float | None  # value, low and high of an estimate, or a number
LEVEL_COLORS = (5, 0, 3, 2)  # number of the CSS variable, by level
CALIBRATOR_COLORS = {"as is": 0, "temperature": 3, "isotonic": 2}
STYLE = """.charts { grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); }
.charts table { font-size: 13px; margin: 8px 0; } .charts td, .charts th { padding: 6px 8px; }"""
MIN_BIN_PAIRS = 10  # pairs below which a point of the reliability diagram is noise
# Row of the table → (where in a judge's report, what it means).
ROWS: dict[str, tuple[Sequence[str], str]] = {
    "κ": (
        ("figures", "kappa"),
        "Agreement of the most probable level with the human one beyond chance (Cohen); 1 is full agreement, 0 chance.",
    ),
    "pair accuracy in queries": (
        ("figures", "pair accuracy"),
        "Share of two products of one query with different grades that the expected gain orders as people do, ties one "
        "half; 0.5 is chance. A reward compares products of one query only.",
    ),
    "Spearman": (
        ("figures", "spearman"),
        "Rank correlation of expected gain and human level over all pairs, of one query or not.",
    ),
    "κ, quadratic weights": (("figures", "kappa quadratic"), "The same, with a smaller cost for near misses."),
    "accuracy": (("figures", "accuracy"), "Share of pairs whose most probable level is the human one."),
    "AUC": (
        ("figures", "auc"),
        "Probability that an Exact or Substitute has a higher expected gain than another product; 0.5 is chance. "
        "It does not depend on thresholds.",
    ),
    "calibration error": (
        ("figures", "ece"),
        "Mean distance, over ten bins, between the stated P(Exact or Substitute) and the observed share.",
    ),
    "… after temperature": (
        ("calibrators", "temperature", "figures", "ece"),
        "Probabilities to the power 1/T; T is fitted on half of the queries, the figure is of the other half.",
    ),
    "… after isotonic": (
        ("calibrators", "isotonic", "figures", "ece"),
        "Monotone step function from expected level to level; fitted on the same half.",
    ),
    "κ after isotonic": (
        ("calibrators", "isotonic", "figures", "kappa"),
        "κ of the judge with thresholds corrected by labels; fitted on the same half.",
    ),
    "log loss": (("figures", "log loss"), "Mean −ln of the probability given to the human level, nats."),
    "… after isotonic ": (("calibrators", "isotonic", "figures", "log loss"), "Fitted on the same half."),
    "order: early − late": (
        ("order", "bias"),
        "Expected gain of a product early in its list minus that of the same product late; same pairs, lists reversed.",
    ),
    "order: flips": (("order", "flips"), "Share of verdicts whose level changes when the list is reversed."),
    "length": (("length", "bias"), "Change of expected gain for a text twice as long, at equal query and true level."),
    "query words": (
        ("words", "bias"),
        "Change of expected gain between a text with none and with all of the query's words, at equal query and true "
        "level: the reward of keyword stuffing.",
    ),
    "missing": (("missing", "share"), "Share of pairs without a verdict; never counted as 0."),
    "verdicts/s": (("speed", "verdicts/s"), "On this machine, in this run."),
    "tokens / 1,000 verdicts": (("speed", "tokens/1000"), "As the judge counts them."),
}


def write_judge_page(path: Path, report: Report) -> Path:
    """Write the page of a report of `qr judge calibrate`."""
    judges = report["judges"]
    facts = f"{report['split']} queries: {report['pairs']:,} graded pairs of {report['queries']:,} queries, seed "
    facts += f"{report['seed']}. {report['machine']['cores']} cores {report['machine']['cpu']}."
    sections = [
        render("judges.html", shop=report["shop"], facts=facts, judges=list(judges), rows=figure_rows(report)),
        *(judge_section(name, one) for name, one in judges.items()),
        render("glossary.html", items=[(name, text) for name, (_, text) in ROWS.items()]),
    ]
    return write_page(path, f"Judges on {report['shop']}", sections, STYLE)


def value_at(report: Report, path: Sequence[str]) -> Figure:
    """The value of a report at a path; None where the path does not exist."""
    value: Figure = report
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def cell(report: Report, path: Sequence[str]) -> Cell:
    """A figure with its interval; "–" where it is not defined."""
    value = value_at(report, path)
    if isinstance(value, Mapping):
        if value["value"] is None:
            return Cell("–")
        number, low, high = (f"{round(value[part], 3) + 0.0:.3f}" for part in ("value", "low", "high"))
        return Cell(number, f"{low} … {high}")
    if value is None:
        return Cell("–")
    return Cell(f"{100 * value:.1f} %" if path[-1] == "share" else f"{value:,.0f}")


def gate_decision(report: Report, min_kappa: float) -> str:
    """What a gate with this minimum κ would decide."""
    kappa = report["figures"]["kappa"]["value"]
    return "passes" if kappa is not None and kappa >= min_kappa else "refused"


def figure_rows(report: Report) -> list[Row]:
    """All figures, judges as columns, and the gate's decision where a minimum κ is set."""
    judges, min_kappa = list(report["judges"].values()), report["min_kappa"]
    rows = [Row(name, [cell(one, path) for one in judges], name == "κ") for name, (path, _) in ROWS.items()]
    if min_kappa:
        rows.append(Row(f"gate, κ ≥ {min_kappa:g}", [Cell(gate_decision(one, min_kappa)) for one in judges]))
    return rows


def judge_section(name: str, one: Report) -> str:
    """The plots of one judge."""
    return render(
        "judge.html",
        name=name,
        missing=[(kind, f"{n:,.0f}") for kind, n in one["missing"]["kinds"].items()],
        levels=list(reversed(LEVELS)),
        confusion=[(LEVELS[level], confusion_cells(level, one["confusion"][level])) for level in (3, 2, 1, 0)],
        charts=[
            reliability_chart(one),
            gain_chart(one, "words", "Share of the query's words that the text has"),
            gain_chart(one, "length", "Words the judge reads, log₂"),
        ],
    )


def confusion_cells(level: int, counts: Sequence[int]) -> list[dict[str, Any]]:
    """One row of the confusion matrix: count, share of the human level, color and strength of the shade in per cent."""
    total = max(1, sum(counts))
    return [
        {
            "count": f"{counts[judged]:,}",
            "share": f"{100 * counts[judged] / total:.0f} %",
            "color": 2 if judged == level else 5,
            "strength": round(60 * counts[judged] / total),
        }
        for judged in reversed(range(len(LEVELS)))
    ]


def reliability_chart(one: Report) -> Markup:
    """Stated probability against the observed share of Exact or Substitute, before and after each calibrator."""
    calibrators = one["calibrators"]
    curves = {name: calibrators[name]["reliability"] for name in CALIBRATOR_COLORS if name in calibrators}
    curves = curves or {"as is": one["reliability"]}
    lines = [Line("perfect", [(0.0, 0.0), (1.0, 1.0)], 1)]
    for name, points in curves.items():
        shown = [(stated, observed) for stated, observed, pairs in points if pairs >= MIN_BIN_PAIRS]
        lines.append(Line(name, shown, CALIBRATOR_COLORS[name], dots=True))
    note = f"Share that is Exact or Substitute, bins of {MIN_BIN_PAIRS} pairs or more. Fitted on half of the queries"
    return chart(Chart("Reliability", "stated P(Exact or Substitute)", lines, note=note, percent=True))


def gain_chart(one: Report, name: str, label: str) -> Markup:
    """Expected gain by x, one line for each true level."""
    curves = one[name]["gain"]
    lines = [
        Line(level, [(x, gain) for x, gain, _ in curves[level]], color, True)
        for level, color in zip(reversed(LEVELS), reversed(LEVEL_COLORS), strict=True)
    ]
    note = "One line for each true level: an unbiased judge's lines are flat and do not overlap"
    return chart(Chart(f"Expected gain by {name}", label, lines, note=note))
