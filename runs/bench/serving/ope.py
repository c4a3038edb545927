"""`qr bench ope`: do the intervals of off-policy evaluation cover the truth? Settings: `runs/bench/args.py`.

The world is known: queries of the shop by frequency, rewriters that train nothing as policies, and for each (query,
rewrite) the simulated shopper's probability of a purchase on the engine's list. A policy's true value is its mean over
the queries. Logs are drawn from an ε-greedy mixture of all policies' rewrites around `suggest`; each is evaluated as
`qr ope` does it, and the truth is inside the 95 % interval, or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from tqdm import tqdm

from agents.serving.exploration import action_of
from agents.serving.off_policy.estimators import estimate
from agents.serving.off_policy.evaluation import policy_weights
from agents.serving.off_policy.logged import Decisions
from agents.serving.off_policy.reward_model import cross_fitted
from judges.factory import auto_judge, open_judge
from runs.bench.args import OpeBenchArgs
from runs.bench.output import named_values, publish
from runs.common.serving.args import RewriterArgs
from runs.common.serving.rewriter import OpenRewriter, open_rewriter
from runs.ope.simulated import SimulatedReward

Floats = npt.NDArray[np.float64]
POLICIES = ("identity", "spell", "repair", "suggest")
LOGGING = "suggest"
SEARCHES_A_SESSION = 1.4  # mean of a geometric number; searches of a session have the same luck


@dataclass(frozen=True)
class World:
    """What is known of the simulated shop."""

    queries: list[str]
    """P queries."""
    share_P: Floats
    """Share of the traffic of each."""
    actions: list[list[str]]
    """P lists of distinct rewrites."""
    chance: list[Floats]
    """P arrays: probability of a purchase of each rewrite."""
    policies: dict[str, list[str]]
    """Policy → its rewrite of each query."""

    def value(self, policy: str) -> float:
        """True mean reward of a policy."""
        earned = [self.chance[at][self.actions[at].index(action)] for at, action in enumerate(self.policies[policy])]
        return float(self.share_P @ np.array(earned))


def main(args: OpeBenchArgs) -> None:
    """Build the world, draw the logs, print, write."""
    world = build_world(args)
    figures: dict[str, Any] = {}
    for size in args.sizes:
        figures |= {f"{size} searches, {key}": values for key, values in coverage(args, world, size).items()}
    lines = [f"{key}: {named_values(values, '.4g')}" for key, values in figures.items()]
    sizes = {"logs": args.logs, "queries": len(world.queries), "epsilon": args.epsilon}
    publish({"ratios": {}, "coverage": figures, "sizes": sizes}, lines, args.json)


def build_world(args: OpeBenchArgs) -> World:
    """Rewrites of all policies and what each earns."""
    flags = RewriterArgs(shop=args.shop, data=args.data)
    first = open_rewriter("identity", flags)
    asked = first.shop.split("test")
    chosen = [asked[at] for at in np.random.default_rng(args.seed).permutation(len(asked))[: args.queries].tolist()]
    texts = [query.text for query in chosen]
    share_P = (
        np.array([query.frequency for query in chosen], np.float64) ** 0.5
    )  # flatter than the log: less of one query
    policies = {name: rewrites_of(open_rewriter(name, flags, first.shop), texts) for name in POLICIES}
    judge = open_judge(auto_judge(first.shop), first.shop)
    reward = SimulatedReward(first, judge, "purchase")
    actions = [list(dict.fromkeys(policies[name][at] for name in POLICIES)) for at in range(len(texts))]
    chance = [reward.predict([text] * len(part), part) for text, part in zip(texts, actions, strict=True)]
    return World(texts, share_P / share_P.sum(), actions, chance, policies)


def rewrites_of(opened: OpenRewriter, texts: Sequence[str]) -> list[str]:
    """A policy's rewrites, in the form in which equal searches are equal."""
    groups = opened.agent.rewrite(texts)
    return [action_of(text, group[0]) for text, group in zip(texts, groups, strict=True)]


def draw_log(args: OpeBenchArgs, world: World, size: int, rng: np.random.Generator) -> tuple[Decisions, list[int]]:
    """A log of `size` searches, and the place of each search's query."""
    asked = rng.choice(len(world.queries), size=size, p=world.share_P)
    session_N = np.cumsum(rng.random(size) < 1 / SEARCHES_A_SESSION)
    luck = np.random.default_rng(rng.integers(1 << 62)).random(int(session_N.max()) + 1)
    served, propensity_N, reward_N = [], np.zeros(size), np.zeros(size)
    for n, at in enumerate(asked.tolist()):
        actions = world.actions[at]
        probability = np.full(len(actions), args.epsilon / len(actions))
        probability[actions.index(world.policies[LOGGING][at])] += 1 - args.epsilon
        drawn = int(rng.choice(len(actions), p=probability))
        served.append(actions[drawn])
        propensity_N[n] = probability[drawn]
        # Half of the luck is the session's: searches of one session are correlated.
        own = luck[session_N[n]] if rng.random() < 0.5 else rng.random()
        reward_N[n] = own < world.chance[at][drawn]
    queries = [world.queries[at] for at in asked.tolist()]
    clusters_N = np.unique(session_N, return_inverse=True)[1].astype(np.int64)
    return Decisions(queries, served, propensity_N, reward_N, clusters_N), asked.tolist()


def coverage(args: OpeBenchArgs, world: World, size: int) -> dict[str, dict[str, float]]:
    """Coverage, error and width of the intervals, by policy and estimator."""
    hits: dict[str, list[tuple[bool, float, float]]] = {}
    for number in tqdm(range(args.logs), desc=f"{size} searches", unit="log", mininterval=1.0):
        decisions, asked = draw_log(args, world, size, np.random.default_rng([args.seed, size, number]))
        for policy in POLICIES:
            actions = [world.policies[policy][at] for at in asked]
            weight_N = policy_weights(decisions, actions)
            model = cross_fitted(decisions, actions)
            truth = world.value(policy)
            for name in ("ips", "snips", "dr"):
                found = estimate(name, weight_N, decisions.reward_N, decisions.clusters_N, args.clip, *model)
                inside = found.low <= truth <= found.high
                hits.setdefault(f"{policy}, {name}", []).append((inside, found.value - truth, found.high - found.low))
    return {key: _figures(values) for key, values in hits.items()}


def _figures(values: Sequence[tuple[bool, float, float]]) -> dict[str, float]:
    inside, errors, widths = (np.array(column, np.float64) for column in zip(*values, strict=True))
    interval = binomtest(int(inside.sum()), len(inside)).proportion_ci()
    return {
        "coverage": float(inside.mean()),
        "at least": float(interval.low),
        "at most": float(interval.high),
        "rmse": float(np.sqrt(np.square(errors).mean())),
        "bias": float(errors.mean()),
        "width": float(widths.mean()),
    }
