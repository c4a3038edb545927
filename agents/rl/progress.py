"""Counters of an online run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass
class Progress:
    """Counters over the whole run, resumed parts included."""

    update: int = 0
    """Updates done."""
    evaluated: int = -1
    """Update of the last evaluation; -1 before the first."""
    episodes: int = 0
    """Episodes begun, one a rewrite of a first turn, on all processes."""
    seconds: float = 0.0
    """Time spent in updates (without evaluation and checkpoints)."""
    best_score: float = -math.inf
    """Best "eval/score" since the shop last changed."""
    shifts: float = 0.0
    """"stream/shifts" at the last evaluation: how often the shop's words or products had changed."""
    stopped: bool = False
    """Whether the run was interrupted before its last update."""

    def state_dict(self) -> dict[str, Any]:
        """The counters of a checkpoint, which names `update` itself."""
        names = ("evaluated", "episodes", "seconds", "best_score", "shifts")
        return {name: getattr(self, name) for name in names}
