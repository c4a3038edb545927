"""Base of the wrappers around the vector environment: `gymnasium.vector.VectorWrapper` with this environment's members.

class CountSteps(QueryRewriteWrapper):
    def step(self, actions):
        self.steps += 1
        return self.env.step(actions)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorWrapper

from qr_env.common.protocols import Stream
from qr_env.environment.simulator import Observation, Simulator
from qr_env.environment.vector_env import QueryRewriteVectorEnv


class QueryRewriteWrapper(VectorWrapper[Observation, Sequence[str], Observation, Sequence[str], np.ndarray]):
    """Forwards everything to the wrapped environment; a subclass overrides what it changes."""

    env: QueryRewriteVectorEnv | QueryRewriteWrapper

    def __init__(self, env: QueryRewriteVectorEnv | QueryRewriteWrapper) -> None:
        super().__init__(env)

    @property
    def simulator(self) -> Simulator:
        """Of the wrapped environment."""
        return self.env.simulator

    @property
    def stream(self) -> Stream:
        """Of the wrapped environment."""
        return self.env.stream

    @property
    def group_size(self) -> int:
        """Of the wrapped environment."""
        return self.env.group_size

    def state_dict(self) -> dict[str, Any]:
        """Of the wrapped environment."""
        return self.env.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> Observation:
        """Restore the wrapped environment; returns its observation."""
        return self.env.load_state_dict(state)
