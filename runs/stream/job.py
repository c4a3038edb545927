"""What streams into `qr online`: sessions, a log, drift; and what each query earned, for the drift report.

    qr online generated --drift words --out out/drift            # presets: words, churn, busy, random; or a YAML file
    qr online my_shop/ --replay log.parquet --out out/replay     # what was asked, in its order
    python -m runs.stream out/drift --json out/drift/drift.json  # regret, recovery after each event, forgetting

With --drift the run writes OUT/outcomes.jsonl: for every query the gain of the learning policy's best rewrite, of the
frozen warm start's and of the shop's oracle, on the same query in the same assortment (qr_env/evaluation/regret.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro

from qr_env.common.atomic_io import atomic_write
from qr_env.common.errors import ConfigError, SearchError
from qr_env.common.messages import print_message
from qr_env.common.types import Query
from qr_env.evaluation.regret import LEVEL, ORACLE, WINDOW, OutcomeLog, Outcomes, read_outcomes, report
from runs.common.cli import write_json

if TYPE_CHECKING:
    from qr_env.common.protocols import Agent, Stream
    from qr_env.environment.vector_env import QueryRewriteVectorEnv
    from qr_env.shop.shop import Shop
    from qr_env.traffic.drift import Drift

OUTCOMES, HITS = "outcomes.jsonl", "hits.json"
HELD_OUT = ("dev", "test")  # splits that a student never learns from


@dataclass(frozen=True)
class StreamFlags:
    """What streams in."""

    drift: str | None = None
    """What changes in the stream: a preset (words, churn, busy, random) or a YAML file (qr_env/traffic/drift_plan.py)."""
    zipf: float = 0.0
    """For a log that does not count its queries: traffic by Zipf's law, the n-th query n⁻ˢ as frequent, s about 1; 0
    keeps the frequencies of the shop. --frequency-exponent flattens it."""
    sessions: float = 0.0
    """Share of the queries that follow up another one of the same shopper, in her department."""
    replay: Path | None = None
    """A timestamped log to replay instead of drawing queries: CSV, JSONL or Parquet with time, query, session. Lines
    that ask for the shop's dev or test queries are left out."""
    check_hits: bool = False
    """bm25: compare every list that the student learns from with a brute-force search of what is on sale then, count
    products that are not on sale, wrong hits and holes in OUT/hits.json, and end with an error where there is one."""

    def stream(
        self, shop: Shop, drift: Drift | None, seed: int, frequency_exponent: float, on_bad_row: str = "stop"
    ) -> Stream:
        """The stream of the settings, over the train split; of a log what is not held out, which is said."""
        from qr_env.traffic.departments import departments
        from qr_env.traffic.replay_log import ReplayLog
        from qr_env.traffic.stream import QueryStream

        if self.replay is not None:
            if self.sessions or self.zipf:
                raise ConfigError("--sessions or --zipf, and --replay: a log has its own traffic, give one of them")
            log = ReplayLog.read(self.replay, shop, on_bad_row, drift, HELD_OUT)
            if log.left_out:
                print_message(
                    f"{self.replay}: {log.left_out:,} of {log.left_out + len(log.queries):,} lines left out: they ask "
                    f"for {' or '.join(HELD_OUT)} queries of the shop, from which nothing is learned",
                )
            return log
        queries = drift.queries if drift is not None else self._train(shop)
        topics = departments(shop)[[query.row for query in queries]] if self.sessions else None
        return QueryStream(queries, seed, frequency_exponent, self.sessions, topics, drift)

    def _train(self, shop: Shop) -> list[Query]:
        """The queries that are drawn from, with the frequencies of the settings."""
        from qr_env.traffic.stream import with_zipf

        return with_zipf(shop.split("train"), self.zipf) if self.zipf else shop.split("train")

    def make_drift(self, shop: Shop, on_bad_row: str = "stop") -> Drift | None:
        """The plan of the settings in this shop, for the queries that the stream holds."""
        from qr_env.traffic.drift import Drift
        from qr_env.traffic.drift_plan import load_plan
        from qr_env.traffic.replay_log import ReplayLog

        if self.drift is None:
            return None
        if self.replay is None:
            return Drift(shop, load_plan(self.drift), self._train(shop))
        log = ReplayLog.read(self.replay, shop, on_bad_row, without=HELD_OUT)
        return Drift(shop, load_plan(self.drift), log.queries)


def tell_hits(folder: Path, counts: Mapping[str, int]) -> None:
    """Write and print what --check-hits found so far. Raises SearchError where anything was wrong."""
    from qr_env.environment.brute_force_check import ERRORS

    atomic_write(folder / HITS, json.dumps(counts, indent=2))
    told = ", ".join(f"{value:,} {name}" for name, value in counts.items())
    print_message(f"checked against brute force: {told}")
    if any(counts[name] for name in ERRORS):
        raise SearchError(f"lists that the student learned from were wrong: {told}; this is a defect, please report it")


class OutcomeLogger:
    """A vectorised environment that logs how some agents, and the oracle, would have rewritten each query.

    Everything else is the environment's own. Their rewrites are searched and graded in one more call a step, in the
    epoch of the step, before the step is made: what an agent learns from a query comes after.
    """

    def __init__(self, envs: QueryRewriteVectorEnv, drift: Drift, agents: Mapping[str, Agent], path: Path) -> None:
        self.envs, self.drift, self.agents, self.log = envs, drift, dict(agents), OutcomeLog(path)
        self._department = dict(zip((q.id for q in drift.queries), drift.department_N.tolist(), strict=True))
        self._logged = 0  # events that are in the log

    def __getattr__(self, name: str) -> Any:
        return getattr(self.envs, name)

    def reset(self, **settings: Any) -> Any:
        """The environment's; the log begins anew."""
        reset = self.envs.reset(**settings)
        self._rewind()
        return reset

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """The environment's; the log forgets what will be written again."""
        observation = self.envs.load_state_dict(state)
        self._rewind()
        return observation

    @property
    def _clock(self) -> int:
        """When the first of the queries that are worked on arrived."""
        return self.envs.stream.taken - self.envs.simulator.blocks

    def _rewind(self) -> None:
        # What is written on the first turn of an episode is not written again on a later one.
        clock = self._clock if self.envs.simulator.turn == 0 else self.envs.stream.taken
        self.log.rewind(clock)
        self._logged = sum(event.at < clock for event in self.drift.events(clock))

    def step(self, actions: Sequence[str]) -> Any:
        """The environment's, after the agents have been asked."""
        if self.envs.simulator.turn == 0:
            queries = list(self.envs.simulator.queries_P)
            self._write(queries, self._clock, self._gains(queries))
        return self.envs.step(actions)

    def _gains(self, queries: Sequence[Query]) -> dict[str, np.ndarray]:
        """Gain of each query under each agent's best rewrite and under the oracle's, (P,) each."""
        board = self.envs.simulator.fork(len(self.agents) + 1)
        board.reset(queries)
        texts = board.observe()["query"][:: len(self.agents) + 1]
        oracle = self.drift.shop.oracle
        rewrites = {
            name: [options[0] if options else "" for options in agent.rewrite(texts)]
            for name, agent in self.agents.items()
        }
        rewrites[ORACLE] = [oracle.get(query.id, "") for query in queries]
        step = board.step([text for some in zip(*rewrites.values(), strict=True) for text in some])
        gain_PA = step.figures.gain.astype(np.float64).reshape(len(queries), -1)
        return dict(zip(rewrites, gain_PA.T, strict=True))

    def _write(self, queries: Sequence[Query], clock: int, gains: dict[str, np.ndarray]) -> None:
        begun = sorted(self.drift.events(clock + len(queries) - 1), key=lambda event: event.at)
        rows: list[dict[str, Any]] = []
        for event in begun[self._logged :]:
            about = asdict(event)
            rows.append({"at": about.pop("at"), "event": about.pop("kind"), **about})
        self._logged = len(begun)
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


@dataclass
class Args:
    """Report how the policies of a run followed its shop."""

    out: tyro.conf.Positional[Path]
    """a run folder, or a file of outcomes"""
    window: int = WINDOW
    """queries over which a headroom share is measured"""
    level: float = LEVEL
    """share of the earlier headroom share that counts as recovered"""
    json: str | None = None
    """write the report to this JSON file, "-" for standard output"""


def outcomes_of(source: Path) -> Outcomes:
    """Of a run folder, or a file of them. Raises ConfigError where there is none."""
    path = source / OUTCOMES if source.is_dir() else source
    if not path.is_file():
        raise ConfigError(f"{path} is not there: make the run with --drift")
    return read_outcomes(path)


def main(args: Args) -> None:
    """Read the outcomes, print, write."""
    made = report(outcomes_of(args.out), args.window, args.level)
    if args.json != "-":
        _show(made)
    write_json(args.json, made)


def _show(made: dict[str, Any]) -> None:
    print(f"{made['queries']:,} queries, {made['missing']:,} without a verdict, windows of {made['window']:,}")
    for name, figures in made["policies"].items():
        print(f"{name}: headroom share {figures['share']:.1%}, regret {figures['regret']:,.1f} gains")
        for one in figures["recoveries"]:
            took = "not recovered" if one["queries"] is None else f"recovered after {one['queries']:,} queries"
            shares = f"{one['before']:.1%} before, {one['first']:.1%} first, {one['last']:.1%} last"
            print(f"  {one['event']} at {one['at']:,}: {shares}; {took}")
        worst = sorted(figures["forgetting"].items(), key=lambda pair: -pair[1])[:3]
        print("  forgot most: " + (", ".join(f"{part or 'unknown'} {lost:+.1%}" for part, lost in worst) or "-"))
