"""Guarded promotion: what serves is not what learns, and takes its place only when it is proven better.

    promotion = Promotion(PromotionConfig(), folder)      # `Loop(..., promotion=promotion)` does the rest

A candidate is a frozen copy of the learner, taken every `every` updates while no other is on trial:

    shadow       its greedy rewrites and the serving policy's are scored on the same streaming queries, in one simulator
                 call; nobody is served by it
    canary       half of the evidence is there: it serves a share of the traffic, the pairs go on
    promoted     proven better: `checkpoints/serving` becomes the candidate in one atomic step
    rolled back  proven not to be better by `min_effect`, or not proven in `queries` pairs, or an alarm rang

Proof is the paired test of `agents/serving/paired_test.py` on what the shopper gets: the gain (in [−1, 1], no prices), with a
shopper the mean of gain and conversion. A candidate that is not better is promoted with probability ≤ alpha, however
often one looks; with `spend`, candidate k has alpha / (k (k + 1)), and all candidates of a run together stay ≤ alpha.
Pairs without verdicts are left out and counted; too many of them and nothing is promoted.

The learner does not stand still while its copy is on trial, so the first trial is short, `queries` / 8, and each one
that ends undecided doubles the next: great steps are seen at once, small ones when there are no others.

An alarm (`agents/rl/alarms.py`) drops the candidate and puts the learner back on the serving policy's weights. One that
says that the judge is being fooled puts what serves back, too, to what served when the judge was last found sound.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agents.policy.checkpoint import save_student
from agents.policy.student import Student
from agents.serving.paired_test import PairedTest
from agents.tracking.base import Trackers
from qr_env.common.atomic_io import recover_all
from qr_env.common.errors import ConfigError
from qr_env.common.types import FloatArray, Query
from qr_env.environment.simulator import Simulator
from qr_env.reward.feedback import Feedback

Event = Literal["shadow", "canary", "promoted", "rolled back"]
MAX_LOG = 700.0  # beyond it exp overflows
BITS = 0.5  # share of the evidence, in logarithms, that lets a candidate see traffic


@dataclass(frozen=True)
class PromotionConfig:
    """canary: share of the traffic. alpha: bound on a false promotion, of a candidate, with `spend` of a run.
    queries: pairs after which a candidate is given up at last. every: updates between candidates. min_pairs: in
    shadow, and again as a canary. min_effect: gain below which a candidate is not worth waiting for. max_missing:
    share of pairs without verdicts above which nothing is promoted."""

    canary: float = 0.1
    alpha: float = 0.05
    queries: int = 4096
    spend: bool = False
    every: int = 25
    min_pairs: int = 128
    min_effect: float = 0.005
    max_missing: float = 0.2

    def __post_init__(self) -> None:
        for name in ("canary", "alpha"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"promotion {name}={getattr(self, name)}: must be between 0 and 1")
        if self.queries < 2 * self.min_pairs:
            raise ConfigError(f"promotion queries={self.queries}: shadow and canary take {self.min_pairs} pairs each")


@dataclass
class Trial:
    """One candidate's way, as a state machine without models; `number` counts the run's candidates from 1."""

    candidate: str
    number: int
    config: PromotionConfig
    budget: int
    stage: Event = "shadow"
    canary_from: int = 0
    test: PairedTest = field(default_factory=PairedTest)

    @property
    def alpha(self) -> float:
        """Bound on promoting this candidate falsely."""
        return self.config.alpha / (self.number * (self.number + 1) if self.config.spend else 1)

    @property
    def seen(self) -> int:
        """Pairs, those without verdicts included."""
        return len(self.test) + self.test.missing

    @property
    def undecided(self) -> bool:
        """Whether its pairs are used up."""
        return self.seen >= self.budget

    @property
    def traffic(self) -> float:
        """Share of the queries that the candidate serves."""
        return {"shadow": 0.0, "canary": self.config.canary, "promoted": 1.0}.get(self.stage, 0.0)

    def advance(self) -> str | None:
        """Move to the next stage where the evidence says so; the reason, or None where nothing changed."""
        stage, reason = self._next()
        if stage == self.stage:
            return None
        self.stage, self.canary_from = stage, self.seen
        return reason

    def _next(self) -> tuple[Event, str]:
        config, test, bar = self.config, self.test, -math.log(self.alpha)
        if test.log_e_below(config.min_effect) >= -math.log(config.alpha):
            return "rolled back", "worse" if test.mean < 0 else f"not better by {config.min_effect:g}"
        enough = self.seen - self.canary_from >= config.min_pairs
        if enough and test.missing <= config.max_missing * self.seen:
            if self.stage == "canary" and test.log_e() >= bar:
                return "promoted", "better"
            if self.stage == "shadow" and test.log_e() >= BITS * bar:
                return "canary", "half of the evidence"
        if self.undecided:
            return "rolled back", f"not shown to be better in {self.seen:,} queries"
        return self.stage, ""

    def evidence(self) -> dict[str, Any]:
        """What a decision rests on, for its record."""
        test, differences_N = self.test, self.test.differences_N
        low, high = test.interval(self.alpha)
        return {
            "candidate": self.candidate,
            "number": self.number,
            "pairs": len(test),
            "missing": test.missing,
            "mean_difference": test.mean if len(test) else None,
            "low": low,
            "high": high,
            "e_value": math.exp(min(test.log_e(), MAX_LOG)),
            "e_value_worse": math.exp(min(test.log_e_below(), MAX_LOG)),
            "share_better": float((differences_N > 0).mean()) if len(test) else None,
            "share_worse": float((differences_N < 0).mean()) if len(test) else None,
            "alpha": self.alpha,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything but the settings."""
        names = ("candidate", "number", "budget", "stage", "canary_from")
        return {name: getattr(self, name) for name in names} | {"test": self.test.state_dict()}


def received(figures: Feedback) -> FloatArray:
    """What the shopper gets, in [−1, 1]: the gain over her own query; with a shopper, its mean with conversion."""
    if figures.purchase is None:
        return figures.gain
    return ((figures.gain + figures.purchase) / 2).astype(np.float32)


class Promotion:
    """Serving policy, candidate and their trial. `folder` is a run's `checkpoints`: policies are kept in `policies/`,
    named by update, and `serving` is a link to one of them, so that a reader never finds half of one."""

    def __init__(self, config: PromotionConfig, folder: Path, seed: int = 0) -> None:
        self.config, self.folder, self.seed = config, folder, seed
        self.serving: Student | None = None
        self.candidate: Student | None = None
        self.trial: Trial | None = None
        self.serving_name = ""
        self.sound_name = ""  # what served when the judge was last found sound
        self.candidates = 0
        self.undecided = 0  # trials in a row
        self._saved: set[str] = set()

    def begin(self, student: Student, update: int, tracker: Trackers) -> None:
        """The learner as it is now is what serves, unless a state was loaded."""
        if self.serving is not None:
            return
        name = self._keep(student, update)
        self._serve(name, self._open(name, student))
        self.sound_name = name
        self._record(tracker, update, "serving", "the first policy", {})

    def observe(self, update: int, simulator: Simulator, queries_P: Sequence[Query]) -> dict[str, float]:
        """Serve the queries of an update, score the candidate on the same ones; the figures of both."""
        policies = [policy for policy in (self.serving, self.candidate) if policy is not None]
        board = simulator.fork(len(policies))
        board.reset(queries_P)
        texts = board.observe()["query"][:: len(policies)]
        rewrites_M_P = [[best[0] for best in policy.rewrite(texts)] for policy in policies]
        step = board.step([text for both in zip(*rewrites_M_P, strict=True) for text in both])
        values_PM = received(step.figures).reshape(len(queries_P), len(policies))
        if self.trial is None:
            return {"serve/gain": _mean(values_PM[:, 0]), "serve/canary": 0.0}
        # Drawn from seed and update alone: nothing to save, and a resumed run serves the same queries alike.
        chosen_P = np.random.default_rng([self.seed, update]).random(len(queries_P)) < self.trial.traffic
        test = self.trial.test
        test.add(values_PM[:, 1], values_PM[:, 0])
        return {
            "serve/gain": _mean(np.where(chosen_P, values_PM[:, 1], values_PM[:, 0])),
            "serve/canary": self.trial.traffic,
            "serve/difference": test.mean,
            "serve/pairs": float(len(test)),
            "serve/log_e": test.log_e(),
        }

    def decide(self, update: int, student: Student, optimizer: Any, rings: Sequence[str], tracker: Trackers) -> None:
        """After an update: back to what serves when an alarm rang; else the trial's next stage, or a new trial."""
        if rings:
            self._roll_back(update, student, optimizer, rings, tracker)
        elif self.trial is not None and (reason := self.trial.advance()) is not None:
            self._settle(update, reason, tracker)
        if self.trial is None and update % self.config.every == 0 and not rings:
            self.candidates += 1
            self.trial = Trial(self._keep(student, update), self.candidates, self.config, self._budget())
            self.candidate = self._open(self.trial.candidate, student)
            self._record(tracker, update, "shadow", "a new candidate", {"candidate": self.trial.candidate})

    def _budget(self) -> int:
        config = self.config
        return max(min(config.queries // 8 * 2**self.undecided, config.queries), 2 * config.min_pairs)

    def decide_held_out(
        self, update: int, student: Student, optimizer: Any, rings: Sequence[str], tracker: Trackers
    ) -> None:
        """After an evaluation: a judge that is being fooled takes back what it promoted; a sound one confirms it."""
        if not rings:
            self.sound_name = self.serving_name
            return
        if self.serving_name != self.sound_name:
            self._serve(self.sound_name, self._open(self.sound_name, student))
        self._roll_back(update, student, optimizer, rings, tracker)

    def _settle(self, update: int, reason: str, tracker: Trackers) -> None:
        """Act on the stage that the trial has reached."""
        assert self.trial is not None
        trial = self.trial
        if trial.stage == "promoted":
            assert self.candidate is not None
            self._serve(trial.candidate, self.candidate)
        if trial.stage != "canary":
            self.undecided = self.undecided + 1 if trial.stage == "rolled back" and trial.undecided else 0
            self.trial = self.candidate = None
        self._record(tracker, update, trial.stage, reason, trial.evidence())

    def _roll_back(
        self, update: int, student: Student, optimizer: Any, rings: Sequence[str], tracker: Trackers
    ) -> None:
        """Drop the candidate and set the learner to what serves, without the momentum that led away from it."""
        assert self.serving is not None
        evidence = self.trial.evidence() if self.trial is not None else {}
        self.trial = self.candidate = None
        student.model.load_state_dict(self.serving.model.state_dict())
        optimizer.reset_moments()
        self._record(tracker, update, "rolled back", "alarm: " + "; ".join(rings), evidence | {"learner": True})

    def _record(self, tracker: Trackers, update: int, event: str, reason: str, evidence: dict[str, Any]) -> None:
        facts = {"update": update, "phase": "promotion", "event": event, "reason": reason, "serving": self.serving_name}
        tracker.log(facts | evidence)

    def _keep(self, student: Student, update: int) -> str:
        """Save the policy that a student is now; its name."""
        name = f"update-{update:06d}"
        save_student(self.folder / "policies" / name, student)
        return name

    def _open(self, name: str, like: Student) -> Student:
        """A kept policy, frozen, on the device of another. Always read back: a resumed run serves the same bits."""
        policy = Student.load(self.folder / "policies" / name)
        policy.model.requires_grad_(False).to(like.model.device)
        return policy

    def _serve(self, name: str, policy: Student) -> None:
        """Let the link `serving` point at a policy, in one atomic step."""
        self.serving, self.serving_name = policy, name
        link, aside = self.folder / "serving", self.folder / ".serving.part"
        aside.unlink(missing_ok=True)
        aside.symlink_to(Path("policies") / name, target_is_directory=True)
        if link.is_dir() and not link.is_symlink():  # a copy of the run's folder, made by following links
            shutil.rmtree(link)
        aside.replace(link)

    def _names(self) -> set[str]:
        trial = {self.trial.candidate} if self.trial is not None else set()
        return {self.serving_name, self.sound_name} | trial

    def prune(self) -> None:
        """Call when a checkpoint was written: drop the policies that neither it nor the one before it needs."""
        needed, self._saved = self._names() | self._saved, self._names()
        for path in (self.folder / "policies").iterdir():
            if path.name not in needed:
                shutil.rmtree(path)

    def state_dict(self) -> dict[str, Any]:
        """Names of the policies, which lie in `policies/`, and the trial with its pairs."""
        names = ("serving_name", "sound_name", "candidates", "undecided")
        trial = self.trial.state_dict() if self.trial is not None else None
        return {name: getattr(self, name) for name in names} | {"trial": trial}

    def load_state_dict(self, state: dict[str, Any], student: Student) -> None:
        """Go on where `state` was taken; `student` says on which device."""
        self.sound_name, self.candidates, self.undecided = (
            state[name] for name in ("sound_name", "candidates", "undecided")
        )
        recover_all(self.folder / "policies")  # `serving` is a link to one of them
        self._serve(state["serving_name"], self._open(state["serving_name"], student))
        if state["trial"] is not None:
            saved = dict(state["trial"])
            self.trial = Trial(**saved | {"config": self.config, "test": PairedTest(**saved["test"])})
            self.candidate = self._open(self.trial.candidate, student)
        self._saved = self._names()


def _mean(values_P: FloatArray) -> float:
    known_P = values_P[~np.isnan(values_P)]
    return float(known_P.mean()) if len(known_P) else math.nan
