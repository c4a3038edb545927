"""Shadow → canary → promoted, or rolled back: what the outcomes of complete sessions say to do.

    controller = Controller(ExperimentSettings())
    controller.add(outcomes)                  # complete sessions, `SessionOutcomes`
    for transition in controller.decide(now): …
    controller.share                          # of the sessions outside the holdout that the candidate serves

| stage | the candidate serves | ends |
|---|---|---|
| shadow | none; its rewrites are computed and compared | after `shadow_sessions` |
| canary | 5, 25, 50 % | after `stage_sessions` each; the last when it is proven better, or at `max_sessions` |
| promoted | 95 % | never; a proven loss rolls it back |
| rolled back | none | never |

Better: the interval of the difference in conversion (share of sessions with a purchase) is above 0, and that of queries
without results rules out a rise of `zero_margin`. Worse, at any stage: the interval of conversion or of revenue a
session is below 0, or that of queries without results is above 0. A wrong sample ratio stops the test at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from agents.serving.experiment.sequential import Bools, Floats, MeanDifference, SampleRatio
from agents.serving.experiment.settings import (
    CANARY,
    METRICS,
    PRIMARY,
    PROMOTED,
    ROLLED_BACK,
    SHADOW,
    ZERO,
    ExperimentSettings,
)
from qr_env.common.types import JsonDict


@dataclass(frozen=True)
class SessionOutcomes:
    """N complete sessions."""

    candidate_N: Bools
    """Whether the candidate served it."""
    share_N: Floats
    """Probability of that, outside the holdout."""
    value_N4: Floats
    """One column for each of `METRICS`."""
    time_N: Floats
    """When each began, seconds since 1970."""

    def __len__(self) -> int:
        return len(self.candidate_N)


@dataclass(frozen=True)
class Transition:
    """A change of stage or share."""

    stage: str
    """The stage that begins."""
    share: float
    """Share of the candidate from now on."""
    time: float
    """When, seconds since 1970."""
    why: str
    """For people."""
    evidence: JsonDict = field(default_factory=dict)
    """Counts, means and intervals."""


class Controller:
    """Collects sessions and decides. Args: settings."""

    def __init__(self, settings: ExperimentSettings) -> None:
        self.settings = settings
        self.stage, self.step, self.sessions = SHADOW, -1, 0
        self.in_stage, self.began = 0, -math.inf
        self.differences = {name: MeanDifference(settings.expected_sessions) for name in METRICS}
        self.ratio = SampleRatio()

    @property
    def share(self) -> float:
        """Share of the sessions outside the holdout that the candidate serves."""
        if self.stage == CANARY:
            return self.settings.canary[self.step]
        return self.settings.promoted if self.stage == PROMOTED else 0.0

    def add(self, outcomes: SessionOutcomes) -> None:
        """Add complete sessions; those of a time when the candidate served nobody count for the shadow stage alone.

        Sessions that began before the stage count for the test, and not for the stage's length: figures and stages are
        the same, whether the sessions come one by one or, after a restart, all together.
        """
        self.in_stage += int((outcomes.time_N >= self.began).sum())
        mixed = (outcomes.share_N > 0) & (outcomes.share_N < 1)
        self.sessions += int(mixed.sum())
        candidate_N, share_N = outcomes.candidate_N[mixed], outcomes.share_N[mixed]
        for at, name in enumerate(METRICS):
            value_N = outcomes.value_N4[mixed, at]
            capped_N = np.minimum(value_N, self.settings.longest_value) if name == "revenue" else value_N
            self.differences[name].add(capped_N, candidate_N, share_N)
        self.ratio.add(candidate_N, share_N)

    def decide(self, now: float) -> Iterator[Transition]:
        """The transitions that the sessions so far call for; each is carried out when it is taken."""
        while (found := self._next()) is not None:
            stage, why = found
            self.enter(stage, now)
            yield Transition(stage, self.share, now, why, self.evidence())

    def enter(self, stage: str, now: float) -> None:
        """Begin a stage at this time; the next canary share where it is the canary."""
        self.step = self.step + 1 if stage == CANARY else self.step
        self.stage, self.in_stage, self.began = stage, 0, now

    def _next(self) -> tuple[str, str] | None:
        settings = self.settings
        if self.stage == ROLLED_BACK:
            return None
        if self.ratio.log_e() > -math.log(settings.ratio_alpha):
            return ROLLED_BACK, f"sample ratio: {self._ratio_text()}; a variant loses sessions, so nothing is proven"
        if self.stage == SHADOW:
            return (CANARY, "shadow stage complete") if self.in_stage >= settings.shadow_sessions else None
        if worse := self._proven_worse():
            return ROLLED_BACK, worse
        if self.stage == PROMOTED:
            return None
        if self.step + 1 < len(settings.canary):
            return (CANARY, "no loss so far") if self.in_stage >= settings.stage_sessions else None
        if self.in_stage >= settings.stage_sessions and (better := self._proven_better()):
            return PROMOTED, better
        if self.sessions >= settings.max_sessions:
            return ROLLED_BACK, f"not proven better in {self.sessions:,} sessions: {self._text(PRIMARY)}"
        return None

    def _proven_worse(self) -> str:
        if self.sessions < self.settings.stage_sessions:
            return ""
        for name in (PRIMARY, "revenue", ZERO):
            low, high = self.differences[name].interval(self.settings.alpha)
            if (low > 0) if name == ZERO else (high < 0):
                return f"worse: {self._text(name)}"
        return ""

    def _proven_better(self) -> str:
        low, _ = self.differences[PRIMARY].interval(self.settings.alpha)
        _, rise = self.differences[ZERO].interval(self.settings.alpha)
        return f"better: {self._text(PRIMARY)}" if low > 0 and rise < self.settings.zero_margin else ""

    def _text(self, name: str) -> str:
        difference = self.differences[name]
        low, high = difference.interval(self.settings.alpha)
        baseline, candidate = difference.mean_2
        return f"{name} a session {baseline:.4f} → {candidate:.4f} ({difference.mean:+.4f} [{low:+.4f} {high:+.4f}])"

    def _ratio_text(self) -> str:
        return ", ".join(
            f"{candidate:,} of {baseline + candidate:,} where {share:.0%} were assigned"
            for share, (baseline, candidate) in self.ratio.counts.items()
        )

    def evidence(self) -> JsonDict:
        """Sessions, means, differences and intervals, as JSON values."""
        rows: JsonDict = {}
        for name, difference in self.differences.items():
            low, high = difference.interval(self.settings.alpha)
            baseline, candidate = difference.mean_2
            values = {
                "baseline": baseline,
                "candidate": candidate,
                "difference": difference.mean,
                "low": low,
                "high": high,
            }
            rows[name] = {key: value if math.isfinite(value) else None for key, value in values.items()}
        counts = {f"{share:g}": list(pair) for share, pair in self.ratio.counts.items()}
        return {"sessions": self.sessions, "metrics": rows, "sample ratio": counts, "ratio log e": self.ratio.log_e()}
