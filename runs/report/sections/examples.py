"""The report's examples: the best, the worst and some typical rewrites, with what was found before and after."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qr_env.common.types import LEVELS
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.result import Evaluation, plain_json
from qr_env.query_text.kept import is_kept
from qr_env.shop.shop import Shop
from runs.report.attribution import attribute, word_styles
from runs.report.html import render, sign_color

EXAMPLES = 10  # of each kind
SHOWN_HITS = 5
HEADINGS = {
    "best": "Best: the largest gains",
    "typical": "Typical: drawn at random from the rest",
    "worst": "Worst: the largest losses",
}


def choose_examples(
    evaluation: Evaluation, shop: Shop, seed: int = 0, evaluator: HeldOutEvaluator | None = None
) -> dict[str, list[dict[str, Any]]]:
    """The ten rewrites with the largest gains, ten drawn at random from the rest, and the ten with the largest losses.

    "best" holds only gains and "worst" only losses, so either may be shorter. With the evaluator, "words" holds the
    contribution of each word of a rewrite (`runs/report/attribution.py`).
    """
    change_N = np.nan_to_num(evaluation.change)
    order_N = np.argsort(-change_N, kind="stable")
    best = [int(n) for n in order_N[:EXAMPLES] if change_N[n] > 0]
    worst = [int(n) for n in order_N[::-1][:EXAMPLES] if change_N[n] < 0]
    rest = np.setdiff1d(order_N, np.array([*best, *worst], dtype=int))
    typical = np.random.default_rng(seed).permutation(rest)[:EXAMPLES].tolist()
    groups = {"best": best, "typical": typical, "worst": worst}
    examples = {name: [_example(evaluation, shop, n) for n in chosen] for name, chosen in groups.items()}
    if evaluator is not None:
        positions = [n for chosen in groups.values() for n in chosen]
        words = attribute(evaluator, positions, [evaluation.rewrites[n] for n in positions])
        for example, contributions in zip(itertools.chain.from_iterable(examples.values()), words, strict=True):
            example["words"] = contributions
    return examples


def _example(evaluation: Evaluation, shop: Shop, n: int) -> dict[str, Any]:
    query, rewrite, main = evaluation.queries[n], evaluation.rewrites[n], evaluation.main
    example: dict[str, Any] = plain_json(
        {
            "query": query.text,
            "rewrite": rewrite,
            "kept": is_kept(query.text, rewrite),
            "frequency": query.frequency,
            "before": evaluation.identity[main][n],
            "after": evaluation.values[main][n],
            "hits_before": _hits(shop, evaluation.before.rows_NK[n], evaluation.levels_before[n]),
            "hits_after": _hits(shop, evaluation.after.rows_NK[n], evaluation.levels_after[n]),
        }
    )
    return example


def _hits(shop: Shop, rows_K: np.ndarray, levels_K: np.ndarray) -> list[dict[str, Any]]:
    pairs = zip(rows_K[:SHOWN_HITS].tolist(), levels_K[:SHOWN_HITS].tolist(), strict=True)
    return [{"title": shop.titles[row], "level": level} for row, level in pairs if row >= 0]


def rewrite_section(evaluation: Mapping[str, Any]) -> str:
    """The section with up to thirty rewrites, from `eval.json`; "" where it holds none."""
    if not evaluation.get("examples"):
        return ""
    groups = [
        (HEADINGS.get(name, name), [_shown(example) for example in group])
        for name, group in evaluation["examples"].items()
        if group
    ]
    return render(
        "rewrites.html",
        agent=evaluation["agent"],
        main=evaluation["agents"][evaluation["agent"]]["main"],
        legend=[_grade(level) for level in (3, 2, 1, 0, -1)],
        has_words=any(example["words"] for _, group in groups for example in group),
        groups=groups,
    )


def _shown(example: Mapping[str, Any]) -> dict[str, Any]:
    """An example with its colors."""
    before, after = example["before"] or 0.0, example["after"] or 0.0
    return {
        "query": example["query"],
        "rewrite": example["rewrite"],
        "kept": example["kept"],
        "color": sign_color(after - before, after - before),
        "change": f"{before:.3f} → {after:.3f}",
        "words": word_styles(example.get("words") or ()),
        "lists": [("before", _graded(example["hits_before"])), ("after", _graded(example["hits_after"]))],
    }


def _graded(hits: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [{"title": hit["title"], **_grade(hit["level"])} for hit in hits]


def _grade(level: int) -> dict[str, str]:
    """CSS class, letter and name of a level's badge."""
    name = LEVELS[level] if level >= 0 else "no grade"
    return {"css": f"g{level}" if level >= 0 else "gx", "letter": name[0] if level >= 0 else "?", "name": name}
