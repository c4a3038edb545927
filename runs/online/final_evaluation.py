"""The end of a run: every rewriter on held-out queries, what to serve (OUT/serve.json), eval.json and report.html."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from tqdm import tqdm

from agents.baselines.classic import Oracle
from agents.policy.student import Student
from agents.tracking.base import send_evaluation
from judges.validation.planted import planted_kinds, shown
from qr_env.common.atomic_io import atomic_write
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Agent
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.made_up import typed_queries
from qr_env.evaluation.result import Evaluation
from qr_env.evaluation.tables import comparison_table
from qr_env.shop.shop import Shop
from runs.common.folder import run_config
from runs.common.serving_choice import ServingChoice, write_serving_choice
from runs.online.args import Args
from runs.online.candidates import SUGGEST_FILE, SuggestPlan, suggest_plan, untrained_agents, untrained_spec
from runs.online.evaluation import CachedRewrites, report_judge
from runs.online.setup import TrainingSetup
from runs.online.verdict import ALPHA, Candidate, grade_candidates
from runs.online.verdict_text import reason
from runs.report.job import write_report
from runs.report.run_files import PLANTED_FILE, write_eval
from runs.report.sections.planted import planted_text

STUDENTS = {"warm start": "checkpoints/warm", "serving": "checkpoints/serving", "online": "checkpoints/best"}
NO_CANDIDATES = ("rm3", "oracle")  # columns of the table that are never served: RM3 is a baseline of the literature
TERMINAL_WIDTH = 220  # characters of the table where the output is no terminal


@dataclass(frozen=True)
class FinalQueries:
    """The held-out queries of the final evaluation."""

    split: str
    """test; dev where no test query was typed"""
    typed: bool
    """whether a shopper typed them; if not, they were made from the catalogue and prove nothing"""
    labelled: bool
    """whether any of them has a label; made-up queries have made-up grades, which are none"""


def final_queries(shop: Shop) -> FinalQueries:
    """Typed test queries, else typed dev queries, else dev queries that were made from the catalogue."""
    for split in ("test", "dev"):
        if typed := typed_queries(shop, shop.split(split)):
            return FinalQueries(split, True, any(shop.qrels[query.row].nnz for query in typed))
    return FinalQueries("dev", False, False)


def check_report_judge(args: Args, shop: Shop) -> None:
    """Refuse --report-judge labels where no query of the final evaluation has a label, before anything is built.

    Raises:
        ConfigError: see above.
    """
    queries = final_queries(shop)
    if args.report_judge == "labels" and not queries.labelled:
        none = "has a label" if queries.typed else "was typed by a shopper, and made-up grades are no labels"
        raise ConfigError(
            f"report_judge='labels': no {queries.split} query of {shop!r} {none}; name a judge, such as "
            "embedding, or leave it out"
        )


def open_report_evaluator(args: Args, setup: TrainingSetup, limit: int | None = None) -> HeldOutEvaluator:
    """Scores agents on the final queries by the report judge: labels where there are any, unless one is named.

    Made-up queries are scored by their made-up grades, which the evaluation calls so.
    """
    queries = final_queries(setup.shop)
    judge = report_judge(setup, args, queries.labelled or not queries.typed)
    return setup.evaluator(queries.split, judge, limit, typed_only=queries.typed)


def evaluate_and_report(args: Args, setup: TrainingSetup) -> None:
    """Evaluate all rewriters on held-out queries, write what to serve and the report, and print both."""
    evaluator = open_report_evaluator(args, setup)
    suggest = suggest_plan(args, setup)
    agents: list[Agent] = [CachedRewrites(agent) for agent in all_agents(args, setup, evaluator, suggest)]
    evaluations = {agent.name: evaluator.evaluate(agent) for agent in tqdm(agents, desc="evaluate", unit="agent")}
    choice = serving_choice(args, setup, evaluations, agents, suggest)
    suggest.settings.write(args.out / SUGGEST_FILE)
    write_serving_choice(args.out, choice)
    write_eval(args.out, evaluations, setup.shop, agent="online", seed=args.seed, evaluator=evaluator)
    send_evaluation(args.tracker, args.out, run_config(args.out, args), args.updates, evaluations)
    planted = planted_report(args, setup, evaluations)
    report = write_report(args.out)
    print(choice.reason)
    for line in planted:
        print(line)
    Console(width=None if sys.stdout.isatty() else TERMINAL_WIDTH).print(comparison_table(evaluations))
    print(f"report: {report.resolve()}")


def planted_report(args: Args, setup: TrainingSetup, evaluations: Mapping[str, Evaluation]) -> list[str]:
    """Write how often each agent's first ten show the products of --plant, and return it as lines; [] without any."""
    if not args.plant:
        return []
    kinds = planted_kinds(setup.shop)
    shares = {name: shown(kinds, evaluation.after.rows_NK) for name, evaluation in evaluations.items()}
    atomic_write(args.out / PLANTED_FILE, json.dumps({"products": args.plant, "agents": shares}, indent=2))
    head = f"queries whose first ten show one of {args.plant:,} planted products:"
    return [head, *(f"  {name}: {planted_text(by_kind)}" for name, by_kind in shares.items())]


def all_agents(args: Args, setup: TrainingSetup, evaluator: HeldOutEvaluator, suggest: SuggestPlan) -> list[Agent]:
    """The columns of the table: rewriters that train nothing, the run's students, and the oracle where there is one."""
    agents = untrained_agents(args, setup, suggest)
    for name, path in STUDENTS.items():
        if name != "serving" or args.promotion == "on":
            agents.append(replace(Student.load(args.out / path, suggester=setup.suggester), name=name))
    if evaluator.shop.oracle:
        agents.append(Oracle(evaluator.shop))  # with --drift its texts differ from those of the setup's shop
    return agents


def serving_choice(
    args: Args,
    setup: TrainingSetup,
    evaluations: Mapping[str, Evaluation],
    agents: Sequence[Agent],
    suggest: SuggestPlan,
) -> ServingChoice:
    """What to serve, by labels where there are any, and by the report judge where one is named besides."""
    candidates = [
        Candidate(name, STUDENTS.get(name) or untrained_spec(name), suggest.made_with if name == "suggest" else "")
        for name in evaluations
        if name not in NO_CANDIDATES
    ]
    gradings = []
    queries, max_worse = final_queries(setup.shop), args.evaluation.max_worse
    if queries.typed:
        sources = [evaluations]
        if queries.labelled and evaluations["identity"].by != "labels":
            by_labels = setup.evaluator(queries.split, None, typed_only=True)
            sources.insert(0, {agent.name: by_labels.evaluate(agent) for agent in agents})
        gradings = [grade_candidates(candidates, source, max_worse, args.seed) for source in sources]
    serve = gradings[0].serve if gradings else "identity"
    return ServingChoice(
        serve=serve,
        agent_spec=next(candidate.agent_spec for candidate in candidates if candidate.name == serve),
        reason=reason(gradings, max_worse, evaluations["identity"].made_up_note),
        combine=args.combine,
        original_weight=args.weight,
        retriever=args.retriever,
        judge=args.judge,
        shop_hash=setup.shop.hash,
        products_hash=setup.shop.products_hash,
        max_worse=max_worse,
        alpha=ALPHA,
        gradings=gradings,
    )
