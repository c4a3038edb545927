"""The page of `qr judge calibrate`: one HTML file, nothing loaded from anywhere, every figure explained.

page = write_page(Path("out/judges/calibrate-icecat.html"), report)
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from qr_env.common.types import LEVELS
from runs.report.charts import Chart, Line, chart

Report = Mapping[str, Any]
LEVEL_COLORS = (5, 0, 3, 2)  # of the page's CSS variables, by level
MAPS = {"as is": 0, "temperature": 3, "isotonic": 2}
STYLE = """.charts { grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); }
.charts table { font-size: 13px; margin: 8px 0; } .charts td, .charts th { padding: 6px 8px; }"""
FEW = 10  # pairs below which a point of the reliability diagram is chance
# Row of the table → (where in a judge's report, what it means).
ROWS: dict[str, tuple[Sequence[str], str]] = {
    "κ": (("figures", "kappa"), "Agreement of the most probable level with the human one beyond chance (Cohen); 1 is "
          "full agreement, 0 chance."),
    "κ, quadratic weights": (("figures", "kappa quadratic"), "The same, where near misses cost less."),
    "accuracy": (("figures", "accuracy"), "Share of pairs whose most probable level is the human one."),
    "AUC": (("figures", "auc"), "How often an Exact or Substitute has a higher expected gain than another product; "
            "0.5 is guessing. It does not depend on thresholds."),
    "calibration error": (("figures", "ece"), "Mean distance, over ten bins, between the stated P(Exact or Substitute) "
                          "and the share that is."),
    "… after temperature": (("calibrators", "temperature", "figures", "ece"), "Probabilities to the power 1/T; T fitted on "
                            "half of the queries, told of the other half."),
    "… after isotonic": (("calibrators", "isotonic", "figures", "ece"), "Monotone steps from expected level to level; the "
                         "same halves."),
    "κ after isotonic": (("calibrators", "isotonic", "figures", "kappa"), "What a judge is worth whose thresholds are mended "
                         "with labels; the same halves."),
    "log loss": (("figures", "log loss"), "Mean −ln of the probability given to the human level, nats."),
    "… after isotonic ": (("calibrators", "isotonic", "figures", "log loss"), "The same halves."),
    "order: early − late": (("order", "bias"), "Expected gain when a product stands early in its list, minus when it "
                            "stands late; same pairs, lists backwards."),
    "order: flips": (("order", "flips"), "Share of verdicts whose level changes when the list is turned round."),
    "length": (("length", "bias"), "Change of expected gain for a text twice as long, at equal query and true level."),
    "query words": (("words", "bias"), "Change of expected gain between a text with none and with all of the query's "
                    "words, at equal query and true level: what stuffing would earn."),
    "missing": (("missing", "share"), "Share of pairs without a verdict; never counted as 0."),
    "verdicts/s": (("speed", "verdicts/s"), "On this machine, in this run."),
    "tokens / 1,000 verdicts": (("speed", "tokens/1000"), "As the judge counts them."),
}  # fmt: skip


def write_page(path: Path, report: Report) -> Path:
    """Write the page of what `qr judge calibrate` measured."""
    facts = f"{report['split']} queries: {report['pairs']:,} graded pairs of {report['queries']:,} queries, seed "
    facts += f"{report['seed']}. {report['machine']['cores']} cores {report['machine']['cpu']}."
    parts = [
        f"<style>{STYLE}</style>",
        f"<h1>Judges on {escape(report['shop'])}</h1><p class=soft>{escape(facts)}</p>",
        figure_table(report["judges"], report["min_kappa"]),
        *(judge_section(name, one) for name, one in report["judges"].items()),
        glossary(),
    ]
    template = string.Template(
        (Path(__file__).parents[1] / "report" / "report_template.html").read_text(encoding="utf-8")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    text = template.substitute(title=escape(f"Judges on {report['shop']}"), body="\n".join(parts))
    path.write_text(text, encoding="utf-8")
    return path


def look_up(report: Report, path: Sequence[str]) -> Any:
    """What a report holds at a path; None where it ends before."""
    value: Any = report
    for name in path:
        value = (value or {}).get(name)
    return value


def cell(report: Report, path: Sequence[str]) -> tuple[str, str]:
    """A figure and its interval as texts; "–" where it is not defined."""
    value = look_up(report, path)
    if isinstance(value, Mapping):
        if value["value"] is None:
            return "–", ""
        number, low, high = (f"{round(value[part], 3) + 0.0:.3f}" for part in ("value", "low", "high"))
        return number, f"{low} … {high}"
    if value is None:
        return "–", ""
    return (f"{100 * value:.1f} %" if path[-1] == "share" else f"{value:,.0f}"), ""


def gate(report: Report, min_kappa: float) -> str:
    """What a gate of this κ would say."""
    kappa = report["figures"]["kappa"]["value"]
    return "passes" if kappa is not None and kappa >= min_kappa else "refused"


def figure_table(judges: Mapping[str, Report], min_kappa: float) -> str:
    """All figures, judges as columns."""
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *judges))
    body = "".join(_row(name, path, judges.values()) for name, (path, _) in ROWS.items())
    if min_kappa:
        said = "".join(f"<td>{gate(one, min_kappa)}</td>" for one in judges.values())
        body += f"<tr><td>gate, κ ≥ {min_kappa:g}</td>{said}</tr>"
    note = "<p><small>Small: 95 % interval over queries (bootstrap).</small></p>"
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}'


def _row(name: str, path: Sequence[str], judges: Any) -> str:
    cells = (cell(one, path) for one in judges)
    tds = "".join(f"<td>{big}{f'<small>{small}</small>' if small else ''}</td>" for big, small in cells)
    return f"<tr{' class=main' if name == 'κ' else ''}><td>{escape(name)}</td>{tds}</tr>"


def judge_section(name: str, one: Report) -> str:
    """Plots of one judge."""
    kinds = ", ".join(f"{escape(kind)} {n:,.0f}" for kind, n in one["missing"]["kinds"].items())
    missing = f"<p>Missing verdicts: {kinds}.</p>" if kinds else ""
    charts = reliability_chart(one) + gain_chart(one, "words", "Share of the query's words that the text has")
    charts += gain_chart(one, "length", "Words the judge reads, log₂")
    return f'<h2>{escape(name)}</h2>{missing}<div class="charts">{confusion_table(one)}{charts}</div>'


def reliability_chart(one: Report) -> str:
    """Stated probability against the share that is Exact or Substitute, before and after the maps."""
    curves = {name: one["calibrators"][name]["reliability"] for name in MAPS if name in one["calibrators"]}
    curves = curves or {"as is": one["reliability"]}
    lines = [Line("perfect", [(0.0, 0.0), (1.0, 1.0)], 1)]
    for name, points in curves.items():
        lines.append(Line(name, [(said, true) for said, true, n in points if n >= FEW], MAPS[name], dots=True))
    note = f"Share that is Exact or Substitute, bins of {FEW} pairs or more. Maps: fitted on half the queries"
    return chart(Chart("Reliability", "stated P(Exact or Substitute)", lines, note=note, percent=True))


def gain_chart(one: Report, name: str, label: str) -> str:
    """Expected gain by x, a line for each true level: flat lines one above the other are a good judge."""
    curves = one[name]["gain"]
    lines = [
        Line(level, [(x, gain) for x, gain, _ in curves[level]], color, True)
        for level, color in zip(reversed(LEVELS), reversed(LEVEL_COLORS), strict=True)
    ]
    note = "A line for each true level: a fair judge's are flat, and apart"
    return chart(Chart(f"Expected gain by {name}", label, lines, note=note))


def confusion_table(one: Report) -> str:
    """Human level against the judge's, shaded by the share of the human level."""
    heads = "".join(f"<th>{name}</th>" for name in reversed(LEVELS))
    rows = "".join(_confusion_row(level, one["confusion"][level]) for level in reversed(range(len(LEVELS))))
    table = f"<table><thead><tr><th>human ↓ judge →</th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return (
        f"<figure><figcaption><b>Confusion</b><p>Pairs, and share of the human level</p></figcaption>{table}</figure>"
    )


def _confusion_row(level: int, counts: Sequence[int]) -> str:
    total = max(1, sum(counts))
    cells = "".join(
        f'<td style="background:color-mix(in srgb, var(--c{2 if judged == level else 5}) '
        f'{round(60 * counts[judged] / total)}%, transparent)">{counts[judged]:,}'
        f"<small>{100 * counts[judged] / total:.0f} %</small></td>"
        for judged in reversed(range(len(LEVELS)))
    )
    return f"<tr><td>{LEVELS[level]}</td>{cells}</tr>"


def glossary() -> str:
    """What the rows of the table mean."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, (_, text) in ROWS.items())
    return f"<h2>What the figures mean</h2><dl>{items}</dl>"
