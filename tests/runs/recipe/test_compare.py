"""Comparison of students: means over seeds, intervals over queries, and the result of each claim."""

from dataclasses import replace

import numpy as np
import pytest

from runs.recipe.compare import Comparison, RunInfo
from runs.recipe.page import claim_rows
from runs.recipe.spec import Claim
from runs.recipe.table import print_comparison, verdict_text


def comparison(claims=(), **agents):
    values = {name: {"nDCG@10": np.array(rows, float)} for name, rows in agents.items()}
    info = RunInfo("t", (0, 1), {}, {})
    return Comparison("nDCG@10", "labels", values, {}, np.ones(200), tuple(claims), info)


def test_a_claim_agrees_if_the_interval_shifted_by_the_slack_is_above_zero():
    rng = np.random.default_rng(0)
    identity = np.tile(rng.uniform(0.2, 0.6, 200), (2, 1))
    noise = rng.normal(0, 0.05, (2, 200))
    made = [
        Claim("up", "better", "identity"),
        Claim("the other way", "identity", "better"),
        Claim("nothing", "same", "identity"),
        Claim("not much worse", "identity", "better", slack=0.3),
    ]
    pooled = comparison(
        made, identity=identity, better=identity + 0.1 + noise, same=identity + noise - noise.mean(axis=1)[:, None]
    )
    assert [verdict.result for verdict in pooled.verdicts] == ["agrees", "disagrees", "within noise", "agrees"]
    assert "better − identity, nDCG@10" in verdict_text(pooled.verdicts[0])


def test_a_claim_on_a_scalar_needs_two_seeds():
    values = comparison(fast=np.ones((2, 200)), slow=np.ones((2, 200)), identity=np.ones((2, 200)))
    claim = (Claim("it is faster", "slow", "fast", metric="ms/query"),)
    verdicts = []
    for seeds in (1, 2):
        scalars = {"fast": {"ms/query": [1.0, 1.5][:seeds]}, "slow": {"ms/query": [2.0, 3.0][:seeds]}}
        verdicts += replace(values, scalars=scalars, claims=claim).verdicts
    assert [verdict.result for verdict in verdicts] == ["one seed", "agrees"]
    assert verdicts[0].difference == 1.0 and np.isnan([verdicts[0].low, verdicts[0].high]).all()
    assert (verdicts[1].low, verdicts[1].high) == (1.0, 1.5)
    assert "one seed" in verdict_text(verdicts[0]) and "nan" not in verdict_text(verdicts[0])
    texts = [text for row in claim_rows(verdicts) for cell in row.cells for text in (cell.text, cell.small)]
    assert "one seed" in texts and "nan" not in "".join(texts)


def test_made_up_queries_are_said_first(capsys):
    values = np.linspace(0, 1, 200) * np.ones((2, 1))
    made_up = replace(comparison(identity=values, agent=values), warning="Made-up queries and grades: all of them.")
    print_comparison(made_up)
    assert capsys.readouterr().out.startswith("Made-up queries and grades: all of them.\n")
    assert next(iter(made_up.to_json())) == "warning"


def test_pooling_averages_over_seeds_and_leaves_out_undefined_queries():
    identity = np.array([[0.0, 0.2, 0.4], [0.0, 0.2, 0.4]])
    agent = np.array([[0.2, 0.4, np.nan], [0.4, 0.6, 0.9]])
    cell = comparison(identity=identity, agent=agent).cell("agent", "nDCG@10")
    assert cell.difference == pytest.approx((0.3 + 0.3) / 2)
    assert cell.sd == pytest.approx(np.std([0.3, (0.4 + 0.6 + 0.9) / 3], ddof=1))
