"""report.html holds the evaluation's numbers, escapes every text, loads nothing, and works for an unfinished run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.baselines.classic import Identity
from qr_env.common.errors import RunFolderError
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.result import Evaluation
from qr_env.shop.shop import Shop
from qr_env.synthetic.queries import GENERATED
from runs.report.args import Args
from runs.report.job import main, write_report
from runs.report.run_files import write_eval
from tests.helpers.fakes import WordRetriever
from tests.runs.report.conftest import EVIL, assert_well_formed


def test_the_page_is_well_formed_and_loads_nothing(run_folder: Path) -> None:
    page = write_report(run_folder).read_text()
    assert_well_formed(page)
    assert "http" not in page and "url(" not in page and "@import" not in page
    assert EVIL not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page


def test_the_page_holds_the_numbers_of_the_evaluation(run_folder: Path, evaluations: dict[str, Evaluation]) -> None:
    page = write_report(run_folder).read_text()
    oracle = evaluations["oracle"].summary["all"]
    assert f"{oracle['metrics']['nDCG@10']['identity']:.3f} → {oracle['metrics']['nDCG@10']['mean']:.3f}" in page
    assert f"{100 * oracle['headroom']['share']:.1f} %" in page
    for name in ("identity 0.399", "oracle 0.912", "warm start 0.432", "abc1234", "2 cores", "1,920 episodes a minute"):
        assert name in page, name
    for name in evaluations:
        assert f"<th>{name}</th>" in page
    assert page.count('class="example"') == 7  # every query of the tiny split is an example
    assert "original failing (4)" in page


def test_an_unfinished_run_has_a_report(run_folder: Path) -> None:
    (run_folder / "eval.json").unlink()
    assert "How it learned" in write_report(run_folder).read_text()
    (run_folder / "metrics.jsonl").unlink()
    assert "What was run" in write_report(run_folder).read_text()
    (run_folder / "config.json").unlink()
    with pytest.raises(RunFolderError, match="holds no run"):
        write_report(run_folder)


def test_the_verb_prints_the_path(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(Args(run_folder))
    assert capsys.readouterr().out.strip() == str(run_folder / "report.html")


def test_made_up_queries_are_said_first_on_the_page_and_in_eval_json(run_folder: Path, shop: Shop) -> None:
    made_up = replace(shop, slices={GENERATED: np.ones(len(shop.queries), bool)})
    evaluation = HeldOutEvaluator(made_up, WordRetriever(made_up), "train").evaluate(Identity())
    rows = [
        {"update": update, "eval/nDCG@10": 0.3, "eval/judge nDCG@10": 0.4, "eval/made-up queries": 1.0}
        for update in (0, 2)
    ]
    (run_folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    content = json.loads(write_eval(run_folder, {"identity": evaluation}, made_up).read_text())
    assert next(iter(content)) == "warning"
    assert content["warning"].startswith("Made-up queries and grades: no shopper typed these 7 train queries; ")
    page = write_report(run_folder).read_text()
    body = page[page.index("<h1>") :]
    assert body.index("Made-up queries and grades") < body.index("<p class=soft>")
    assert "7 train queries, made up" in body
    assert "graded by made-up grades" in body
    assert "Judge and made-up grades" in body
    assert "Judge and labels" not in body and "the labels" not in body
