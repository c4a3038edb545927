"""Which queries the final evaluation uses, who grades them, and what is written about the rewriter to serve."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from agents.baselines.classic import Identity, Spell
from agents.suggestions.settings import SuggestSettings
from judges.factory import open_judge
from qr_env.common.errors import ConfigError
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.made_up import MADE_UP_GRADES
from qr_env.reward.reward import Reward
from qr_env.synthetic.queries import GENERATED, with_catalogue_queries
from runs.online.args import Args
from runs.online.candidates import SuggestPlan
from runs.online.final_evaluation import (
    FinalQueries,
    check_report_judge,
    final_queries,
    open_report_evaluator,
    serving_choice,
)
from runs.online.setup import TrainingSetup
from runs.online.verdict_text import NOT_ENOUGH
from tests.helpers.fakes import WordRetriever, tiny_shop

SHOP = tiny_shop()
PLAN = SuggestPlan(SuggestSettings(), "words of dense titles")


def setup_of(shop, judge="labels"):
    return TrainingSetup(shop, WordRetriever(shop), open_judge(judge, shop), Reward())


def without_test_queries(shop, also=()):
    """The queries of the test split, and of those in `also`, moved to train; labels dropped."""
    splits = ["train" if split in ("test", *also) else split for split in shop.queries["split"].to_pylist()]
    queries = shop.queries.set_column(shop.queries.column_names.index("split"), "split", [splits])
    return replace(shop, queries=queries, qrels=sp.csr_matrix(shop.qrels.shape, dtype=np.int8), qrels_complete=False)


NO_TEST = with_catalogue_queries(without_test_queries(SHOP), 60, seed=0)
ONLY_TRAIN = with_catalogue_queries(without_test_queries(SHOP, also=("dev",)), 60, seed=0)


def test_typed_test_queries_then_typed_dev_queries_then_made_up_ones():
    assert final_queries(SHOP) == FinalQueries("test", typed=True, labelled=True)
    assert final_queries(NO_TEST) == FinalQueries("dev", typed=True, labelled=False)
    assert final_queries(ONLY_TRAIN) == FinalQueries("dev", typed=False, labelled=False)


def test_made_up_queries_do_not_stand_beside_typed_ones():
    evaluator = open_report_evaluator(Args(judge="labels", report_judge="coverage"), setup_of(NO_TEST))
    assert [query.text for query in evaluator.queries] == ["frosta fridge black", "settee"]
    assert evaluator.by == "judge coverage"


def test_made_up_grades_are_never_called_labels():
    evaluator = open_report_evaluator(Args(judge="labels"), setup_of(ONLY_TRAIN))
    assert all(ONLY_TRAIN.slices[GENERATED][query.row] for query in evaluator.queries)
    evaluation = evaluator.evaluate(Identity())
    assert evaluation.by == MADE_UP_GRADES
    assert evaluation.made_up == len(evaluation.queries)
    assert evaluation.made_up_note.startswith("Made-up queries and grades: no shopper typed these ")
    typed = HeldOutEvaluator(SHOP, WordRetriever(SHOP), "test").evaluate(Identity())
    assert (typed.by, typed.made_up, typed.made_up_note) == ("labels", 0, "")


def test_made_up_queries_are_called_so_by_whomever_they_are_graded():
    evaluator = open_report_evaluator(Args(judge="labels", report_judge="coverage"), setup_of(ONLY_TRAIN))
    evaluation = evaluator.evaluate(Identity())
    assert evaluation.by == "judge coverage"
    assert evaluation.made_up_note.startswith("Made-up queries: no shopper typed these ")
    assert "graded by judge coverage" in evaluation.made_up_note


def test_made_up_queries_beside_labelled_ones_are_counted():
    mixed = with_catalogue_queries(SHOP, 60, seed=0)
    evaluation = HeldOutEvaluator(mixed, WordRetriever(mixed), "dev").evaluate(Identity())
    assert 0 < evaluation.made_up < len(evaluation.queries)
    assert evaluation.by == "labels, and made-up grades of made-up queries"
    assert f"{evaluation.made_up} of these {len(evaluation.queries)} dev queries" in evaluation.made_up_note


def test_labels_are_refused_before_anything_is_learned_where_there_are_none():
    with pytest.raises(ConfigError, match=r"report_judge='labels': no dev query of .* has a label"):
        check_report_judge(Args(report_judge="labels"), NO_TEST)
    with pytest.raises(
        ConfigError, match=r"no dev query of .* was typed by a shopper, and made-up grades are no labels"
    ):
        check_report_judge(Args(report_judge="labels"), ONLY_TRAIN)
    check_report_judge(Args(report_judge="labels"), SHOP)
    check_report_judge(Args(report_judge="coverage"), NO_TEST)


def choice_of(shop, **settings):
    args, setup = Args(judge="labels", **settings), setup_of(shop)
    evaluator = open_report_evaluator(args, setup)
    agents = [Identity(), Spell(shop)]
    return serving_choice(args, setup, {agent.name: evaluator.evaluate(agent) for agent in agents}, agents, PLAN)


def test_the_choice_holds_the_run_and_the_figures():
    choice = choice_of(SHOP)
    assert (choice.serve, choice.agent_spec) == ("identity", "identity"), "three queries prove nothing"
    assert (choice.combine, choice.original_weight, choice.retriever, choice.judge) == ("expand", 1.0, "bm25", "labels")
    assert (choice.shop_hash, choice.products_hash, choice.max_worse) == (SHOP.hash, SHOP.products_hash, 0.1)
    (grading,) = choice.gradings
    assert (grading.by, grading.split, grading.queries) == ("labels", "test", 3)
    assert [candidate.name for candidate in grading.candidates] == ["identity", "spell"]
    assert choice.reason.startswith("Serve the original queries: ")


def test_labels_decide_and_a_named_report_judge_stands_beside_them():
    choice = choice_of(SHOP, report_judge="coverage")
    assert [grading.by for grading in choice.gradings] == ["labels", "judge coverage"]


def test_a_judge_decides_where_the_typed_queries_have_no_label():
    choice = choice_of(NO_TEST, report_judge="coverage")
    assert [(grading.by, grading.split, grading.queries) for grading in choice.gradings] == [
        ("judge coverage", "dev", 2)
    ]


def test_made_up_queries_decide_nothing():
    choice = choice_of(ONLY_TRAIN)
    assert (choice.serve, choice.gradings) == ("identity", [])
    assert choice.reason.startswith("Made-up queries and grades: no shopper typed these ")
    assert choice.reason.endswith(NOT_ENOUGH)
