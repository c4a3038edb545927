"""Guarded promotion: the policy that serves is replaced by the policy that learns only when that is proven better.

    promotion = Promotion(PromotionConfig(), folder)      # `Loop(..., promotion=promotion)` does the rest

A candidate is a frozen copy of the learner, taken every `every` updates while no other candidate is on trial:

    shadow       its greedy rewrites and the serving policy's are scored on the same streaming queries, in one simulator
                 call; it serves no query
    canary       half of the evidence is there: it serves a share of the traffic, and pairs are still collected
    promoted     proven better: `checkpoints/serving` becomes the candidate in one atomic step
    rolled back  proven not to be better by `min_effect`, or not proven in `queries` pairs, or an alarm was raised

The proof is the sequential test of `agents/serving/paired_test.py` on the gain (in [−1, 1], without prices), or with a
shopper model on the mean of gain and conversion. A candidate that is not better is promoted with probability ≤ alpha,
however often the test is read; with `spend`, candidate k has alpha / (k (k + 1)), which bounds the probability of any
false promotion in the run by alpha. Pairs without verdicts are left out and counted; too many of them prevent a
promotion.

The learner changes while its copy is on trial, so the first trial is short, `queries` / 8 pairs, and each undecided one
doubles the next: large improvements are found early, small ones when there are no large ones.

An alarm (`agents/rl/alarms.py`) drops the candidate and resets the learner to the serving policy's weights. An alarm of
an evaluation (the judge is being fooled) also resets the serving policy to the one that served at the last evaluation
without alarms.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch

from agents.policy.checkpoint import save_student
from agents.policy.student import Student
from agents.serving.paired_test import PairedTest
from agents.tracking.base import Trackers
from qr_env.common.atomic_io import recover_all
from qr_env.common.errors import ConfigError
from qr_env.common.types import FloatArray, Query
from qr_env.environment.simulator import Simulator
from qr_env.reward.feedback import Feedback

Stage = Literal["shadow", "canary", "promoted", "rolled back"]
MAX_LOG_E = 700.0  # exp overflows beyond it
CANARY_EVIDENCE = 0.5  # share of a promotion's log e-value at which a canary begins


class ResettableOptimizer(Protocol):
    """What a roll-back needs of the learner's optimizer."""

    def reset_moments(self) -> None:
        """Forget the running averages of gradients, after the weights were reset."""
        ...


@dataclass(frozen=True)
class PromotionConfig:
    """When candidates are taken, promoted and rolled back."""

    canary: float = 0.1
    """Share of the traffic that a canary serves, in (0, 1)."""
    alpha: float = 0.05
    """Bound on the probability that a candidate is promoted falsely; with `spend`, that any of a run is."""
    queries: int = 4096
    """Pairs after which a candidate is rolled back undecided, at most."""
    spend: bool = False
    """Whether `alpha` bounds all candidates of a run: candidate k is tested at alpha / (k (k + 1))."""
    every: int = 25
    """Updates between candidates."""
    min_pairs: int = 128
    """Pairs as a shadow, and again as a canary, before a candidate advances."""
    min_effect: float = 0.005
    """Mean difference below which a candidate is not worth further pairs."""
    max_missing: float = 0.2
    """Share of pairs without verdicts above which no candidate advances."""

    def __post_init__(self) -> None:
        for name in ("canary", "alpha"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"promotion {name}={getattr(self, name)}: must be between 0 and 1")
        if self.queries < 2 * self.min_pairs:
            raise ConfigError(f"promotion queries={self.queries}: must be at least 2 × min_pairs={self.min_pairs}")


@dataclass
class Trial:
    """The trial of one candidate: a state machine over stages, without the models."""

    candidate: str
    """Name of the candidate in `policies/`."""
    number: int
    """Number of the candidate in its run, from 1."""
    config: PromotionConfig
    """Settings."""
    budget: int
    """Pairs after which the trial ends undecided."""
    stage: Stage = "shadow"
    """Current stage; "promoted" and "rolled back" are final."""
    stage_start: int = 0
    """Pairs at which the current stage began."""
    test: PairedTest = field(default_factory=PairedTest)
    """Pairs of candidate and serving policy."""

    @property
    def alpha(self) -> float:
        """Bound on the probability that this candidate is promoted falsely."""
        return self.config.alpha / (self.number * (self.number + 1) if self.config.spend else 1)

    @property
    def pairs_seen(self) -> int:
        """Number of pairs, those without verdicts included."""
        return len(self.test) + self.test.missing

    @property
    def is_exhausted(self) -> bool:
        """Whether its budget of pairs is used up."""
        return self.pairs_seen >= self.budget

    @property
    def traffic(self) -> float:
        """Share of the queries that the candidate serves."""
        return {"shadow": 0.0, "canary": self.config.canary, "promoted": 1.0}.get(self.stage, 0.0)

    def advance(self) -> str | None:
        """Move to the next stage where the evidence suffices; returns the reason, or None if the stage is unchanged."""
        stage, reason = self._next_stage()
        if stage == self.stage:
            return None
        self.stage, self.stage_start = stage, self.pairs_seen
        return reason

    def _next_stage(self) -> tuple[Stage, str]:
        config, test, threshold = self.config, self.test, -math.log(self.alpha)
        if test.log_e_below(config.min_effect) >= -math.log(config.alpha):
            return "rolled back", "worse" if test.mean < 0 else f"not better by {config.min_effect:g}"
        enough = self.pairs_seen - self.stage_start >= config.min_pairs
        if enough and test.missing <= config.max_missing * self.pairs_seen:
            if self.stage == "canary" and test.log_e() >= threshold:
                return "promoted", "better"
            if self.stage == "shadow" and test.log_e() >= CANARY_EVIDENCE * threshold:
                return "canary", "half of the evidence"
        if self.is_exhausted:
            return "rolled back", f"not shown to be better in {self.pairs_seen:,} queries"
        return self.stage, ""

    def evidence(self) -> dict[str, Any]:
        """The numbers behind a decision, as JSON values, for its record."""
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
            "e_value": math.exp(min(test.log_e(), MAX_LOG_E)),
            "e_value_worse": math.exp(min(test.log_e_below(), MAX_LOG_E)),
            "share_better": float((differences_N > 0).mean()) if len(test) else None,
            "share_worse": float((differences_N < 0).mean()) if len(test) else None,
            "alpha": self.alpha,
        }

    def state_dict(self) -> dict[str, Any]:
        """All fields except the settings."""
        names = ("candidate", "number", "budget", "stage", "stage_start")
        return {name: getattr(self, name) for name in names} | {"test": self.test.state_dict()}


def shopper_value(feedback: Feedback) -> FloatArray:
    """Value to the shopper, (N,) in [−1, 1]: the gain; with a shopper model, the mean of gain and conversion."""
    if feedback.purchase is None:
        return feedback.gain
    return ((feedback.gain + feedback.purchase) / 2).astype(np.float32)


class Promotion:
    """Serving policy, candidate and their trial.

    `folder` is a run's `checkpoints`: policies are saved in `policies/`, named by update, and `serving` is a link to
    one of them, so that a reader always finds a complete one.
    """

    def __init__(self, config: PromotionConfig, folder: Path, seed: int = 0) -> None:
        self.config, self.folder, self.seed = config, folder, seed
        self.serving: Student | None = None
        self.candidate: Student | None = None
        self.trial: Trial | None = None
        self.serving_name = ""
        self.trusted_name = ""  # the policy that served at the last evaluation without alarms
        self.candidates = 0  # of the run so far
        self.undecided_in_a_row = 0  # trials
        self._checkpointed: set[str] = set()  # policies that the last checkpoint names

    def begin(self, student: Student, update: int, tracker: Trackers) -> None:
        """Serve the learner as it is now, unless a state was loaded."""
        if self.serving is not None:
            return
        name = self._save_policy(student, update)
        self._serve(name, self._load_policy(name, student))
        self.trusted_name = name
        self._record(tracker, update, "serving", "the first policy", {})

    def observe(self, update: int, simulator: Simulator, queries_P: Sequence[Query]) -> dict[str, float]:
        """Score the serving policy and the candidate on the queries of an update; returns metrics of both."""
        policies = [policy for policy in (self.serving, self.candidate) if policy is not None]
        fork = simulator.fork(len(policies))
        fork.reset(queries_P)
        texts = fork.observe()["query"][:: len(policies)]
        rewrites_GP = [[best[0] for best in policy.rewrite(texts)] for policy in policies]
        step = fork.step([text for both in zip(*rewrites_GP, strict=True) for text in both])
        values_PG = shopper_value(step.figures).reshape(len(queries_P), len(policies))
        if self.trial is None:
            return {"serve/gain": _mean(values_PG[:, 0]), "serve/canary": 0.0}
        # A function of seed and update: there is no state to save, and a resumed run makes the same choice.
        canary_P = np.random.default_rng([self.seed, update]).random(len(queries_P)) < self.trial.traffic
        test = self.trial.test
        test.add(values_PG[:, 1], values_PG[:, 0])
        return {
            "serve/gain": _mean(np.where(canary_P, values_PG[:, 1], values_PG[:, 0])),
            "serve/canary": self.trial.traffic,
            "serve/difference": test.mean,
            "serve/pairs": float(len(test)),
            "serve/log_e": test.log_e(),
        }

    def decide(
        self, update: int, student: Student, optimizer: ResettableOptimizer, alarms: Sequence[str], tracker: Trackers
    ) -> None:
        """After an update: roll back on an alarm; else advance the trial, or begin a new one."""
        if alarms:
            self._roll_back(update, student, optimizer, alarms, tracker)
        elif self.trial is not None and (reason := self.trial.advance()) is not None:
            self._apply_stage(update, reason, tracker)
        if self.trial is None and update % self.config.every == 0 and not alarms:
            self.candidates += 1
            self.trial = Trial(self._save_policy(student, update), self.candidates, self.config, self._budget())
            self.candidate = self._load_policy(self.trial.candidate, student)
            self._record(tracker, update, "shadow", "a new candidate", {"candidate": self.trial.candidate})

    def _budget(self) -> int:
        config = self.config
        return max(min(config.queries // 8 * 2**self.undecided_in_a_row, config.queries), 2 * config.min_pairs)

    def decide_held_out(
        self, update: int, student: Student, optimizer: ResettableOptimizer, alarms: Sequence[str], tracker: Trackers
    ) -> None:
        """After an evaluation: an alarm reverts the promotions since the last evaluation without one."""
        if not alarms:
            self.trusted_name = self.serving_name
            return
        if self.serving_name != self.trusted_name:
            self._serve(self.trusted_name, self._load_policy(self.trusted_name, student))
        self._roll_back(update, student, optimizer, alarms, tracker)

    def _apply_stage(self, update: int, reason: str, tracker: Trackers) -> None:
        """Apply the stage that the trial has reached, and record it."""
        assert self.trial is not None
        trial = self.trial
        if trial.stage == "promoted":
            assert self.candidate is not None
            self._serve(trial.candidate, self.candidate)
        if trial.stage != "canary":
            undecided = trial.stage == "rolled back" and trial.is_exhausted
            self.undecided_in_a_row = self.undecided_in_a_row + 1 if undecided else 0
            self.trial = self.candidate = None
        self._record(tracker, update, trial.stage, reason, trial.evidence())

    def _roll_back(
        self, update: int, student: Student, optimizer: ResettableOptimizer, alarms: Sequence[str], tracker: Trackers
    ) -> None:
        """Drop the candidate, and reset the learner to the serving policy and its optimizer's moments to zero."""
        assert self.serving is not None
        evidence = self.trial.evidence() if self.trial is not None else {}
        self.trial = self.candidate = None
        student.model.load_state_dict(self.serving.model.state_dict())
        optimizer.reset_moments()
        self._record(tracker, update, "rolled back", "alarm: " + "; ".join(alarms), evidence | {"learner": True})

    def _record(self, tracker: Trackers, update: int, event: str, reason: str, evidence: dict[str, Any]) -> None:
        facts = {"update": update, "phase": "promotion", "event": event, "reason": reason, "serving": self.serving_name}
        tracker.log(facts | evidence)

    def _save_policy(self, student: Student, update: int) -> str:
        """Save the student's weights as a policy; returns its name."""
        name = f"update-{update:06d}"
        save_student(self.folder / "policies" / name, student)
        return name

    def _load_policy(self, name: str, like: Student) -> Student:
        """A saved policy, frozen, on the device of `like`.

        Loaded from disk even if it was just saved, so that a resumed run serves the same weights to the bit.
        """
        policy = Student.load(self.folder / "policies" / name, suggester=like.suggester)
        weights: torch.nn.Module = policy.model.requires_grad_(False)
        weights.to(like.model.device)
        return policy

    def _serve(self, name: str, policy: Student) -> None:
        """Point the link `serving` at a policy, in one atomic step."""
        self.serving, self.serving_name = policy, name
        link, temporary = self.folder / "serving", self.folder / ".serving.part"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(Path("policies") / name, target_is_directory=True)
        if link.is_dir() and not link.is_symlink():  # the run's folder was copied with links followed
            shutil.rmtree(link)
        temporary.replace(link)

    def _policies_in_use(self) -> set[str]:
        trial = {self.trial.candidate} if self.trial is not None else set()
        return {self.serving_name, self.trusted_name} | trial

    def prune(self) -> None:
        """Delete the policies that neither the checkpoint just written nor the previous one names."""
        needed, self._checkpointed = self._policies_in_use() | self._checkpointed, self._policies_in_use()
        for path in (self.folder / "policies").iterdir():
            if path.name not in needed:
                shutil.rmtree(path)

    def state_dict(self) -> dict[str, Any]:
        """Names of the policies, which are saved in `policies/`, and the trial with its pairs."""
        names = ("serving_name", "trusted_name", "candidates", "undecided_in_a_row")
        trial = self.trial.state_dict() if self.trial is not None else None
        return {name: getattr(self, name) for name in names} | {"trial": trial}

    def load_state_dict(self, state: dict[str, Any], student: Student) -> None:
        """Continue where `state` was taken, on the device of `student`."""
        self.trusted_name, self.candidates, self.undecided_in_a_row = (
            state[name] for name in ("trusted_name", "candidates", "undecided_in_a_row")
        )
        recover_all(self.folder / "policies")  # `serving` is a link to one of them
        self._serve(state["serving_name"], self._load_policy(state["serving_name"], student))
        if state["trial"] is not None:
            saved = dict(state["trial"])
            self.trial = Trial(**saved | {"config": self.config, "test": PairedTest(**saved["test"])})
            self.candidate = self._load_policy(self.trial.candidate, student)
        self._checkpointed = self._policies_in_use()


def _mean(values_P: FloatArray) -> float:
    known_P = values_P[~np.isnan(values_P)]
    return float(known_P.mean()) if len(known_P) else math.nan
