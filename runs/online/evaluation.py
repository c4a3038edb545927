"""Evaluation of the student while it learns, and the judge of the final evaluation.

    evaluate = TrainingEvaluation(setup, args)
    metrics = evaluate(student)          # "eval/…" on dev queries, "judge/…" about the judge itself

The judge that trains also selects the best student ("eval/score"). Labels, where there are any, are logged too and show
by how much that judge overstates the quality; they select nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from judges.base import judge_stats
from judges.factory import judge_names, open_judge
from judges.validation.planted import planted_kinds, shown
from judges.validation.probes import ProbeSet, exploit_message
from qr_env.common.messages import print_message
from qr_env.common.protocols import Agent, Judge, Shopper
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.made_up import MADE_UP_SHARE
from qr_env.evaluation.result import weighted_means
from qr_env.evaluation.scorers import TOP
from qr_env.retrieval.combine import padded
from qr_env.retrieval.factory import retriever_uses_encoder
from qr_env.reward.feedback import feedback
from qr_env.reward.text_figures import text_figures
from runs.online.args import Args
from runs.online.setup import TrainingSetup, judge_options

SHARED_METRICS = ("headroom", "better", "worse", "kept", "words ratio")  # measured by the judge and by labels
OBSERVERS = ("report judge", "test labels")  # further evaluators, for the Goodhart plot only


class TrainingEvaluation:
    """Scores the student on held-out queries; callable, as `Loop` needs it."""

    def __init__(self, setup: TrainingSetup, args: Args) -> None:
        self.setup, self.settings = setup, args.evaluation
        self.extra_judge: Judge | None = None
        if args.report_judge not in ("auto", "labels", args.judge):
            self.extra_judge = report_judge(setup, args, setup.has_labels("dev"))
        self.probes = None
        if self.settings.probes:
            self.probes = ProbeSet.from_shop(setup.shop, self.settings.probes, args.seed)
        self.planted = planted_kinds(setup.shop) if args.plant else {}
        self.evaluators = self._make_evaluators()

    def __call__(self, student: Agent) -> dict[str, float]:
        """Metrics by name.

        Raises:
            JudgeError: the gate refuses the judge on the products that the student finds now.
        """
        if self.setup.drift is not None:  # words and products have changed since the last evaluation
            self.evaluators = self._make_evaluators()
        agent = CachedRewrites(student)
        by_judge, by_labels = self.evaluators["judge"], self.evaluators.get("labels")
        metrics = {f"eval/{name}": value for name, value in by_judge.quick(agent).items()}
        metrics["eval/score"] = metrics[f"eval/{by_judge.scorer.main}"]
        if by_labels is not None:
            for name in SHARED_METRICS:
                if f"eval/{name}" in metrics:
                    metrics[f"eval/judge {name}"] = metrics.pop(f"eval/{name}")
            metrics |= {f"eval/{name}": value for name, value in by_labels.quick(agent).items()}
            if by_labels.made_up:
                metrics[MADE_UP_SHARE] = by_labels.made_up / len(by_labels.queries)
        for name in OBSERVERS:
            if name in self.evaluators:
                observer = self.evaluators[name]
                metrics[f"eval/{name} nDCG@10"] = observer.quick(agent)[observer.scorer.main]
        if self.setup.drift is not None:
            metrics["stream/shifts"] = float(self.setup.drift.changes)
        if self.setup.shopper is not None:
            metrics |= conversion_metrics(by_labels or by_judge, agent, self.setup.shopper)
        if self.planted:
            rows_PK = by_judge.search(by_judge.rewrites(agent)).rows_NK
            metrics |= {f"eval/planted@10/{kind}": share for kind, share in shown(self.planted, rows_PK).items()}
        return metrics | self.judge_metrics(agent)

    def judge_metrics(self, agent: Agent) -> dict[str, float]:
        """The judge's exploit rate on planted products, agreement on products that the agent finds, own counts."""
        setup, judge, evaluator = self.setup, self.setup.judge, self.evaluators["judge"]
        metrics = {} if self.probes is None else dict(self.probes.exploit_rate(judge))
        if setup.gate_result is not None:
            shown = evaluator.search(evaluator.rewrites(agent)).rows_NK[:, :10]
            now = setup.gate.check(judge, setup.shop, (evaluator.queries, shown))
            # With too few graded products among those shown, the agreement measured at the start holds.
            metrics |= (setup.gate.enforce(now) if now.known else setup.gate_result).metrics()
        return metrics | {f"judge/{name}": float(value) for name, value in judge_stats(judge).items()}

    def _make_evaluators(self) -> dict[str, HeldOutEvaluator]:
        """By the judge that trains, by labels, and `OBSERVERS`, where each exists."""
        setup, limit = self.setup, self.settings.dev_queries
        evaluators = {"judge": setup.evaluator("dev", setup.judge, limit)}
        if setup.has_labels("dev"):
            evaluators["labels"] = setup.evaluator("dev", None, limit)
        if self.extra_judge is not None:
            evaluators["report judge"] = setup.evaluator("dev", self.extra_judge, limit)
        if self.settings.watch_test_labels:
            evaluators["test labels"] = setup.evaluator("test", None)
        return evaluators


def conversion_metrics(evaluator: HeldOutEvaluator, agent: Agent, shopper: Shopper) -> dict[str, float]:
    """Mean relevance of the first page and probability of a purchase, which the conversion alarm compares."""
    page = padded(evaluator.search(evaluator.rewrites(agent)), TOP)
    grades = evaluator.scorer.grade(page)
    figures = feedback(page, page, grades, grades, text_figures(evaluator.texts, evaluator.texts))
    some_N3 = shopper.engage(evaluator.queries, page.rows_NK, grades).some_N3
    means = weighted_means(np.stack([figures.relevance, some_N3[:, 2]], axis=1).astype(np.float64))
    return dict(zip(("eval/relevance@10", "eval/purchase@10"), means.tolist(), strict=True))


def report_judge(setup: TrainingSetup, args: Args, labelled: bool) -> Judge | None:
    """The judge of the final evaluation; None is labels. "auto" takes labels where there are any (`labelled`), else
    `auto_reporter`.

    A judge that trained the student, alone or in an ensemble, is accepted with a message: it measures the student's own
    objective.
    """
    spec = args.report_judge
    if spec == "labels" or (spec == "auto" and labelled):
        return None
    if spec == "auto":
        spec = auto_reporter(args.judge, retriever_uses_encoder(args.retriever))
        print_message(f"no labels of held-out queries: reported by judge {spec!r}, trained by {args.judge!r}")
    if not set(judge_names(spec)).isdisjoint(judge_names(args.judge)):
        print_message(
            f"reported by {spec}, which trained, alone or with others ({args.judge}): another report judge "
            "would be independent"
        )
    if spec == args.judge:
        return setup.judge
    return open_judge(spec, setup.shop, judge_options(args))


def auto_reporter(trained_by: str, engine_embeds: bool = False) -> str:
    """The first of blend, coverage and embedding without a judge that trained; after all of them, embedding.

    engine_embeds: the engine searches by vectors. A judge that compares the same vectors prefers what it finds for the
    query as typed, whatever the rewrite; coverage reports then.
    """
    if engine_embeds:
        return "coverage"
    trained = set(judge_names(trained_by))
    free = [name for name in ("blend", "coverage", "embedding") if trained.isdisjoint(judge_names(name))]
    return free[0] if free else "embedding"


def print_exploits(args: Args, setup: TrainingSetup) -> None:
    """Print which kinds of planted products fool the judge, before anything is learned from it."""
    if args.evaluation.probes:
        rates = ProbeSet.from_shop(setup.shop, args.evaluation.probes, args.seed).report(setup.judge)
        print_message(exploit_message(args.judge, {kind: row["rate"].value for kind, row in rates.items()}))


class CachedRewrites:
    """An agent that rewrites each query once, so that several evaluators share its rewrites."""

    def __init__(self, agent: Agent) -> None:
        self.agent, self.name = agent, agent.name
        self.known: dict[str, list[str]] = {}

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The agent's rewrites; n and seed are those of a query's first call."""
        fresh = [query for query in dict.fromkeys(queries) if query not in self.known]
        self.known |= dict(zip(fresh, self.agent.rewrite(fresh, n, seed), strict=True))
        return [self.known[query] for query in queries]
