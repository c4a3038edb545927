"""Evaluate the students and baselines of one seed on the test queries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from agents.factory import make_agent
from agents.supervised.text_scores import text_scores
from judges.shoppers.model import ModelShopper
from qr_env.common.protocols import Agent
from qr_env.common.types import Grades
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.result import Evaluation
from qr_env.evaluation.scorers import ONE_HOT
from qr_env.shop.shop import Shop
from runs.evaluate.job import agent_options
from runs.online.final_evaluation import open_report_evaluator
from runs.recipe.pipeline import SeedRun
from runs.recipe.spec import Recipe
from runs.recipe.text_scores import scored_students
from runs.report.job import write_report
from runs.report.run_files import write_eval

Array = npt.NDArray[np.float64]
TIMED_QUERIES = 256  # queries rewritten to measure the latency


@dataclass(frozen=True)
class SeedScores:
    """Metrics of every agent for one seed."""

    main: str
    """name of the headline metric"""
    by: str
    """source of the grades, as in `Evaluation.by`"""
    values: dict[str, dict[str, Array]]
    """agent → metric → (N,), one value a test query"""
    scalars: dict[str, dict[str, float]]
    """agent → metric → value: latency, and text scores of the students that have them"""
    oracle_N: Array | None
    """headline metric of the best known rewrite, (N,); None if the shop knows none"""
    warning: str = ""
    """what a report says first where the queries were made up (`Evaluation.made_up_note`)"""


def score_seed(run: SeedRun, recipe: Recipe, limit: int | None) -> SeedScores:
    """Evaluate every agent on at most `limit` test queries; also writes the seed's `eval.json` and `report.html`."""
    context = run.context
    evaluator = open_report_evaluator(context.online_args(context.folder), context.setup, limit)
    evaluations: dict[str, Evaluation] = {}
    scalars: dict[str, dict[str, float]] = {}
    for name, agent in tqdm(list(open_agents(run, recipe, evaluator)), desc="evaluate", unit="agent"):
        scalars[name] = {"ms/query": measure_latency(agent, evaluator.texts)}
        evaluations[name] = evaluator.evaluate(agent)
    write_eval(
        context.folder, evaluations, context.shop, agent=recipe.compare[-1], seed=context.seed, evaluator=evaluator
    )
    write_report(context.folder)
    for name, scores in held_out_text_scores(run, recipe).items():
        scalars[name] |= scores
    first = next(iter(evaluations.values()))
    values = {
        name: evaluation.values | engagement(context.shop, evaluation) for name, evaluation in evaluations.items()
    }
    return SeedScores(first.main, first.by, values, scalars, evaluator.oracle.get("replace"), first.made_up_note)


def open_agents(run: SeedRun, recipe: Recipe, evaluator: HeldOutEvaluator) -> Iterator[tuple[str, Agent]]:
    """Identity, the baselines and the students, by name."""
    options = agent_options(evaluator)
    for name in dict.fromkeys(["identity", *recipe.baselines]):
        yield name, make_agent(name, options)
    for name in recipe.compare:
        yield name, run.context.student(name)


def measure_latency(agent: Agent, texts: list[str]) -> float:
    """Milliseconds a query to rewrite the first `TIMED_QUERIES` texts."""
    started = time.perf_counter()
    agent.rewrite(texts[:TIMED_QUERIES])
    return 1000 * (time.perf_counter() - started) / min(len(texts), TIMED_QUERIES)


def engagement(shop: Shop, evaluation: Evaluation) -> dict[str, Array]:
    """Probability, by the model shopper, of a click, a cart and a purchase among the first ten products of each query;
    NaN where a grade is missing."""
    grades = Grades(ONE_HOT[evaluation.levels_after.astype(np.int64) + 1])
    some_N3 = ModelShopper(shop).engage(evaluation.queries, evaluation.after.rows_NK, grades).some_N3
    return dict(zip(("click@10", "cart@10", "purchase@10"), some_N3.T.astype(np.float64), strict=True))


def held_out_text_scores(run: SeedRun, recipe: Recipe) -> dict[str, dict[str, float]]:
    """Student → exact match, ROUGE-L and cross-entropy on held-out pairs, for the students that have text scores."""
    if not recipe.held_out:
        return {}
    examples = run.context.examples(recipe.held_out)
    held_out = [e for e in examples if e.held_out and e.task == "rewrite" and not e.context]
    if not held_out:
        return {}
    return {name: text_scores(run.context.student(name), held_out) for name in scored_students(recipe)}
