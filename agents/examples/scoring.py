"""What engine and judge pay for candidate rewrites, in batches: the one measure of warm start, hints, PRO and pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from qr_env.common.types import FloatArray, Query
from qr_env.environment.simulator import Simulator

# (queries, their candidates) → rewards; P × C, NaN where there is no candidate or no verdict.
Scorer = Callable[[Sequence[Query], Sequence[Sequence[str]]], FloatArray]
FeedbackScorer = Callable[[Sequence[Query], Sequence[Sequence[str]]], dict[str, FloatArray]]
FIGURES = ("reward", "relevance", "increment", "hitrate")


def feedback_scorer(make_simulator: Callable[[int, int], Simulator], chunk: int = 512) -> FeedbackScorer:
    """(queries, their candidates) → `FIGURES` by name, P × C each, as the shop itself gives them.

    They are those of `qr_env.reward.feedback` against the original query; NaN where there is no candidate or no verdict.

    Args:
        make_simulator: (blocks, group_size) → a simulator of one turn; queries go through it `chunk` at a time.
    """

    def score(queries: Sequence[Query], options: Sequence[Sequence[str]]) -> dict[str, FloatArray]:
        from tqdm import tqdm

        width = max(map(len, options), default=0)
        known = {name: np.full((len(queries), width), np.nan, np.float32) for name in FIGURES}
        starts = range(0, len(queries) if width else 0, chunk)
        for start in tqdm(starts, desc="score candidates", leave=False, disable=len(starts) < 2):
            part, texts = queries[start : start + chunk], options[start : start + chunk]
            simulator = make_simulator(len(part), width)
            simulator.reset(part)
            step = simulator.step([text for row in texts for text in [*row, *[""] * (width - len(row))]])
            present_PG = np.arange(width) < np.array([len(row) for row in texts])[:, None]
            for name, values_PG in known.items():
                found_N = step.rewards_N if name == "reward" else getattr(step.figures, name)
                values_PG[start : start + chunk][present_PG] = found_N.reshape(len(part), width)[present_PG]
        return known

    return score


def simulator_scorer(make_simulator: Callable[[int, int], Simulator], chunk: int = 512) -> Scorer:
    """The rewards alone of `feedback_scorer`, P × C."""
    score = feedback_scorer(make_simulator, chunk)
    return lambda queries, options: score(queries, options)["reward"]
