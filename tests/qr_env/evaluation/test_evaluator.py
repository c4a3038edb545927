"""Every reported metric against a slow loop or ir_measures; edge cases of evaluation; slices and headroom."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from agents.baselines.classic import Identity, Oracle, Spell
from judges.simple.labels import LabelsJudge
from qr_env.common.errors import ConfigError
from qr_env.common.types import EXACT, GAINS, Grades, Hits, Query
from qr_env.evaluation.evaluator import HeldOutEvaluator, choose_queries, evaluate
from qr_env.evaluation.result import headroom_closed, plain_json
from qr_env.evaluation.scorers import JudgeScorer, LabelScorer, condensed
from qr_env.reward.metrics import best_dcg, dcg
from qr_env.shop.shop import Shop
from qr_env.shop.slices import traffic_slices
from qr_env.shop.trec import write_run
from tests.helpers.fakes import FailingJudge, WordRetriever, tiny_shop


class Fixed:
    """Rewrites by a table; the rest is kept."""

    name = "fixed"

    def __init__(self, table: dict[str, str]) -> None:
        self.table = table

    def rewrite(self, queries: list[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        return [[self.table.get(query, query)] * n for query in queries]


@pytest.fixture(scope="module")
def shop() -> Shop:
    return tiny_shop()


@pytest.fixture(scope="module")
def random_shop() -> Shop:
    """All queries in test, incomplete random grades, so that every metric has something to disagree about."""
    rng = np.random.default_rng(5)
    shop = tiny_shop()
    graded = rng.random((12, 30)) < 0.6
    levels = np.where(graded, rng.integers(1, 5, (12, 30)), 0)
    queries = shop.queries.set_column(3, "split", [["test"] * 12])
    return replace(shop, queries=queries, qrels=sp.csr_matrix(levels.astype(np.int8)), qrels_complete=False)


def random_hits(n: int, seed: int = 0) -> Hits:
    rng = np.random.default_rng(seed)
    rows = np.argsort(rng.random((n, 30)), axis=1)[:, :20].astype(np.int32)
    length = rng.integers(0, 21, n)
    length[0] = 0
    found = np.arange(20) < length[:, None]
    return Hits(np.where(found, rows, -1).astype(np.int32), np.where(found, 1.0, -np.inf).astype(np.float32))


def slow_metrics(levels: list[int], all_levels: list[int]) -> dict[str, float]:
    """nDCG@10, R@20 and RR@10 of one list by their definitions; level -1 is ungraded."""
    gain = {-1: 0.0, **dict(enumerate(map(float, GAINS)))}

    def dcg(of: list[int]) -> float:
        return sum(gain[level] / math.log2(place + 2) for place, level in enumerate(of[:10]))

    exact = [place for place, level in enumerate(levels) if level == EXACT]
    total = all_levels.count(EXACT)
    return {
        "nDCG@10": dcg(levels) / dcg(sorted(all_levels, reverse=True)),
        "R@20": len(exact) / total if total else 0.0,
        "RR@10": 1 / (exact[0] + 1) if exact and exact[0] < 10 else 0.0,
        "nDCG@10 (judged only)": dcg([level for level in levels if level >= 0]) / dcg(sorted(all_levels, reverse=True)),
    }


def test_label_metrics_equal_slow_loops(random_shop: Shop) -> None:
    queries = random_shop.split("test")
    scorer, hits = LabelScorer(random_shop, queries, k=20), random_hits(len(queries))
    fast = scorer.rank(hits, scorer.grade(hits))
    for n, query in enumerate(queries):
        levels = [int(random_shop.qrels[query.row, row]) - 1 for row in hits.rows_NK[n] if row >= 0]
        all_levels = [int(value) - 1 for value in random_shop.qrels[query.row].data]
        slow = slow_metrics(levels, all_levels)
        assert set(slow) == set(fast)
        for name, value in slow.items():
            assert fast[name][n] == pytest.approx(value, abs=1e-6), (name, n)
    np.testing.assert_allclose(scorer.quick(hits), fast["nDCG@10"], atol=1e-6)


def test_a_query_that_finds_nothing_scores_zero_and_counts(shop: Shop) -> None:
    queries = shop.split("test")
    scorer = LabelScorer(shop, queries, k=10)
    nothing = Hits(np.full((len(queries), 10), -1, np.int32), np.full((len(queries), 10), -np.inf, np.float32))
    assert all((values == 0).all() and len(values) == len(queries) for values in scorer.rank(nothing, None).values())
    broken = evaluate(shop, WordRetriever(shop), Fixed({"running shoes": "xyzzy"}), combine="replace", k=10)
    figure = broken.summary["all"]["metrics"]["nDCG@10"]
    assert figure["queries"] == 3
    assert figure["mean"] == pytest.approx(figure["identity"] - 1 / 3)


def test_ties_of_the_engine_keep_the_engines_order(shop: Shop) -> None:
    # All scores equal: trec_eval alone would sort by product id, last first.
    query = [query for query in shop.all_queries if query.id == "q02"]
    rows = np.array([[0, 29, 28, 27, 26]], np.int32)
    scorer = LabelScorer(shop, query, k=5)
    assert scorer.rank(Hits(rows, np.ones((1, 5), np.float32)), None)["RR@10"][0] == 1.0


def test_incomplete_grades_show_judged_and_the_condensed_list(random_shop: Shop) -> None:
    evaluation = evaluate(random_shop, WordRetriever(random_shop), Identity(), k=20)
    metrics = evaluation.summary["all"]["metrics"]
    assert 0 < metrics["judged@10"]["mean"] < 1
    assert metrics["nDCG@10 (judged only)"]["mean"] >= metrics["nDCG@10"]["mean"]
    slow = [
        np.mean([random_shop.qrels[query.row, row] > 0 for row in rows[:10] if row >= 0])
        for query, rows in zip(evaluation.queries, evaluation.before.rows_NK, strict=True)
        if (rows >= 0).any()
    ]
    assert metrics["judged@10"]["mean"] == pytest.approx(np.mean(slow))


def test_identity_differs_from_itself_by_zero(shop: Shop) -> None:
    evaluation = evaluate(shop, WordRetriever(shop), Identity(), split="train")
    for name, figure in evaluation.summary["all"]["metrics"].items():
        assert (figure["difference"], figure["low"], figure["high"]) == (0, 0, 0), name
    assert evaluation.summary["all"]["headroom"]["share"] == 0
    assert evaluation.summary["all"]["metrics"]["same"]["mean"] == 1


def test_metrics_of_a_rewriter_computed_by_hand(shop: Shop) -> None:
    # Of seven training queries one improves, one gets worse, five are kept.
    agent = Fixed({"fridge": "refrigerator big box", "sofa": "nothing at all"})
    evaluation = evaluate(shop, WordRetriever(shop), agent, split="train", combine="replace", k=10)
    metrics = {name: figure["mean"] for name, figure in evaluation.summary["all"]["metrics"].items()}
    assert metrics["better"] == pytest.approx(1 / 7)
    assert metrics["worse"] == pytest.approx(1 / 7)
    assert metrics["same"] == metrics["kept"] == pytest.approx(5 / 7)
    assert metrics["words ratio"] == pytest.approx((5 + 3 + 3) / 7)
    raw = evaluation.identity
    assert metrics["zero results"] == pytest.approx(raw["zero results"].mean())
    at = [query.text for query in evaluation.queries].index("fridge")
    assert evaluation.values["relevance@10"][at] == 1 and raw["relevance@10"][at] == 0
    assert evaluation.values["increment@10"][at] == 10  # over nothing: the rule divides by one
    assert raw["nothing relevant@10"][at] == 1
    assert evaluation.values["hitrate@10"][at] == 1
    assert evaluation.values["coverage@10"][at] == 10 and evaluation.values["diversity@10"][at] == 1
    frequency = np.array([query.frequency for query in evaluation.queries])
    expected = (evaluation.values["nDCG@10"] * frequency).sum() / frequency.sum()
    assert metrics["traffic nDCG@10"] == pytest.approx(expected)


def test_headroom_is_the_share_of_the_gap_to_the_oracle(shop: Shop) -> None:
    assert headroom_closed(0.5, 0.4, 0.8) == pytest.approx(0.25)
    assert np.isnan(headroom_closed(0.5, 0.4, 0.4))
    retriever = WordRetriever(shop)
    full = evaluate(shop, retriever, Oracle(shop), split="train", combine="replace")
    assert full.summary["all"]["headroom"]["share"] == pytest.approx(1)
    part = evaluate(shop, retriever, Spell(shop), split="train", combine="expand")
    room = part.summary["all"]["headroom"]
    means = {name: part.summary["all"]["metrics"]["nDCG@10"][name] for name in ("mean", "identity")}
    expected = (means["mean"] - means["identity"]) / (room["oracle"] - room["identity"])
    assert room["share"] == pytest.approx(expected)
    assert room["low"] <= room["share"] <= room["high"]
    assert room["oracle"] >= room["oracle_combined"]
    assert evaluate(replace(shop, oracle={}), retriever, Identity()).summary["all"]["headroom"] is None


def test_slices_partition_the_queries(shop: Shop) -> None:
    traffic = traffic_slices(shop)
    assert sum(mask.astype(int) for mask in traffic.values()).tolist() == [1] * 12
    frequency = shop.queries["frequency"].to_numpy()
    assert frequency[traffic["head"]].min() >= frequency[traffic["torso"]].max() >= frequency[traffic["tail"]].max()
    evaluation = evaluate(shop, WordRetriever(shop), Identity(), split="train")
    assert next(iter(evaluation.slices)) == "all"
    assert "color" in evaluation.slices
    failing, fine = evaluation.slices["original failing"], evaluation.slices["original fine"]
    assert (failing ^ fine).all()
    assert evaluation.summary["original failing"]["metrics"]["nDCG@10"]["mean"] < 0.1
    flat = replace(shop, queries=shop.queries.set_column(2, "frequency", [[1.0] * 12]))
    assert traffic_slices(flat) == {}


@pytest.mark.parametrize("combine", ["replace", "expand", "union"])
def test_quick_agrees_with_the_full_evaluation(shop: Shop, combine: str) -> None:
    retriever, agent = WordRetriever(shop), Spell(shop)
    full = evaluate(shop, retriever, agent, split="train", combine=combine)
    quick = HeldOutEvaluator(shop, retriever, split="train", combine=combine).quick(agent)
    figures = full.summary["all"]["metrics"]
    assert quick["nDCG@10"] == pytest.approx(figures["nDCG@10"]["mean"], abs=1e-6)
    assert quick["identity/nDCG@10"] == pytest.approx(figures["nDCG@10"]["identity"], abs=1e-6)
    assert quick["headroom"] == pytest.approx(full.summary["all"]["headroom"]["share"], abs=1e-6)
    for name in ("better", "worse", "kept", "words ratio"):
        assert quick[name] == pytest.approx(figures[name]["mean"])


def test_the_raw_queries_are_searched_once_for_all_agents(shop: Shop) -> None:
    retriever = WordRetriever(shop)
    evaluator = HeldOutEvaluator(shop, retriever, split="dev")
    evaluator.evaluate(Identity())
    calls = retriever.calls
    evaluator.evaluate(Identity())
    assert (
        retriever.calls == calls + 1
    )  # the agent's own search; the lists of the oracle and of the raw queries are cached


def test_a_judge_scores_shops_without_labels(shop: Shop) -> None:
    bare = replace(shop, qrels=sp.csr_matrix((12, 30), dtype=np.int8), qrels_complete=False, oracle={})
    with pytest.raises(ConfigError, match="judge"):
        HeldOutEvaluator(bare, WordRetriever(bare))
    evaluation = evaluate(bare, WordRetriever(bare), Identity(), judge=LabelsJudge(shop), split="train", k=10)
    assert evaluation.by == "judge labels"
    sofas = [query.text for query in evaluation.queries].index("sofa")
    assert evaluation.values["judge nDCG@10"][sofas] == pytest.approx(1)  # ten Exact products
    assert "nDCG@10" not in evaluation.values
    down = JudgeScorer(FailingJudge(), evaluation.queries)
    hits = evaluation.before
    figures = down.rank(hits, down.grade(hits))["judge nDCG@10"]
    np.testing.assert_array_equal(np.isnan(figures), hits.found_NK.any(axis=1))  # missing is not zero; empty is


def test_lists_may_be_shorter_than_a_page(shop: Shop) -> None:
    judge = LabelsJudge(shop)
    for k in (1, 4):
        evaluation = evaluate(shop, WordRetriever(shop), Spell(shop), judge=judge, split="train", k=k)
        figures = evaluation.values
        assert f"increment@{k}" in figures and np.isfinite(figures["diversity@10"]).all()


def test_an_outage_of_the_judge_is_missing_and_not_an_error(shop: Shop) -> None:
    figures = HeldOutEvaluator(shop, WordRetriever(shop), judge=FailingJudge(), split="train").quick(Spell(shop))
    assert figures["judge nDCG@10"] == 0 and figures["kept"] > 0  # the mean over queries that find nothing
    evaluation = evaluate(shop, WordRetriever(shop), Spell(shop), judge=FailingJudge(), split="train")
    summary = evaluation.summary["all"]["metrics"]
    assert summary["judge nDCG@10"]["queries"] < 7 and summary["judged@10"]["mean"] == 0


class PartlyJudge:
    """Everything is Exact; no verdict on the places of a list at which `missing` is True, beyond it all are there."""

    name = "partly"

    def __init__(self, missing: list[bool]) -> None:
        self.missing = np.array(missing)

    def grade(self, queries: Sequence[Query], rows_NK: np.ndarray) -> Grades:
        probs_NK4 = np.where((rows_NK >= 0)[..., None], np.eye(4, dtype=np.float32)[EXACT], np.nan)
        depth = min(len(self.missing), rows_NK.shape[1])
        probs_NK4[:, :depth][:, self.missing[:depth]] = np.nan
        return Grades(probs_NK4.astype(np.float32))


def test_a_missing_verdict_is_not_zero_and_quick_agrees_with_rank() -> None:
    hits = Hits(np.arange(100, dtype=np.int32)[None], np.zeros((1, 100), np.float32))
    scorer = JudgeScorer(PartlyJudge([True] * 5), [Query(0, "q", "sofa")])
    assert scorer.quick(hits).tolist() == scorer.rank(hits, scorer.grade(hits))["judge nDCG@10"].tolist() == [1.0]
    unjudged = JudgeScorer(
        PartlyJudge([True] * 10), [Query(0, "q", "sofa")]
    )  # verdicts beyond the first ten places only
    assert np.isnan([unjudged.quick(hits), unjudged.rank(hits, unjudged.grade(hits))["judge nDCG@10"]]).all()
    short = Hits(hits.rows_NK[:, :2], hits.scores_NK[:, :2])
    complete = JudgeScorer(PartlyJudge([False]), [Query(0, "q", "sofa")])
    assert complete.quick(short)[0] == pytest.approx((1 + 1 / np.log2(3)) / (1 / np.log2(np.arange(2, 12))).sum())


def test_judge_ndcg_of_complete_verdicts_are_dcg_over_ten_exact_products(shop: Shop) -> None:
    queries = shop.split("train")
    hits = WordRetriever(shop).search([query.text for query in queries], 30)
    scorer = JudgeScorer(LabelsJudge(shop), queries)
    grades = scorer.grade(hits)
    expected = dcg(np.nan_to_num(grades.gain_NK)) / best_dcg()
    assert scorer.quick(hits).tolist() == scorer.rank(hits, grades)["judge nDCG@10"].tolist() == expected.tolist()


def test_with_verdicts_missing_identity_is_not_better_than_itself(shop: Shop) -> None:
    evaluator = HeldOutEvaluator(shop, WordRetriever(shop), judge=PartlyJudge([True] * 3), split="train")
    metrics = evaluator.evaluate(Identity()).summary["all"]["metrics"]
    assert metrics["same"]["mean"] == 1 and metrics["better"]["mean"] == metrics["worse"]["mean"] == 0


def test_quick_compares_agent_and_identity_on_the_same_queries(shop: Shop) -> None:
    evaluator = HeldOutEvaluator(shop, WordRetriever(shop), judge=LabelsJudge(shop), split="train")
    evaluator.raw = np.where(np.arange(len(evaluator.queries)) == 0, np.nan, evaluator.raw)
    figures = evaluator.quick(Identity())
    assert figures["judge nDCG@10"] == figures["identity/judge nDCG@10"] == pytest.approx(evaluator.raw[1:].mean())


def test_condensed_lists_have_no_gaps() -> None:
    gains = np.array([[np.nan, 1.0, np.nan, 0.1], [0.5, np.nan, np.nan, np.nan]])
    assert condensed(gains).tolist() == [[1.0, 0.1, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0]]


def test_choosing_queries(shop: Shop) -> None:
    some, left_out = choose_queries(shop, "train", True, 3, seed=1)
    assert len(some) == 3 and left_out == 0
    assert some == choose_queries(shop, "train", True, 3, seed=1)[0]
    partly = shop.qrels.tolil()
    partly[0] = 0
    few, left_out = choose_queries(replace(shop, qrels=sp.csr_matrix(partly)), "train", True, None, seed=0)
    assert left_out == 1 and len(few) == 6
    for bad in ({"split": "tset"}, {"limit": 0}, {"combine": "add"}, {"weight": -1.0}):
        with pytest.raises(ConfigError):
            HeldOutEvaluator(shop, WordRetriever(shop), **bad)


def test_json_has_no_nan_and_is_the_same_twice(shop: Shop) -> None:
    def report() -> str:
        evaluation = HeldOutEvaluator(shop, WordRetriever(shop), "train").evaluate(Spell(shop))
        return json.dumps(evaluation.to_json(per_query=True), allow_nan=False)

    assert report() == report()
    parsed = json.loads(report())
    assert len(parsed["rewrites"]) == len(parsed["queries"]) == len(parsed["values"]["nDCG@10"]) == 7
    assert plain_json({"a": [np.float32(np.nan), np.int64(3)]}) == {"a": [None, 3]}


def test_an_external_run_scores_like_the_agent_that_made_it(shop: Shop, tmp_path: Path) -> None:
    from qr_env.shop.trec import read_run

    evaluator = HeldOutEvaluator(shop, WordRetriever(shop), "train", k=10)
    spelled = evaluator.evaluate(Spell(shop))
    hits = evaluator.search(spelled.rewrites)
    write_run(tmp_path / "s.trec", shop, evaluator.queries, hits, "spell")
    again = evaluator.evaluate_run(read_run(tmp_path / "s.trec", shop, evaluator.queries, 10)[0], "run")
    for name, values in spelled.values.items():
        if name not in ("words ratio", "kept"):
            np.testing.assert_allclose(again.values[name], values, err_msg=name)
    assert np.isnan(again.values["kept"]).all()
