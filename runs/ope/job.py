"""`qr ope`: off-policy evaluation from a log of served rewrites. Its flags are in `runs/ope/args.py`."""

from __future__ import annotations

import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from agents.serving.exploration import action_of
from agents.serving.off_policy.estimators import Floats
from agents.serving.off_policy.evaluation import evaluate_policy
from agents.serving.off_policy.logged import Decisions, logged_decisions
from agents.serving.off_policy.reward_model import cross_fitted
from judges.checks import check_judge
from judges.factory import auto_judge, needs_encoder, open_judge
from qr_env.common.errors import ConfigError, DataError
from qr_env.common.messages import print_message
from qr_env.common.protocols import Judge
from qr_env.common.types import JsonDict
from qr_env.retrieval.factory import default_encoder
from qr_env.traffic.ubi import read_ubi
from runs.common.checks import about, check_folder, check_output
from runs.common.output import write_json
from runs.common.serving.rewriter import OpenRewriter, open_rewriter, plan_rewriter
from runs.common.timing import stamped
from runs.ope.args import Args
from runs.ope.simulated import SimulatedReward


def main(args: Args) -> None:
    """Read the log, evaluate every candidate for every reward, print and write."""
    check_inputs(args)
    started = time.perf_counter()
    log = read_ubi(args.log, args.read_options())
    log.report.warn(args.log.name)
    decisions = {reward: logged_decisions(log, reward) for reward in args.reward}
    some = decisions[args.reward[0]]
    print_message(
        f"{len(some):,} searches of {int(some.clusters_N.max()) + 1:,} sessions, {len(set(some.queries)):,} queries; "
        f"{np.mean(some.propensity_N < 1):.1%} were drawn"
    )
    results: JsonDict = {reward: {} for reward in args.reward}
    for name in dict.fromkeys(args.agent):
        opened = open_rewriter(name, args)
        actions = policy_actions(opened, some)
        judge = open_grades(args, opened) if args.model == "simulator" and "dr" in args.estimator else None
        for reward in args.reward:
            results[reward][name] = evaluated(args, opened, decisions[reward], actions, judge, reward)
    facts = {"verb": "ope", "log": str(args.log), "searches": len(some), "seconds": time.perf_counter() - started}
    write_json(args.json, stamped(facts | {"rewards": results}))
    if args.json != "-":
        print_tables(args, results)
    if all("refused" in one for table in results.values() for one in table.values()):
        raise DataError("no candidate has support in this log; see above")


def check_inputs(args: Args) -> None:
    """Raise what is wrong with the flags, before anything is loaded."""
    if not args.log.is_dir():
        raise ConfigError(f"log={str(args.log)!r}: no such folder; name one that qr serve or qr shoppers wrote")
    if not args.agent:
        raise ConfigError("agent: name a candidate")
    check_output("json", args.json)
    check_folder("cache", args.cache)
    for name in args.agent:
        plan_rewriter(name, args)
    if args.judge != "auto":
        with about("judge", args.judge):
            check_judge(args.judge, args.judge_options())


def policy_actions(opened: OpenRewriter, decisions: Decisions) -> list[str]:
    """The rewrites that the candidate serves for the logged queries."""
    distinct = list(dict.fromkeys(decisions.queries))
    rewrites = {
        query: action_of(query, group[0]) for query, group in zip(distinct, opened.agent.rewrite(distinct), strict=True)
    }
    return [rewrites[query] for query in decisions.queries]


def open_grades(args: Args, opened: OpenRewriter) -> Judge:
    """The judge whose grades the simulated shopper reads."""
    spec = auto_judge(opened.shop) if args.judge == "auto" else args.judge
    encoder = default_encoder(args.encoder) if needs_encoder(spec) else None
    return open_judge(spec, opened.shop, args.judge_options(encoder))


def evaluated(
    args: Args, opened: OpenRewriter, decisions: Decisions, actions: list[str], judge: Judge | None, reward: str
) -> JsonDict:
    """Support and estimates of a candidate; {"refused": why} where the log has no support for it."""
    model: tuple[Floats, Floats] | None = None
    if "dr" in args.estimator and judge is None:
        model = cross_fitted(decisions, actions)
    elif judge is not None:
        simulated = SimulatedReward(opened, judge, reward)
        model = simulated.predict(decisions.queries, actions), simulated.predict(decisions.queries, decisions.actions)
    try:
        return evaluate_policy(decisions, actions, args.estimator, args.limits, model)
    except DataError as error:
        return {"refused": str(error)}


def print_tables(args: Args, results: JsonDict) -> None:
    """One table a reward: a row a candidate and estimator."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    for reward, candidates in results.items():
        table = Table(title=f"{reward} a search", title_justify="left")
        for heading in ("candidate", "estimator", "value", "to what was served", "effective searches", "mean weight"):
            table.add_column(heading, justify="left" if heading in ("candidate", "estimator") else "right")
        refused = []
        for name, found in candidates.items():
            if "refused" in found:
                refused.append(f"{name}: {found['refused']}")
                continue
            support = found["support"]
            for estimator, value in found["estimates"].items():
                change = value["difference"]
                table.add_row(
                    name, estimator, f"{value['value']:.4f} [{value['low']:.4f} {value['high']:.4f}]",
                    f"{change['value']:+.4f} [{change['low']:+.4f} {change['high']:+.4f}]",
                    f"{support['effective']:,.0f}", f"{support['mean_weight']:.2f}",
                )  # fmt: skip
        if table.row_count:
            console.print(table)
        for name, found in candidates.items():
            if "support" in found and found["support"]["high"] < 1:
                missing = 1 - found["support"]["mean_weight"]
                console.print(f"note: for about {missing:.0%} of the traffic the log never served what {name} serves")
        for line in refused:
            console.print(f"refused: {line}")
