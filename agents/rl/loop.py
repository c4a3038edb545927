"""Online learning: queries stream in, the student rewrites them in groups, the shop answers, PPO or GRPO learns.

`Loop` knows nothing of shops or judges: an environment pays rewards, a function scores the student on held-out queries,
a tracker writes figures, and a checkpoint holds all that the next update depends on.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import torch

from agents.examples.anchor import AnchorPairs
from agents.policy.checkpoint import save_checkpoint, save_student
from agents.policy.losses import group_advantages
from agents.policy.rollout import Rollout
from agents.policy.student import Student
from agents.rl.alarms import Alarms
from agents.rl.learner import Learner
from agents.rl.processes import SINGLE_PROCESS, Processes
from agents.serving.promotion import Promotion
from agents.tracking.base import Trackers
from qr_env.common.errors import JudgeError
from qr_env.common.messages import print_message
from qr_env.common.types import Grades, Hits
from qr_env.evaluation.scorers import likely_levels

SAMPLES_AN_UPDATE = 4
SAMPLE_HITS = 3
SIDES = ("before", "after")
FEW = 8  # rewrites whose verdicts are missing are no proof that the judge is down


@dataclass
class LoopConfig:
    """updates: when to stop (in total, resumed ones included; math.inf: when told to). evaluate_every,
    checkpoint_every: in updates.
    max_failed: share of missing rewards, of rewrites that were none of "keep", that stops the run: a judge that is
    down teaches nothing."""

    updates: float
    evaluate_every: int = 20
    checkpoint_every: int = 20
    max_failed: float = 0.5


@dataclass
class Progress:
    """Where the loop is: counts over the whole run, the update that was last `evaluated` (-1: none), the best held-out
    score since the shop last changed (`shifts`), and whether it was stopped."""

    update: int = 0
    evaluated: int = -1
    episodes: int = 0
    seconds: float = 0.0
    best_score: float = -math.inf
    shifts: float = 0.0
    stopped: bool = False

    def state_dict(self) -> dict[str, Any]:
        names = ("evaluated", "episodes", "seconds", "best_score", "shifts")
        return {name: getattr(self, name) for name in names}


@dataclass
class Loop:
    """Everything that learns, and `run`.

    envs: a batched environment of P × G rewrites, blocks of G share a query (`QueryRewriteVectorEnv`), already reset or
        restored. observation: what its reset or restore returned.
    evaluate: held-out figures; "eval/score" decides which student is `checkpoints/best`, anew whenever "stream/shifts"
        says that the shop changed; "judge/weight" (1 where it is not there) is the optimiser's trust until then.
    anchor_pairs: pairs of the supervised anchor for the queries that stream by; None learns from rewards alone.
    promotion: serves a policy of its own, which the learner's take over only when proven better; None: none.
    processes: those that learn together, each from its share of the queries. The main one evaluates, logs the mean of
        all, and saves; what it shows (samples, histograms) is of its own share.
    """

    student: Student
    optimizer: Learner
    envs: Any
    config: LoopConfig
    _: KW_ONLY
    evaluate: Callable[[Student], dict[str, float]]
    observation: dict[str, tuple[str, ...]]
    tracker: Trackers
    folder: Path
    generator: torch.Generator
    progress: Progress
    alarms: Alarms
    anchor_pairs: AnchorPairs | None = None
    promotion: Promotion | None = None
    processes: Processes = SINGLE_PROCESS

    def run(self) -> Progress:
        """Learn until `config.updates`, Ctrl-C, or a judge that is down; every end leaves a checkpoint to resume from.

        Raises:
            JudgeError: more than `config.max_failed` of the rewards were missing, or the gate refuses the judge.
        """
        progress = self.progress
        if self.promotion:
            self.promotion.begin(self.student, progress.update, self.tracker)
        if self._due() and progress.evaluated < progress.update:  # the first, or what was refused before a resume
            self._evaluate()
            self._save()
        with _polite_interrupt() as stop, self._bar() as bar:
            while progress.update < self.config.updates and not self.processes.any(stop()):
                _show(bar, self._turn())
            progress.stopped = progress.update < self.config.updates
        if progress.stopped:
            self._save()
        return progress

    def _turn(self) -> dict[str, Any]:
        """One update, logged, judged and, where it is time, evaluated and saved; its metrics."""
        metrics = self._learn()
        rings = self.alarms.check(metrics)
        if self.processes.is_main:
            told = _told(rings, self.progress)
            self.tracker.log({"update": self.progress.update, "phase": "online", **metrics, **told})
        if self.promotion:
            self.promotion.decide(self.progress.update, self.student, self.optimizer, rings, self.tracker)
            self._fresh_start(rings)
        self._stop_if_down(metrics)
        if self._due():
            try:
                self._evaluate()
            except JudgeError:  # the gate, or a server that is gone: nothing learned is lost
                self._save()
                raise
        if self._every(self.config.checkpoint_every):
            self._save()
        return metrics

    def _learn(self) -> dict[str, Any]:
        """Rewrites, rewards, one step of the optimiser; what serves writes once a query."""
        progress, simulator = self.progress, self.envs.simulator
        started, queries_P, begins = time.perf_counter(), simulator.queries_P, simulator.turn == 0
        metrics, looked, self.observation = _update(
            self.student, self.optimizer, self.envs, self.observation, self.generator, self.anchor_pairs
        )
        metrics = self.processes.mean(metrics)  # so that all of them see the same alarms and reasons to stop
        progress.update += 1
        progress.episodes += self._rewrites if begins else 0
        if self.promotion and begins:
            metrics |= self.promotion.observe(progress.update, simulator, queries_P)
        progress.seconds += time.perf_counter() - started
        self.tracker.samples([{"update": progress.update, **row} for row in looked.samples])
        self.tracker.spreads(progress.update, looked.spreads)
        return metrics | {"seconds": progress.seconds, "episodes": progress.episodes}

    @property
    def _rewrites(self) -> int:
        """Of one update, on all processes."""
        return len(self.observation["query"]) * self.processes.count

    def _stop_if_down(self, metrics: dict[str, Any]) -> None:
        """JudgeError where most of an update's verdicts are missing, and they are enough to tell."""
        failed = metrics["judge/failed_fraction"]
        if failed > self.config.max_failed and (1.0 - metrics["keep_fraction"]) * self._rewrites >= FEW:
            self._save()
            raise JudgeError(
                f"{failed:.0%} of the rewards were missing at update {self.progress.update}: the judge is down or "
                "cannot grade these queries; mend it, then go on with --resume"
            )

    def _evaluate(self) -> None:
        self.optimizer.judge_weight, rings = self.processes.broadcast(self._held_out)
        self.progress.evaluated = self.progress.update
        if self.promotion:
            self.promotion.decide_held_out(self.progress.update, self.student, self.optimizer, rings, self.tracker)
            self._fresh_start(rings)

    def _held_out(self) -> tuple[float, list[str]]:
        """How far the judge is trusted now, and the alarms that ring."""
        figures = self.evaluate(self.student)
        rings = self.alarms.check_held_out(figures)
        return _log_evaluation(self.student, figures, rings, self.tracker, self.progress, self.folder), rings

    def _fresh_start(self, rings: list[str]) -> None:
        """After a roll-back a full window of figures must pass before the next alarm."""
        if rings:
            self.alarms.history.clear()

    def _save(self) -> None:
        """The state of all processes: most of it is the same everywhere, "others" has what is not."""
        shared = _states(optimizer=self.optimizer, progress=self.progress, alarms=self.alarms, promotion=self.promotion)
        own = _states(envs=self.envs, anchor_pairs=self.anchor_pairs) | {"generator": self.generator.get_state()}
        own, *others = self.processes.gather(own)
        state, folder = shared | own | {"others": others}, self.folder / "checkpoints"
        self.processes.main_only(lambda: save_checkpoint(folder, self.progress.update, self.student, state))
        if self.promotion:
            self.promotion.prune()

    def _bar(self) -> Any:
        from tqdm import tqdm

        total, done = self.config.updates if math.isfinite(self.config.updates) else None, self.progress.update
        silent = not self.processes.is_main
        return tqdm(total=total, initial=done, desc="online", unit="update", mininterval=1.0, disable=silent)

    def _due(self) -> bool:
        return self._every(self.config.evaluate_every)

    def _every(self, updates: int) -> bool:
        """Whether so many updates have passed again, or all."""
        return self.progress.update % updates == 0 or self.progress.update == self.config.updates


def _states(**parts: Any) -> dict[str, Any]:
    return {name: part.state_dict() if part is not None else None for name, part in parts.items()}


class Seen(NamedTuple):
    """What people look at: a few rewrites with what they found, and figures of all N by name, (N,) each."""

    samples: list[dict[str, Any]]
    spreads: dict[str, np.ndarray]


def _update(
    student: Student,
    optimizer: Learner,
    envs: Any,
    observation: dict[str, tuple[str, ...]],
    generator: torch.Generator,
    anchor_pairs: AnchorPairs | None,
) -> tuple[dict[str, Any], Seen, dict[str, tuple[str, ...]]]:
    """One turn's rollout and one learning step: its metrics, what to look at, the next observation."""
    queries, g, turn, warmth = observation["query"], envs.group_size, envs.simulator.turn, optimizer.config.temperature
    if turn == 0:
        rollout = student.sample(queries[::g], g, warmth, generator)
    else:
        seen = queries, envs.simulator.last_rewrites_N, observation["context"]
        rollout = student.sample_again(*seen, g, warmth, generator)
    texts = student.texts(rollout)
    following, rewards_N, _, _, infos = envs.step(texts)
    rewards_P_G = torch.as_tensor(np.asarray(rewards_N, np.float32)).reshape(-1, g)
    pairs = anchor_pairs.pairs(infos["query"][::g]) if anchor_pairs and turn == 0 else []
    which = {"turn": turn + 1} if envs.simulator.max_turns > 1 else {}
    metrics = which | optimizer.update(rollout, rewards_P_G, pairs)
    looked = Seen(_samples(queries, texts, rewards_N, infos), _spreads(rollout, rewards_P_G))
    return _metrics(rollout, rewards_P_G, infos) | metrics, looked, following


def _metrics(rollout: Rollout, rewards_P_G: torch.Tensor, infos: dict[str, Any]) -> dict[str, Any]:
    """The rollout's figures, under TRL's names where TRL has one."""
    rewards = rewards_P_G.numpy()
    lengths_N = rollout.mask_N_T.sum(dim=1)
    # "Keep the original" earns 0 without a verdict: a student that often keeps must not hide a judge that is down.
    kept_N = np.asarray(infos["feedback"].kept, np.bool_)
    figures: dict[str, Any] = {
        "reward": _nanmean(rewards),
        "reward_std": _nanmean([group[~np.isnan(group)].std() for group in rewards if not np.isnan(group).all()]),
        "completions/mean_length": lengths_N.mean().item(),
        "judge/failed_fraction": _nanmean(np.isnan(rewards).ravel()[~kept_N]) if not kept_N.all() else 0.0,
        "keep_fraction": float(kept_N.mean()),
    }
    return figures | {
        f"reward/{name}": _nanmean(values) for name, values in infos["reward_terms"].items() if name != "total"
    }


def _nanmean(values: Any) -> float:
    values = np.asarray(values)
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _samples(
    queries: Sequence[str], texts: Sequence[str], rewards_N: Any, infos: dict[str, Any]
) -> list[dict[str, Any]]:
    """A few rewrites, spread over the batch, for people to read, with the first products before and after."""
    picks = np.linspace(0, len(texts) - 1, SAMPLES_AN_UPDATE).astype(int)
    hits = {f"hits_{side}": _verdicts(infos[f"hits_{side}"], infos[f"grades_{side}"], picks) for side in SIDES}
    return [
        {"query": queries[i], "rewrite": texts[i], "reward": float(rewards_N[i])}
        | {name: pairs[at] for name, pairs in hits.items()}
        for at, i in enumerate(picks.tolist())
    ]


def _verdicts(hits: Hits, grades: Grades, picks: np.ndarray) -> list[list[tuple[int, int]]]:
    """(product row, likeliest level) of the first products of some lists, best first."""
    levels_NK = likely_levels(Grades(grades.probs_NK4[picks]), SAMPLE_HITS)
    lists = zip(hits.rows_NK[picks, :SAMPLE_HITS].tolist(), levels_NK.tolist(), strict=True)
    return [[pair for pair in zip(rows, levels, strict=True) if pair[0] >= 0] for rows, levels in lists]


def _spreads(rollout: Rollout, rewards_P_G: torch.Tensor) -> dict[str, np.ndarray]:
    """Rewards, their distance from the group's mean, which is what GRPO learns from, and tokens a rewrite."""
    return {
        "reward": rewards_P_G.flatten().numpy(),
        "advantage": group_advantages(rewards_P_G, normalize_std=False).flatten().numpy(),
        "completions/length": rollout.mask_N_T.sum(dim=1).float().cpu().numpy(),
    }


def _told(rings: Sequence[str], progress: Progress) -> dict[str, list[str]]:
    """The alarms that ring, for the log; also said aloud."""
    for message in rings:
        print_message(f"ALARM at update {progress.update}: {message}")
    return {"alarms": list(rings)} if rings else {}


def _log_evaluation(
    student: Student,
    figures: dict[str, float],
    rings: Sequence[str],
    tracker: Trackers,
    progress: Progress,
    folder: Path,
) -> float:
    """Log held-out figures, keep the student if it is the best so far; how far the judge is trusted now."""
    told = _told(rings, progress)
    tracker.log({"update": progress.update, "phase": "eval", "episodes": progress.episodes, **figures, **told})
    shifts = figures.get("stream/shifts", 0.0)
    if figures["eval/score"] > progress.best_score or shifts != progress.shifts:
        progress.shifts, progress.best_score = shifts, figures["eval/score"]
        save_student(folder / "checkpoints" / "best", student)
    return figures.get("judge/weight", 1.0)


def _show(bar: Any, metrics: dict[str, Any]) -> None:
    bar.set_postfix_str(
        f"reward {metrics['reward']:+.3f} length {metrics['completions/mean_length']:.1f} "
        f"kl {metrics.get('kl', 0.0):.3f} kept {metrics['keep_fraction']:.0%}",
        refresh=False,
    )
    bar.update(1)


@contextmanager
def _polite_interrupt() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C (or SIGTERM) lets the update end and a checkpoint be written; the second one kills."""
    asked = False

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
