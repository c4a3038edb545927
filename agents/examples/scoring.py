"""Rewards and feedback of candidate rewrites by engine and judge, in batches.

score = FeedbackScorer(make_simulator)
score(queries, options)["reward"]       # (P, G)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from tqdm import tqdm

from qr_env.common.types import FloatArray, Query
from qr_env.environment.simulator import Simulator

FIGURES = ("reward", "relevance", "increment", "hitrate")


class Scorer(Protocol):
    """Rewards of candidates."""

    def __call__(self, queries: Sequence[Query], options: Sequence[Sequence[str]], /) -> FloatArray:
        """(P, G) rewards of up to G candidates for each of P queries; NaN without a candidate or a verdict."""
        ...


@dataclass(frozen=True)
class FeedbackScorer:
    """A callable: candidates → `FIGURES` by name, (P, G) each, as a step of the simulator gives them.

    Definitions: `qr_env.reward.feedback`, against the original query; NaN without a candidate or a verdict.
    """

    make_simulator: Callable[[int, int], Simulator]
    """(blocks, group_size) → a simulator of one turn."""
    chunk: int = 512
    """Queries a simulator step."""

    def __call__(self, queries: Sequence[Query], options: Sequence[Sequence[str]], /) -> dict[str, FloatArray]:
        """The figures of up to G candidates for each of P queries."""
        width = max(map(len, options), default=0)
        figures = {name: np.full((len(queries), width), np.nan, np.float32) for name in FIGURES}
        starts = range(0, len(queries) if width else 0, self.chunk)
        for start in tqdm(starts, desc="score candidates", leave=False, disable=len(starts) < 2):
            part, texts = queries[start : start + self.chunk], options[start : start + self.chunk]
            simulator = self.make_simulator(len(part), width)
            simulator.reset(part)
            step = simulator.step([text for row in texts for text in [*row, *[""] * (width - len(row))]])
            present_PG = np.arange(width) < np.array([len(row) for row in texts])[:, None]
            for name, values_PG in figures.items():
                values_N = step.rewards_N if name == "reward" else getattr(step.figures, name)
                values_PG[start : start + self.chunk][present_PG] = values_N.reshape(len(part), width)[present_PG]
        return figures


@dataclass(frozen=True)
class RewardScorer:
    """A `Scorer`: the rewards alone of `FeedbackScorer`."""

    make_simulator: Callable[[int, int], Simulator]
    """(blocks, group_size) → a simulator of one turn."""
    chunk: int = 512
    """Queries a simulator step."""

    def __call__(self, queries: Sequence[Query], options: Sequence[Sequence[str]], /) -> FloatArray:
        """(P, G) rewards."""
        return FeedbackScorer(self.make_simulator, self.chunk)(queries, options)["reward"]
