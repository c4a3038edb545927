"""Online learning: queries stream in, the student rewrites each one G times, the shop answers, an optimizer learns.

One pass of `Loop.run`:

    sample      G rewrites of each query (agents/policy/student.py)
    step        search and grade them: rewards (qr_env/environment/vector_env.py)
    update      one optimizer step (agents/rl/grpo.py, ppo.py, dpo.py)
    log         metrics, samples, histograms and alarms (agents/rl/step_log.py, alarms.py)
    promote     test the candidate policy, promote it or roll back (agents/serving/promotion.py)
    evaluate    held-out queries choose the best student (agents/rl/held_out.py)
    checkpoint  all that the next update depends on (agents/policy/checkpoint.py)
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from agents.examples.anchor import AnchorPairs
from agents.policy.checkpoint import save_checkpoint, set_rng_state
from agents.policy.rollout import Rollout
from agents.policy.student import Student
from agents.rl.alarms import Alarms, print_alarms
from agents.rl.held_out import Evaluate, HeldOutResult, evaluate_held_out
from agents.rl.interrupt import StopRequest
from agents.rl.learner import PolicyOptimizer
from agents.rl.processes import SINGLE_PROCESS, Processes
from agents.rl.progress import Progress
from agents.rl.step_log import StepLog
from agents.serving.promotion import Promotion
from agents.tracking.base import Trackers
from qr_env.common.errors import JudgeError
from qr_env.environment.simulator import Simulator

Observation = dict[str, tuple[str, ...]]
BoolArray = npt.NDArray[np.bool_]
MIN_GRADED = 8  # with fewer rewrites that need a verdict, missing ones do not show that the judge is down


class RewriteEnv(Protocol):
    """A batched environment of N = P × G rewrites, neighbours in blocks of G on one query: `QueryRewriteVectorEnv`."""

    @property
    def group_size(self) -> int:
        """G."""
        ...

    @property
    def simulator(self) -> Simulator:
        """The shop: the current queries, and the turn."""
        ...

    def reset(self, *, seed: int) -> tuple[Observation, dict[str, Any]]:
        """The observation of the stream's first queries, and infos."""
        ...

    def step(
        self, actions: Sequence[str]
    ) -> tuple[Observation, npt.NDArray[np.floating], BoolArray, BoolArray, dict[str, Any]]:
        """Search and grade N rewrites: next observation, rewards_N (NaN: no verdict), terminated, truncated, infos."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that determines the next steps, stream position included."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> Observation:
        """Continue where `state` was taken; the observation there."""
        ...


@dataclass
class LoopConfig:
    """When the loop stops, evaluates and saves."""

    updates: float
    """Total number of updates, resumed ones included; math.inf runs until interrupted."""
    evaluate_every: int = 20
    """Updates between evaluations."""
    checkpoint_every: int = 20
    """Updates between checkpoints."""
    max_failed_fraction: float = 0.5
    """Share of missing rewards among the rewrites that need a verdict above which the run stops."""


@dataclass
class Loop:
    """Everything that takes part in learning. Call `reset` or `restore` once, then `run`."""

    student: Student
    """The policy; its weights change in place."""
    optimizer: PolicyOptimizer
    """Takes the optimizer step: GRPO, PPO, DPO or another package's."""
    envs: RewriteEnv
    """Where rewrites are searched, graded and rewarded; this process's share of the queries."""
    config: LoopConfig
    """When to stop, evaluate and save."""
    _: KW_ONLY
    evaluate: Evaluate
    """Held-out metrics of the student, called on the main process only."""
    tracker: Trackers
    """Where metrics, samples, histograms and events go; empty on all but the main process."""
    folder: Path
    """The run folder; this class writes to its `checkpoints/`."""
    generator: torch.Generator
    """Random source of the rewrites."""
    alarms: Alarms
    """Checked after each update and each evaluation."""
    anchor_pairs: AnchorPairs | None = None
    """Good rewrites of the streaming queries for the supervised anchor; None learns from rewards alone."""
    promotion: Promotion | None = None
    """Serves a policy of its own, replaced only by a proven better one; None serves nothing."""
    processes: Processes = SINGLE_PROCESS
    """Processes that learn together, each from its share of the queries. Logged metrics are means over all of them;
    samples and histograms are the main process's."""
    progress: Progress = field(default_factory=Progress)
    """Counters of the run; changed in place."""
    observation: Observation = field(init=False)
    """The environment's last observation."""

    def reset(self, seed: int) -> None:
        """Begin a new run on the first queries of the environment's stream."""
        self.observation, _ = self.envs.reset(seed=seed)

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint's state, as `Processes.own_state` returns it."""
        self.progress = Progress(state["update"], **state["progress"])
        self.observation = self.envs.load_state_dict(state["envs"])
        self.generator.set_state(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.alarms.load_state_dict(state["alarms"])
        if self.anchor_pairs:
            self.anchor_pairs.load_state_dict(state["anchor_pairs"])
        if self.promotion and state["promotion"]:
            self.promotion.load_state_dict(state["promotion"], self.student)
        set_rng_state(state["rng"])

    def run(self) -> Progress:
        """Learn until `config.updates`, an interrupt or a judge that is down; all of them leave a checkpoint.

        Raises:
            JudgeError: more than `max_failed_fraction` of the rewards were missing, or an evaluation refused the judge.
        """
        progress, config = self.progress, self.config
        if self.promotion:
            self.promotion.begin(self.student, progress.update, self.tracker)
        if self._is_due(config.evaluate_every) and progress.evaluated < progress.update:
            self._evaluate()  # of the warm start, or the one that failed before a resume
            self._save()
        with StopRequest() as stop, self._progress_bar() as bar:
            while progress.update < config.updates and not self.processes.any(stop.requested):
                metrics = self._learn()
                raised = self.alarms.check(metrics)
                self._log(metrics, raised)
                if self.promotion:
                    self.promotion.decide(progress.update, self.student, self.optimizer, raised, self.tracker)
                    self._after_roll_back(raised)
                self._stop_if_judge_is_down(metrics)
                if self._is_due(config.evaluate_every):
                    try:
                        self._evaluate()
                    except JudgeError:  # no update is lost: the resumed run evaluates first
                        self._save()
                        raise
                if self._is_due(config.checkpoint_every):
                    self._save()
                bar.set_postfix_str(_headline(metrics), refresh=False)
                bar.update()
            progress.stopped = progress.update < config.updates
        if progress.stopped:
            self._save()
        return progress

    def _learn(self) -> dict[str, float]:
        """Sample, step and update once; the metrics of all processes."""
        progress, simulator, group_size = self.progress, self.envs.simulator, self.envs.group_size
        started, turn, queries_P = time.perf_counter(), simulator.turn, simulator.queries_P

        queries_N = self.observation["query"]
        rollout = self._sample(turn)
        rewrites_N = self.student.texts(rollout, queries_N)
        self.observation, rewards_N, _, _, infos = self.envs.step(rewrites_N)

        rewards_PG = torch.as_tensor(np.asarray(rewards_N, np.float32)).reshape(-1, group_size)
        anchor_pairs = self.anchor_pairs.pairs(infos["query"][::group_size]) if self.anchor_pairs and turn == 0 else []
        update_metrics = self.optimizer.update(rollout, rewards_PG, self.student.training_pairs(anchor_pairs))
        progress.update += 1
        progress.episodes += self._rewrites_per_update if turn == 0 else 0

        log = StepLog.of_step(queries_N, rewrites_N, rollout, rewards_N, infos)
        turn_metric = {"turn": turn + 1} if simulator.max_turns > 1 else {}
        # The mean over processes, so that all of them see the same alarms and the same reasons to stop.
        metrics = self.processes.mean(log.metrics | turn_metric | update_metrics)
        if self.promotion and turn == 0:
            metrics |= self.promotion.observe(progress.update, simulator, queries_P)
        progress.seconds += time.perf_counter() - started
        self.tracker.samples([{"update": progress.update, **row} for row in log.samples])
        self.tracker.histograms(progress.update, log.histograms)
        return metrics | {"seconds": progress.seconds, "episodes": progress.episodes}

    def _sample(self, turn: int) -> Rollout:
        """G rewrites of each query; on later turns the prompt holds the last rewrite and what it found."""
        queries_N, group_size, temperature = self.observation["query"], self.envs.group_size, self.optimizer.temperature
        if turn == 0:
            return self.student.sample(queries_N[::group_size], group_size, temperature, self.generator)
        last_rewrites_N, found_N = self.envs.simulator.last_rewrites_N, self.observation["context"]
        return self.student.sample_retry(queries_N, last_rewrites_N, found_N, group_size, temperature, self.generator)

    def _log(self, metrics: dict[str, float], raised: list[str]) -> None:
        if self.processes.is_main:
            print_alarms(raised, self.progress.update)
            record = {"update": self.progress.update, "phase": "online", **metrics}
            self.tracker.log(record | ({"alarms": raised} if raised else {}))

    def _after_roll_back(self, raised: list[str]) -> None:
        """After a roll-back a full window of metrics must pass before the next alarm."""
        if raised:
            self.alarms.clear_window()

    @property
    def _rewrites_per_update(self) -> int:
        """On all processes."""
        return len(self.observation["query"]) * self.processes.count

    def _stop_if_judge_is_down(self, metrics: dict[str, float]) -> None:
        """Raise JudgeError where most of an update's verdicts are missing, and they are enough to tell."""
        failed, graded = metrics["judge/failed_fraction"], (1.0 - metrics["keep_fraction"]) * self._rewrites_per_update
        if failed > self.config.max_failed_fraction and graded >= MIN_GRADED:
            self._save()
            raise JudgeError(
                f"{failed:.0%} of the rewards were missing at update {self.progress.update}: the judge is down or "
                "cannot grade these queries; repair it, then continue with `resume`"
            )

    def _evaluate(self) -> None:
        result = self.processes.broadcast(self._evaluate_held_out)
        self.optimizer.judge_weight, self.progress.evaluated = result.judge_weight, self.progress.update
        if self.promotion:
            self.promotion.decide_held_out(
                self.progress.update, self.student, self.optimizer, result.alarms, self.tracker
            )
            self._after_roll_back(result.alarms)

    def _evaluate_held_out(self) -> HeldOutResult:
        best = self.folder / "checkpoints" / "best"
        return evaluate_held_out(self.student, self.evaluate, self.alarms, self.progress, self.tracker, best)

    def _save(self) -> None:
        """Write a checkpoint: the main process's state, and in "others" what differs on the other processes."""
        own = {
            "envs": self.envs.state_dict(),
            "anchor_pairs": self.anchor_pairs.state_dict() if self.anchor_pairs else None,
            "generator": self.generator.get_state(),
        }
        own, *others = self.processes.gather(own)
        state = own | {
            "others": others,
            "optimizer": self.optimizer.state_dict(),
            "progress": self.progress.state_dict(),
            "alarms": self.alarms.state_dict(),
            "promotion": self.promotion.state_dict() if self.promotion else None,
        }
        folder = self.folder / "checkpoints"
        self.processes.main_only(partial(save_checkpoint, folder, self.progress.update, self.student, state))
        if self.promotion:
            self.promotion.prune()

    def _progress_bar(self) -> tqdm[Any]:
        return tqdm(
            total=self.config.updates if math.isfinite(self.config.updates) else None,
            initial=self.progress.update,
            desc="online",
            unit="update",
            mininterval=1.0,
            disable=not self.processes.is_main,
        )

    def _is_due(self, every: int) -> bool:
        """Whether `every` updates have passed again, or all updates are done."""
        return self.progress.update % every == 0 or self.progress.update == self.config.updates


def _headline(metrics: dict[str, float]) -> str:
    """The metrics that the progress bar shows."""
    return (
        f"reward {metrics['reward']:+.3f} length {metrics['completions/mean_length']:.1f} "
        f"kl {metrics.get('kl', 0.0):.3f} kept {metrics['keep_fraction']:.0%}"
    )
