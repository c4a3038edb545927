"""The stage `visits`: simulated shoppers search with a student for some days; what they did is logged as by `qr serve`.

    monday: {kind: visits, agent: warm, users: 3000, days: 1, explore: 0.2}
    live1:  {kind: online, start: warm, feedback: [monday]}
    tuesday: {kind: visits, agent: live1, before: warm, …}            # live1 serves if it is not judged worse than warm

The folder holds the log (ubi_queries.ndjson, ubi_events.ndjson with the probability of every rewrite) and the figures.
The shop's own truth decides what shoppers like; the student learns from what is logged, and from the recipe's judge.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agents.baselines.classic import Identity
from agents.serving.exploration import Explorer
from judges.factory import JudgeOptions, auto_judge, default_encoder, needs_encoder, open_judge
from judges.shoppers.sessions.metrics import commerce
from judges.shoppers.sessions.needs import Needs
from judges.shoppers.sessions.settings import SessionSettings
from judges.shoppers.sessions.simulator import SessionSimulator, Visits
from judges.shoppers.sessions.ubi import write_ubi
from qr_env.common.protocols import Agent
from qr_env.evaluation.bootstrap import interval, resampled_means
from runs.recipe.context import StageContext
from runs.recipe.spec import Metrics, VisitsStage
from runs.shoppers.searchers import AgentSearcher

DAY = 86_400.0
START = 1_767_225_600.0  # 2026-01-01: logs of one recipe are the same on every day on which it runs


def run_visits(stage: VisitsStage, context: StageContext, folder: Path) -> Metrics:
    """Choose who serves, let shoppers visit, write the log; the metrics are what was sold."""
    served, judged = choose(stage, context)
    visits = visit(context, served, stage)
    folder.mkdir(parents=True, exist_ok=True)
    write_ubi(visits, context.loaded_shop, folder, START + DAY * stage.first_day)
    figures = commerce(visits).figures()
    return {"served": served.name, "searches": len(visits), **judged, **figures}


def choose(stage: VisitsStage, context: StageContext) -> tuple[Agent, Metrics]:
    """`agent`, or `before` where `agent` is judged worse on dev queries, by a paired interval."""
    agent = agent_of(stage.agent, context)
    if not stage.before:
        return agent, {}
    before = agent_of(stage.before, context)
    evaluator = context.serving_evaluator
    new, old = (evaluator.evaluate(one) for one in (agent, before))
    difference_N = new.values[new.main] - old.values[old.main]
    low, high = interval(resampled_means(difference_N[:, None])[:, 0])
    mean = float(np.nanmean(difference_N))
    judged: Metrics = {"judged difference": mean, "low": low, "high": high, "promoted": high >= 0}
    return (agent if high >= 0 else before), judged


def agent_of(name: str, context: StageContext) -> Agent:
    """The student of a stage, or the original queries."""
    if name == "identity":
        return Identity()
    student = context.student(name)
    student.name = name
    return student


def visit(context: StageContext, agent: Agent, stage: VisitsStage) -> Visits:
    """Shoppers of the shop's own queries of a split, whose truth is known, search with an agent."""
    shop, settings = context.loaded_shop, context.settings
    spec = auto_judge(shop)
    judge = open_judge(spec, shop, JudgeOptions(encoder=default_encoder() if needs_encoder(spec) else None))
    needs = Needs(shop, shop.split(stage.split), stage.flatten)
    simulator = SessionSimulator(shop, judge, needs, SessionSettings(visits_a_week=stage.visits_a_week))
    explorer = Explorer(agent, stage.explore) if stage.explore else None
    engine = context.setup.retriever
    searcher = AgentSearcher(agent.name, agent, engine, settings.combine, settings.weight, explorer)
    return simulator.run(searcher, stage.users, stage.days, 1_000 * context.seed + stage.first_day + stage.draw)
