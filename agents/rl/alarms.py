"""Alarms on the ways in which online learning collapses, over the last updates, so that one odd batch is silent."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAINS = ("eval/judge nDCG@10", "eval/nDCG@10")  # by the judge that trains, and by labels
RELEVANCE, CONVERSION = "eval/relevance@10", "eval/purchase@10"
SHIFTS = "stream/shifts"


@dataclass
class Alarms:
    """Watches the metrics of each update, and the figures of each evaluation against those of the first (the warm
    start's), in a shop that changes against those of the first after each change.

    window: updates looked back on. min_entropy: nats a token; below it the policy no longer explores.
    max_length: tokens a rewrite; rewrites that fill their budget are salads. max_identical: share of groups whose
    rewrites all earn the same, so that nothing can be learned. max_kl: nats a token from the warm start.
    max_exploit: how much judge/exploit_rate may rise. max_gap: how much more than the labels the judge may say that
    was won, while the labels say that something was lost: the mark of a judge that is being fooled (Gao et al. 2023,
    arXiv 2210.10760). max_relevance_lost: how much relevance may fall while conversion rises: JD's finding (arXiv
    2603.02555) is that what sells more may show less of what was asked for.
    """

    window: int = 10
    min_entropy: float = 0.02
    max_length: float = 11.0
    max_identical: float = 0.97
    max_kl: float = 10.0
    max_exploit: float = 0.1
    max_gap: float = 0.05
    max_relevance_lost: float = 0.01
    history: deque[Mapping[str, float]] = field(default_factory=deque)
    first: Mapping[str, float] | None = None

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
        if (kl := self._mean("kl")) > self.max_kl:
            rings.append(f"KL {kl:.1f} > {self.max_kl} nats a token: the policy has left what it was taught")
        return rings

    def check_held_out(self, figures: Mapping[str, float]) -> list[str]:
        """Messages of the alarms on judge and relevance that ring after this evaluation."""
        if self.first is None or self.first.get(SHIFTS) != figures.get(SHIFTS):
            self.first = dict(figures)
        rings, rate = [], "judge/exploit_rate"
        if rate in figures and (rise := figures[rate] - self.first.get(rate, figures[rate])) > self.max_exploit:
            rings.append(f"exploit rate {figures[rate]:.2f}, up by {rise:.2f}: the judge is easier to fool")
        if all(name in row for name in MAINS for row in (figures, self.first)):
            judge, labels = (figures[name] - self.first[name] for name in MAINS)
            if labels < 0 and judge - labels > self.max_gap:
                rings.append(f"the judge says {judge:+.3f}, the labels {labels:+.3f}: the judge is being fooled")
        if all(name in row for name in (RELEVANCE, CONVERSION) for row in (figures, self.first)):
            relevance, conversion = (figures[name] - self.first[name] for name in (RELEVANCE, CONVERSION))
            if conversion > 0 and relevance < -self.max_relevance_lost:
                rings.append(f"relevance {relevance:+.3f} while conversion {conversion:+.3f}: it sells other things")
        return rings

    def state_dict(self) -> dict[str, Any]:
        """What the next checks depend on."""
        return {"history": list(self.history), "first": self.first}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.history, self.first = deque(state["history"]), state["first"]

    def _mean(self, name: str) -> float:
        values = [float(row[name]) for row in self.history if name in row]
        return sum(values) / len(values) if values else float("nan")
