"""The contribution of each word of a rewrite, and how it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.result import Evaluation
from qr_env.shop.shop import Shop
from runs.report.attribution import attribute, single_word_changes
from runs.report.job import write_report
from runs.report.run_files import write_eval
from runs.report.sections.examples import rewrite_section
from tests.runs.report.conftest import EVIL


def test_contribution_is_the_difference_without_the_word(evaluator: HeldOutEvaluator) -> None:
    place = next(n for n, query in enumerate(evaluator.queries) if query.text == "couch")
    kept, words = attribute(evaluator, [place, place], ["couch", "sofa nonsense couch"])
    assert kept == []  # left alone
    assert [(word["word"], word["change"]) for word in words] == [
        ("sofa", "added"),
        ("nonsense", "added"),
        ("couch", "repeated"),
    ]
    complete, without = evaluator.score([place, place], ["sofa nonsense couch", "nonsense couch"])
    assert words[0]["contribution"] == pytest.approx(complete - without) and words[0]["contribution"] > 0
    assert words[1]["contribution"] == pytest.approx(0)
    alone = evaluator.score([place], ["sofa"])[0]
    assert alone == evaluator.scorer.quick(evaluator.search(["sofa"] * len(evaluator.queries)))[place]


def test_a_dropped_word_is_appended() -> None:
    assert single_word_changes("red couch", "sofa Red", replaces=True) == [
        ("sofa", "added", "Red"),
        ("Red", "repeated", "sofa"),
        ("couch", "dropped", "sofa Red couch"),
    ]
    assert [change for _, change, _ in single_word_changes("red couch", "sofa Red", replaces=False)] == [
        "added",
        "repeated",
    ]


def test_words_are_colored_by_their_contribution(
    tmp_path: Path, shop: Shop, evaluations: dict[str, Evaluation], evaluator: HeldOutEvaluator
) -> None:
    write_eval(tmp_path, evaluations, shop, evaluator=evaluator)
    page = write_report(tmp_path).read_text()
    assert 'class="word up"' in page and "a word contributes" in page
    words = [
        {"word": EVIL, "change": "added", "contribution": -0.2},
        {"word": "old", "change": "dropped", "contribution": 0.1},
        {"word": "x", "change": "added", "contribution": None},
    ]
    example = {"query": "q", "rewrite": "r", "kept": False, "before": 0.0, "after": 0.1, "words": words}
    example |= {"hits_before": [], "hits_after": []}
    html = rewrite_section({"agents": {"a": {"main": "nDCG@10"}}, "agent": "a", "examples": {"best": [example]}})
    assert EVIL not in html and 'class="word down"' in html and "-0.20" in html
    assert "<s>old</s><small>+0.10</small>" in html and "no verdict" in html
