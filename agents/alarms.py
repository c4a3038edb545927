"""Alarms on the ways in which online learning collapses, over the last updates, so that one odd batch is silent."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Alarms:
    """Watches the metrics of each update.

    window: updates looked back on. min_entropy: nats a token; below it the policy no longer explores.
    max_length: tokens a rewrite; rewrites that fill their budget are salads. max_identical: share of groups whose
    rewrites all earn the same, so that nothing can be learned.
    """

    window: int = 10
    min_entropy: float = 0.02
    max_length: float = 11.0
    max_identical: float = 0.97
    history: deque[Mapping[str, float]] = field(default_factory=deque)

    def check(self, metrics: Mapping[str, float]) -> list[str]:
        """Messages of the alarms that ring after this update; none until the window is full."""
        self.history.append(metrics)
        if len(self.history) > self.window:
            self.history.popleft()
        if len(self.history) < self.window:
            return []
        rings = []
        if (entropy := self._mean("entropy")) < self.min_entropy:
            rings.append(f"entropy {entropy:.3f} < {self.min_entropy}: the policy has stopped exploring")
        if (length := self._mean("completions/mean_length")) > self.max_length:
            rings.append(f"mean length {length:.1f} > {self.max_length} tokens: rewrites fill their budget")
        if (same := self._mean("groups/zero_variance")) > self.max_identical:
            rings.append(f"{same:.0%} of groups are identical: nothing left to learn from")
        return rings

    def _mean(self, name: str) -> float:
        values = [float(row[name]) for row in self.history if name in row]
        return sum(values) / len(values) if values else float("nan")
