"""The sections of report.html, each a function from a run's files to HTML; everything that was read is escaped."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from qr_env.common.types import LEVELS
from qr_env.evaluation.tables import number
from runs.common.provenance import machine_line
from runs.report.attribution import coloured
from runs.report.charts import Chart, Line, Point, chart

Rows = Sequence[Mapping[str, Any]]
# (metric, title, what it tells, shown in per cent); order is the order on the page.
CURVES = (
    ("reward", "Reward", "What the student is paid, a rewrite; 0 is the original kept", False),
    ("completions/mean_length", "Length", "Tokens a rewrite", False),
    ("keep_fraction", "Originals kept", "Share of rewrites that leave the query alone", True),
    ("kl", "KL to the warm start", "How far the student has moved, nats a token", False),
    ("entropy", "Entropy", "How much it still explores, nats a token", False),
    ("groups/zero_variance", "Silent groups", "Share of groups whose rewrites all earn the same", True),
    ("loss", "Loss", "", False),
    ("grad_norm", "Gradient norm", "", False),
    ("judge/failed_fraction", "Missing verdicts", "Share of rewards the judge could not give", True),
)
EVAL_CURVES = (
    ("eval/headroom", "Headroom closed", "Dev queries: way from identity to oracle", True),
    ("eval/worse", "Queries made worse", "Dev queries whose nDCG@10 fell", True),
    ("eval/kept", "Originals kept, greedy", "Dev queries that keep the original by the best rewrite", True),
    ("eval/words ratio", "Words", "Words of the rewrite to words of the query", False),
)
MAINS = ("nDCG@10", "judge nDCG@10")
GLOSSARY = {
    "nDCG@10": "Order of the first ten products against the best possible order; gains Exact 1, Substitute 0.1, "
    "Complement 0.01. A query that finds nothing scores 0.",
    "judge nDCG@10": "The same by a judge's opinion, against ten Exact products. Not a measurement by labels.",
    "traffic nDCG@10": "nDCG@10 with each query counted as often as it is searched.",
    "nDCG@10 (judged only)": "nDCG@10 after taking out products that nobody graded.",
    "judged@10": "Share of the first ten products that have a grade. Low: label figures say less.",
    "R@100": "Share of all Exact products among the first hundred.",
    "RR@10": "1 / rank of the first Exact product in the first ten; its mean is MRR.",
    "relevance": "Share of the products shown that are Exact or Substitute for the original query.",
    "increment": "Relevant products the rewrite added, as a multiple of those the original found (at least one).",
    "hitrate": "Share of relevant products bought outside search that either list reaches.",
    "coverage": "Distinct relevant products that original and rewrite reach together.",
    "diversity": "Share of products that the original did not show.",
    "nothing relevant": "Share of queries whose list holds no relevant product.",
    "zero results": "Share of queries that find nothing at all.",
    "words ratio": "Words of the rewrite to words of the query.",
    "kept": "Share of queries left as they are.",
    "better": "Shares of queries whose headline figure rose, fell, or stayed.",
    "headroom": "(agent − identity) / (oracle − identity): how much of what could be won was won.",
}


def headline(name: str, config: Mapping[str, Any], metrics: Rows, evaluation: Mapping[str, Any]) -> str:
    """Title, one sentence, and the figures that matter as cards."""
    args = config.get("args", {})
    updates = max((int(row.get("update", 0)) for row in metrics), default=0)
    told = [f"student <b>{escape(str(args['student']))}</b>"] if "student" in args else []
    told += [f"shop <b>{escape(str(args['shop']))}</b>"] if "shop" in args else []
    told += [f"{escape(str(args['retriever']))} retrieval"] if "retriever" in args else []
    told += [f"{updates:,} online updates"] if updates else []
    return f"<h1>{escape(name)}</h1><p class=soft>{' · '.join(told)}</p>{_cards(evaluation)}"


def _cards(evaluation: Mapping[str, Any]) -> str:
    if not evaluation:
        return ""
    record = evaluation["agents"][evaluation["agent"]]
    report = record["summary"]["all"]
    figures, main = report["metrics"], record["main"]
    top = figures[main]
    cards = [
        (
            f"{number(top['identity'])} → {number(top['mean'])}",
            f"{main}, {report['queries']:,} {record['split']} queries",
        ),
        (_signed(top["difference"]), f"95 % interval {_signed(top['low'])} … {_signed(top['high'])}"),
        (
            number(figures["worse"]["mean"], "worse"),
            f"of queries worse, {number(figures['better']['mean'], 'better')} better",
        ),
        (number(figures["words ratio"]["mean"]), "words a rewrite, for each of the query"),
    ]
    room = report["headroom"]
    if room and room["share"] is not None:
        text = f"of the headroom closed ({100 * room['low']:.0f} … {100 * room['high']:.0f} %)"
        cards.insert(1, (f"{100 * room['share']:.1f} %", text))
    html = "".join(f'<div class="card"><b>{escape(big)}</b><span>{escape(small)}</span></div>' for big, small in cards)
    return f'<div class="cards">{html}</div>'


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"


def curves(metrics: Rows) -> str:
    """Held-out score first and wide, then everything that the run logged."""
    if not metrics:
        return ""
    wide = [_score_curve(metrics, main) for main in MAINS]
    small = [_curve(metrics, *curve, dots=True) for curve in EVAL_CURVES]
    small += [_curve(metrics, *curve) for curve in CURVES]
    small.append(_terms(metrics))
    return (
        f"<h2>How it learned</h2>{''.join(wide)}"
        f'<div class="charts">{"".join(small)}</div>'
        "<p><small>Faint: each update. Bold: moving mean over a tenth of the run.</small></p>"
    )


def series(metrics: Rows, key: str) -> list[Point]:
    """(update, value) of every line that has the figure."""
    return [(float(row["update"]), float(row[key])) for row in metrics if _is_number(row.get(key)) and "update" in row]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _score_curve(metrics: Rows, main: str) -> str:
    """The student on dev queries, with identity, oracle and the warm start as levels."""
    points = series(metrics, f"eval/{main}")
    if not points:
        return ""
    levels = ((name, series(metrics, f"eval/{name}/{main}"), color) for name, color in (("identity", 1), ("oracle", 2)))
    marks = [(name, found[-1][1], color) for name, found, color in levels if found]
    marks.append(("warm start", points[0][1], 3))
    note = "Dev queries, greedy rewrites." if main == "nDCG@10" else "Dev queries, as the judge sees them: an opinion."
    line = Line("student", points, 0, dots=True)
    return chart(Chart(f"{main} while learning", "update", [line], marks, note, width=1060, height=320, y_label=main))


def _curve(metrics: Rows, key: str, title: str, note: str, percent: bool, dots: bool = False) -> str:
    return chart(Chart(title, "update", [Line(key, series(metrics, key), 0, dots)], note=note, percent=percent))


def _terms(metrics: Rows) -> str:
    """The reward's parts in one chart."""
    names = sorted({key for row in metrics for key in row if key.startswith("reward/")})
    lines = [(name.removeprefix("reward/"), series(metrics, name)) for name in names]
    busy = [(name, points) for name, points in lines if any(y for _, y in points)]
    drawn = [Line(name, points, color % 6) for color, (name, points) in enumerate(busy)]
    return chart(Chart("Reward, term by term", "update", drawn, note="Their sum is the reward"))


def evaluation_tables(evaluation: Mapping[str, Any]) -> str:
    """Every figure by agent, then the headline figure by slice and agent."""
    if not evaluation:
        return ""
    agents = evaluation["agents"]
    first = next(iter(agents.values()))
    opinion = "" if first["by"] == "labels" else f" <b>Graded by {escape(first['by'])}: an opinion, not labels.</b>"
    facts = f"{first['shop']}, {first['split']} split, {first['retriever']}, combine {first['combine']}, "
    facts += f"{first['summary']['all']['queries']:,} queries."
    return (
        f"<h2>Held-out queries</h2><p class=soft>{escape(facts)} Small: 95 % interval of "
        f"the difference to identity (paired bootstrap by query).{opinion}</p>"
        f"{_figure_table(agents)}<h3>{escape(first['main'])} by slice</h3>{_slice_table(agents)}"
    )


def table(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str], bool]]) -> str:
    """A scrolling table: rows are (name, cells as HTML, whether the row stands out); names are escaped, cells not."""
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *heads))
    body = "".join(
        f"<tr{' class=main' if main else ''}><td>{escape(name)}</td><td>{'</td><td>'.join(cells)}</td></tr>"
        for name, cells, main in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _figure_table(agents: Mapping[str, Any]) -> str:
    reports = [record["summary"]["all"] for record in agents.values()]
    main = next(iter(agents.values()))["main"]
    rows = [
        (name, [_cell(report["metrics"][name], name) for report in reports], name == main)
        for name in reports[0]["metrics"]
        if any(report["metrics"][name]["queries"] for report in reports)
    ]
    if reports[0]["headroom"]:
        rows.insert(1, ("headroom closed", [_room(report["headroom"]) for report in reports], True))
    return table(list(agents), rows)


def _slice_table(agents: Mapping[str, Any]) -> str:
    main = next(iter(agents.values()))["main"]
    first = next(iter(agents.values()))["summary"]
    rows = []
    for name, report in first.items():
        cells = [_cell(record["summary"][name]["metrics"][main], main) for record in agents.values()]
        rows.append((f"{name} ({report['queries']:,})", cells, name == "all"))
    return table(list(agents), rows)


def _cell(figure: Mapping[str, Any], name: str) -> str:
    text = number(figure["mean"], name)
    low, high = figure["low"], figure["high"]
    if low is None or high is None or not figure["difference"] or name.startswith(("kept", "same", "judged", "words")):
        return text
    colour = "up" if low > 0 else "down" if high < 0 else ""
    if name.startswith(("worse", "zero", "nothing", "diversity", "better")):
        colour = ""
    percent = text.endswith("%")
    bounds = [f"{100 * bound:+.1f}" if percent else f"{bound:+.3f}" for bound in (low, high)]
    return f'{text}<small class="{colour}">{bounds[0]} … {bounds[1]}</small>'


def _room(room: Mapping[str, Any]) -> str:
    if room["share"] is None:
        return "–"
    return f"{100 * room['share']:.1f} %<small>{100 * room['low']:.1f} … {100 * room['high']:.1f}</small>"


def rewrites(evaluation: Mapping[str, Any]) -> str:
    """Thirty rewrites with what was found before and after."""
    if not evaluation.get("examples"):
        return ""
    record = evaluation["agents"][evaluation["agent"]]
    heads = {
        "best": "Best: the largest gains",
        "typical": "Typical: drawn at random from the rest",
        "worst": "Worst: the largest losses",
    }
    groups = [
        f"<h3>{escape(heads.get(name, name))}</h3>" + "".join(_example(example) for example in group)
        for name, group in evaluation["examples"].items()
        if group
    ]
    legend = " ".join(f"{_grade(level)} {LEVELS[level]}" for level in (3, 2, 1, 0)) + f" {_grade(-1)} no grade"
    return (
        f"<h2>Rewrites of {escape(evaluation['agent'])}</h2><p class=soft>{escape(record['main'])} before → after, "
        f"and the first products, graded for the original query: {legend}{_worths_told(evaluation)}.</p>"
        f"{''.join(groups)}"
    )


def _example(example: Mapping[str, Any]) -> str:
    before, after = example["before"] or 0.0, example["after"] or 0.0
    colour = "up" if after > before else "down" if after < before else ""
    said = "<i class=soft>kept as it is</i>" if example["kept"] else f"→ <b>{escape(example['rewrite'])}</b>"
    words = example.get("words") or []
    worths = f'<p class="worths">{coloured(words)}</p>' if words else ""
    lists = _hits("before", example["hits_before"]) + _hits("after", example["hits_after"])
    return (
        f'<div class="example"><header><b>{escape(example["query"])}</b> <span>{said}</span>'
        f'<span class="score {colour}">{before:.3f} → {after:.3f}</span></header>{worths}'
        f'<div class="lists">{lists}</div></div>'
    )


def _worths_told(evaluation: Mapping[str, Any]) -> str:
    """How to read the coloured words, where there are any."""
    if not any(example.get("words") for group in evaluation["examples"].values() for example in group):
        return ""
    return ". Coloured: what the rewrite lost without that word alone, or won by leaving out one that is struck through"


def _hits(title: str, hits: Sequence[Mapping[str, Any]]) -> str:
    items = [
        f'<li>{_grade(hit["level"])}<span title="{escape(hit["title"])}">{escape(hit["title"])}</span></li>'
        for hit in hits
    ]
    listed = "".join(items) or "<li><i class=soft>nothing found</i></li>"
    return f"<div><h4>{title}</h4><ol>{listed}</ol></div>"


def _grade(level: int) -> str:
    name = LEVELS[level] if level >= 0 else "no grade"
    css, letter = (f"g{level}", name[0]) if level >= 0 else ("gx", "?")
    return f'<i class="grade {css}" style="display:inline-block;font-style:normal" title="{name}">{letter}</i>'


def what_was_run(config: Mapping[str, Any], metrics: Rows) -> str:
    """Settings, origin, machine, versions."""
    if not config:
        return ""
    environment = config.get("environment", {})
    facts = {"commit": environment["commit"]} if environment.get("commit") else {}
    if environment.get("machine"):
        facts["machine"] = machine_line(environment["machine"])
    facts |= {
        f"{name} hash" if name in ("shop", "products") else name: v for name, v in config.get("facts", {}).items()
    }
    facts |= {"versions": ", ".join(f"{name} {v}" for name, v in environment.get("versions", {}).items())}
    last: Mapping[str, Any] = next((row for row in reversed(metrics) if "seconds" in row), {})
    if last:
        facts["online learning"] = f"{last['seconds']:,.0f} s, {last.get('episodes', 0):,} episodes"
        if last["seconds"]:
            facts["online learning"] += f", {60 * last.get('episodes', 0) / last['seconds']:,.0f} episodes a minute"
    settings = "".join(
        f"<dt>{escape(str(k))}</dt><dd><code>{escape(_short(v))}</code></dd>" for k, v in config.get("args", {}).items()
    )
    told = "".join(f"<dt>{escape(str(k))}</dt><dd>{escape(_short(v))}</dd>" for k, v in facts.items() if v)
    return f"<h2>What was run</h2><dl>{told}</dl><details><summary>All settings</summary><dl>{settings}</dl></details>"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else text[:299] + "…"


def glossary(evaluation: Mapping[str, Any]) -> str:
    """What the figures of this report mean."""
    if not evaluation:
        return ""
    shown = [*next(iter(evaluation["agents"].values()))["summary"]["all"]["metrics"], "headroom"]
    said = [
        (name, text)
        for name, text in GLOSSARY.items()
        if any(figure.split("@")[0] == name or figure == name for figure in shown)
    ]
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in said)
    return f"<h2>What the figures mean</h2><dl>{items}</dl>"
