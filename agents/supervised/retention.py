"""Retention of a distilled student: its share of the teacher's gain on held-out queries, and its speed.

report = measure_retention(student, teacher, HeldOutEvaluator(shop, retriever, split="dev"))
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
from qr_env.evaluation.result import headroom_closed, weighted_means

BATCH_SIZES = (1, 256)


@dataclass(frozen=True)
class Retention:
    """Quality and speed of a student and its teacher."""

    metric: str
    """Name of the evaluator's headline figure."""
    identity: float
    """Mean of the original queries."""
    teacher: float
    """Mean of the teacher's rewrites."""
    student: float
    """Mean of the student's rewrites."""
    share: float
    """(student − identity) / (teacher − identity); NaN if the teacher gains nothing."""
    low: float
    """Lower end of the share's 95 % interval (bootstrap over queries)."""
    high: float
    """Upper end of the share's 95 % interval."""
    student_ms: dict[int, float]
    """Batch size → milliseconds a query."""
    teacher_ms: dict[int, float]
    """Batch size → milliseconds a query."""


def measure_retention(
    student: Agent, teacher: Agent, evaluator: HeldOutEvaluator, batch_sizes: Sequence[int] = BATCH_SIZES
) -> Retention:
    """Evaluate both on the held-out queries, and time both."""
    columns = [
        evaluator.raw,
        *(evaluator.scorer.quick(evaluator.search(evaluator.rewrites(agent))) for agent in (teacher, student)),
    ]
    values_N3 = np.stack(columns, axis=1)
    values_N3 = values_N3[~np.isnan(values_N3).any(axis=1)]
    identity, teacher_mean, student_mean = weighted_means(values_N3)
    means_R3 = resampled_means(values_N3, None, evaluator.resamples, evaluator.seed)
    low, high = interval(headroom_closed(means_R3[:, 2], means_R3[:, 0], means_R3[:, 1]))
    times = {batch: latency((student, teacher), evaluator.texts, batch) for batch in batch_sizes}
    share = float(headroom_closed(student_mean, identity, teacher_mean))
    return Retention(
        evaluator.scorer.main, float(identity), float(teacher_mean), float(student_mean), share, low, high,
        *({batch: pair[side] for batch, pair in times.items()} for side in (0, 1)),
    )  # fmt: skip


def latency(agents: Sequence[Agent], queries: Sequence[str], batch: int, repeats: int = 0) -> list[float]:
    """Median milliseconds a query of each agent over `repeats` batches (0: 30 of a single query, else 5).

    The agents take turns, so that other load on the machine slows all of them; one extra round at the start warms up.
    """
    repeats = repeats or (30 if batch == 1 else 5)
    seconds: list[list[float]] = [[] for _ in agents]
    for repeat in range(repeats + 1):
        part = [queries[(repeat * batch + i) % len(queries)] for i in range(batch)]
        for times, agent in zip(seconds, agents, strict=True):
            start = time.perf_counter()
            agent.rewrite(part)
            times.append(time.perf_counter() - start)
    return [median(times[1:]) / batch * 1e3 for times in seconds]
