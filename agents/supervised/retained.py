"""What a student keeps of its teacher: quality on an exam, and how much faster it answers.

report = retained(student, teacher, HeldOutEvaluator(shop, retriever, split="dev"))
report.share, report.student_ms, report.teacher_ms
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from qr_env.common.protocols import Agent
from qr_env.evaluation.bootstrap import interval, resampled_means
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.result import closed, weighted_means

BATCHES = (1, 256)


@dataclass(frozen=True)
class Retained:
    """metric: the exam's headline figure. identity, teacher, student: its means. share: the part of the teacher's gain
    over identity that the student keeps, (student − identity) / (teacher − identity), NaN where the teacher gains
    nothing; low, high: its 95 % interval (bootstrap by query). student_ms, teacher_ms: batch size → milliseconds a
    query."""

    metric: str
    identity: float
    teacher: float
    student: float
    share: float
    low: float
    high: float
    student_ms: dict[int, float]
    teacher_ms: dict[int, float]


def retained(student: Agent, teacher: Agent, exam: HeldOutEvaluator, batches: Sequence[int] = BATCHES) -> Retained:
    """Mark both on the exam's queries, and time both."""
    columns = [exam.raw, *(exam.scorer.quick(exam.search(exam.rewrites(agent))) for agent in (teacher, student))]
    values_N_3 = np.stack(columns, axis=1)
    values_N_3 = values_N_3[~np.isnan(values_N_3).any(axis=1)]
    identity, best, kept = weighted_means(values_N_3)
    means_R_3 = resampled_means(values_N_3, None, exam.resamples, exam.seed)
    low, high = interval(closed(means_R_3[:, 2], means_R_3[:, 0], means_R_3[:, 1]))
    times = {batch: latency((student, teacher), exam.texts, batch) for batch in batches}
    share = float(closed(kept, identity, best))
    return Retained(
        exam.scorer.main, float(identity), float(best), float(kept), share, low, high,
        *({batch: pair[side] for batch, pair in times.items()} for side in (0, 1)),
    )  # fmt: skip


def latency(agents: Sequence[Agent], queries: Sequence[str], batch: int, repeats: int = 0) -> list[float]:
    """Milliseconds a query of each agent: the median of `repeats` batches (by default 30 of one query, else 5) that
    the agents answer in turn, so that whatever else the machine does slows all alike; a first round warms up."""
    repeats = repeats or (30 if batch == 1 else 5)
    seconds: list[list[float]] = [[] for _ in agents]
    for repeat in range(repeats + 1):
        part = [queries[(repeat * batch + i) % len(queries)] for i in range(batch)]
        for taken, agent in zip(seconds, agents, strict=True):
            start = time.perf_counter()
            agent.rewrite(part)
            taken.append(time.perf_counter() - start)
    return [median(taken[1:]) / batch * 1e3 for taken in seconds]
