"""The query stream of `qr online` (sessions, a replayed log, drift), and what each query gained under several policies.

    drift = make_drift(args, shop)                 # None without --drift
    stream = make_stream(args, shop, drift)        # queries of the train split, or of the log

With --drift a run writes OUT/outcomes.jsonl: for every query the gain of the learning policy's best rewrite, of the
frozen warm start's and of the shop's oracle, on the same query in the same assortment. `qr report OUT` prints regret,
recovery after each event, and forgetting from it (qr_env/evaluation/regret.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from qr_env.common.atomic_io import atomic_write
from qr_env.common.errors import ConfigError, SearchError
from qr_env.common.messages import print_message
from qr_env.common.protocols import Agent, Stream
from qr_env.common.types import Query
from qr_env.environment.brute_force_check import ERRORS
from qr_env.environment.simulator import Observation
from qr_env.environment.vector_env import QueryRewriteVectorEnv, StepResult
from qr_env.environment.wrapper import QueryRewriteWrapper
from qr_env.evaluation.regret import ORACLE, OutcomeLog
from qr_env.shop.shop import Shop
from qr_env.traffic.departments import departments
from qr_env.traffic.drift import Drift
from qr_env.traffic.drift_plan import load_plan
from qr_env.traffic.replay_log import ReplayLog
from qr_env.traffic.stream import QueryStream, with_zipf
from runs.online.args import Args

HITS_FILE = "hits.json"
HELD_OUT = ("dev", "test")  # splits that a student never learns from


def make_drift(args: Args, shop: Shop) -> Drift | None:
    """The changes of --drift in this shop, for the queries that the stream holds; None without them."""
    if args.drift is None:
        return None
    if args.replay is None:
        return Drift(shop, load_plan(args.drift), train_queries(args, shop))
    log = ReplayLog.read(args.replay, shop, args.read_options(), without=HELD_OUT)
    return Drift(shop, load_plan(args.drift), log.queries)


def make_stream(args: Args, shop: Shop, drift: Drift | None) -> Stream:
    """The replayed log without held-out queries, or queries drawn from the train split."""
    traffic = args.traffic
    if args.replay is not None:
        if traffic.sessions or traffic.zipf:
            raise ConfigError("traffic.sessions or traffic.zipf with `replay`: a log has its own traffic, give one")
        log = ReplayLog.read(args.replay, shop, args.read_options(), drift, HELD_OUT)
        log.report.warn(str(args.replay))
        if log.left_out:
            print_message(
                f"{args.replay}: {log.left_out:,} of {log.left_out + len(log.queries):,} lines left out: they ask "
                f"for {' or '.join(HELD_OUT)} queries of the shop, from which nothing is learned"
            )
        return log
    queries = drift.queries if drift is not None else train_queries(args, shop)
    topics = departments(shop)[[query.row for query in queries]] if traffic.sessions else None
    return QueryStream(queries, args.seed, traffic.frequency_exponent, traffic.sessions, topics, drift)


def train_queries(args: Args, shop: Shop) -> list[Query]:
    """The queries that are drawn from, with the frequencies of the settings."""
    queries = shop.split("train")
    return with_zipf(queries, args.traffic.zipf) if args.traffic.zipf else queries


def report_hit_counts(folder: Path, counts: Mapping[str, int]) -> None:
    """Write and print what traffic.check_hits has counted so far. Raises SearchError if any hit was wrong."""
    atomic_write(folder / HITS_FILE, json.dumps(counts, indent=2))
    summary = ", ".join(f"{value:,} {name}" for name, value in counts.items())
    print_message(f"checked against brute force: {summary}")
    if any(counts[name] for name in ERRORS):
        raise SearchError(
            f"result lists that the student learned from were wrong: {summary}; please report this defect"
        )


class OutcomeLogger(QueryRewriteWrapper):
    """Logs the gain that some agents, and the oracle, would have had on each query.

    The agents' rewrites are searched and graded in one additional call per step, in the step's epoch and before the
    step: gains are measured before anything is learned from the query.
    """

    def __init__(
        self,
        env: QueryRewriteVectorEnv | QueryRewriteWrapper,
        drift: Drift,
        agents: Mapping[str, Agent],
        path: Path,
    ) -> None:
        super().__init__(env)
        self.drift, self.agents, self.log = drift, dict(agents), OutcomeLog(path)
        self._department = dict(zip((q.id for q in drift.queries), drift.department_N.tolist(), strict=True))
        self._logged_events = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset the environment; the log starts anew."""
        observation, infos = self.env.reset(seed=seed, options=options)
        self._rewind()
        return observation, infos

    def load_state_dict(self, state: dict[str, Any]) -> Observation:
        """Restore the environment; lines of the log that will be written again are dropped."""
        observation = self.env.load_state_dict(state)
        self._rewind()
        return observation

    def step(self, actions: Sequence[str]) -> StepResult:
        """Log the outcomes of the episode's queries on its first turn, then step the environment."""
        if self.simulator.turn == 0:
            queries = list(self.simulator.queries_P)
            self._write(queries, self._first_arrival, self._gains(queries))
        return self.env.step(actions)

    @property
    def _first_arrival(self) -> int:
        """Position in the stream of the first query of the current episode."""
        return self.stream.taken - self.simulator.blocks

    def _rewind(self) -> None:
        # Later turns of an episode do not write what its first turn has written.
        clock = self._first_arrival if self.simulator.turn == 0 else self.stream.taken
        self.log.rewind(clock)
        self._logged_events = sum(event.at < clock for event in self.drift.events(clock))

    def _gains(self, queries: Sequence[Query]) -> dict[str, np.ndarray]:
        """Gain of each query under each agent's best rewrite and under the oracle's, (P,) each."""
        simulator = self.simulator.fork(len(self.agents) + 1)
        simulator.reset(queries)
        texts = simulator.observe()["query"][:: len(self.agents) + 1]
        oracle = self.drift.shop.oracle
        rewrites = {
            name: [options[0] if options else "" for options in agent.rewrite(texts)]
            for name, agent in self.agents.items()
        }
        rewrites[ORACLE] = [oracle.get(query.id, "") for query in queries]
        step = simulator.step([text for of_query in zip(*rewrites.values(), strict=True) for text in of_query])
        gains_per_query = step.figures.gain.astype(np.float64).reshape(len(queries), -1)
        return dict(zip(rewrites, gains_per_query.T, strict=True))

    def _write(self, queries: Sequence[Query], clock: int, gains: dict[str, np.ndarray]) -> None:
        """Append the events that have begun since the last call, and one line per query."""
        begun = sorted(self.drift.events(clock + len(queries) - 1), key=lambda event: event.at)
        rows: list[dict[str, object]] = []
        for event in begun[self._logged_events :]:
            details = asdict(event)
            rows.append({"at": details.pop("at"), "event": details.pop("kind"), **details})
        self._logged_events = len(begun)
        rows += [
            {
                "at": clock + n,
                "query": query.id,
                "segment": self._department.get(query.id, ""),
                "gain": {name: values[n] for name, values in gains.items()},
            }
            for n, query in enumerate(queries)
        ]
        self.log.write(rows)
