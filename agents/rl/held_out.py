"""One evaluation on held-out queries during online learning: log, alarms, and which student is the best so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agents.policy.checkpoint import save_student
from agents.policy.student import Student
from agents.rl.alarms import Alarms, print_alarms
from agents.rl.progress import Progress
from agents.tracking.base import Trackers

Evaluate = Callable[[Student], dict[str, float]]
"""Held-out metrics of a student. The highest "eval/score" since "stream/shifts" last changed is `checkpoints/best`;
"judge/weight" (1 where absent) is the optimizer's judge_weight until the next evaluation."""


@dataclass(frozen=True)
class HeldOutResult:
    """What learning needs to know of an evaluation."""

    judge_weight: float
    """How far the judge is believed, in [0, 1]."""
    alarms: list[str]
    """Messages of the alarms that were raised."""


def evaluate_held_out(
    student: Student, evaluate: Evaluate, alarms: Alarms, progress: Progress, tracker: Trackers, best: Path
) -> HeldOutResult:
    """Evaluate, log, and save the student to `best` where its score is the highest since the shop last changed."""
    metrics = evaluate(student)
    raised = alarms.check_held_out(metrics)
    print_alarms(raised, progress.update)
    record = {"update": progress.update, "phase": "eval", "episodes": progress.episodes, **metrics}
    tracker.log(record | ({"alarms": raised} if raised else {}))
    shifts = metrics.get("stream/shifts", 0.0)
    if metrics["eval/score"] > progress.best_score or shifts != progress.shifts:
        progress.shifts, progress.best_score = shifts, metrics["eval/score"]
        save_student(best, student)
    return HeldOutResult(metrics.get("judge/weight", 1.0), raised)
