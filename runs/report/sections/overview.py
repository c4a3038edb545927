"""The report's first and last sections: headline figures, settings and origin of the run, glossary of the figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from qr_env.evaluation.tables import number
from runs.common.provenance import machine_line
from runs.report.html import render
from runs.report.sections.curves import MetricRows

LONGEST = 300  # characters of a setting's value
GLOSSARY = {
    "nDCG@10": "Order of the first ten products against the best possible order; gains Exact 1, Substitute 0.1, "
    "Complement 0.01. A query that finds nothing scores 0.",
    "judge nDCG@10": "The same with the judge's grades, against ten Exact products. Not a measurement by labels.",
    "traffic nDCG@10": "nDCG@10 with each query weighted by its search frequency.",
    "nDCG@10 (judged only)": "nDCG@10 after removing products without a grade.",
    "judged@10": "Share of the first ten products that have a grade. The lower, the less figures by labels say.",
    "R@100": "Share of all Exact products among the first hundred.",
    "RR@10": "1 / rank of the first Exact product in the first ten; its mean is MRR.",
    "relevance": "Share of the products shown that are Exact or Substitute for the original query.",
    "increment": "Relevant products that the rewrite adds / those that the original query finds (at least one).",
    "hitrate": "Share of relevant products bought outside search that either list contains.",
    "coverage": "Distinct relevant products that the original query and the rewrite find together.",
    "diversity": "Share of products that the original query does not show.",
    "nothing relevant": "Share of queries whose list holds no relevant product.",
    "zero results": "Share of queries that find nothing at all.",
    "words ratio": "Words of the rewrite / words of the query.",
    "kept": "Share of queries that the rewrite leaves unchanged.",
    "better": "Shares of queries whose headline figure rose, fell, or stayed.",
    "headroom": "(agent − identity) / (oracle − identity): the share of the possible improvement that was reached.",
}


def headline_section(
    name: str, config: Mapping[str, Any], metrics: MetricRows, evaluation: Mapping[str, Any], serve: str = ""
) -> str:
    """Title, what to serve and why (`serve`), what was run, and the student's headline figures as cards.

    Where the figures are of made-up queries, the first line says so.
    """
    warning = evaluation.get("warning", "")
    return render(
        "headline.html",
        name=name,
        warning="" if serve.startswith(warning) else warning,
        serve=serve,
        args=config.get("args", {}),
        updates=max((int(row.get("update", 0)) for row in metrics), default=0),
        cards=_cards(evaluation) if evaluation else [],
    )


def _cards(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(figure, what it is) of the agent of the examples."""
    record = evaluation["agents"][evaluation["agent"]]
    report = record["summary"]["all"]
    figures, main, headroom = report["metrics"], record["main"], report["headroom"]
    top, worse, better = figures[main], number(figures["worse"]["mean"], "worse"), figures["better"]["mean"]
    cards = [
        (
            f"{number(top['identity'])} → {number(top['mean'])}",
            f"{main}, {report['queries']:,} {record['split']} queries{', made up' if record['made_up'] else ''}",
        ),
        (_signed(top["difference"]), f"95 % interval {_signed(top['low'])} … {_signed(top['high'])}"),
        (worse, f"of queries worse, {number(better, 'better')} better"),
        (number(figures["words ratio"]["mean"]), "words of the rewrite for each word of the query"),
    ]
    if headroom and headroom["share"] is not None:
        text = f"of the headroom closed ({100 * headroom['low']:.0f} … {100 * headroom['high']:.0f} %)"
        cards.insert(1, (f"{100 * headroom['share']:.1f} %", text))
    return cards


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"


def settings_section(config: Mapping[str, Any], metrics: MetricRows) -> str:
    """Settings, origin, machine and versions; "" without config.json."""
    if not config:
        return ""
    environment = config.get("environment", {})
    facts = {"commit": environment.get("commit", "")}
    if environment.get("machine"):
        facts["machine"] = machine_line(environment["machine"])
    for name, value in config.get("facts", {}).items():
        facts[f"{name} hash" if name in ("shop", "products") else name] = value
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())
    facts["online learning"] = _learning_time(metrics)
    return render(
        "settings.html",
        facts=[(name, _short(value)) for name, value in facts.items() if value],
        settings=[(name, _short(value)) for name, value in config.get("args", {}).items()],
    )


def _learning_time(metrics: MetricRows) -> str:
    """Seconds and episodes up to the last line that has them; "" where none has."""
    last: Mapping[str, Any] = next((row for row in reversed(metrics) if "seconds" in row), {})
    if not last:
        return ""
    seconds, episodes = last["seconds"], last.get("episodes", 0)
    text = f"{seconds:,.0f} s, {episodes:,} episodes"
    return f"{text}, {60 * episodes / seconds:,.0f} episodes a minute" if seconds else text


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def glossary_section(evaluation: Mapping[str, Any]) -> str:
    """Definitions of the figures in this report."""
    if not evaluation:
        return ""
    shown = [*next(iter(evaluation["agents"].values()))["summary"]["all"]["metrics"], "headroom"]
    items = [
        (name, text)
        for name, text in GLOSSARY.items()
        if any(figure.split("@")[0] == name or figure == name for figure in shown)
    ]
    return render("glossary.html", items=items)
