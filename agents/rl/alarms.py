"""Alarms: the known ways in which online learning collapses, measured over several updates so that one odd batch does
not raise them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qr_env.common.messages import print_message

JUDGE_NDCG, LABEL_NDCG = "eval/judge nDCG@10", "eval/nDCG@10"  # by the judge that trains, and by labels
RELEVANCE, CONVERSION = "eval/relevance@10", "eval/purchase@10"
EXPLOIT_RATE = "judge/exploit_rate"
SHIFTS = "stream/shifts"


@dataclass
class Alarms:
    """Checks the metrics of each update, and those of each evaluation against the first one's (the warm start's); in a
    shop that changes, against the first one's after each change."""

    window: int = 10
    """Updates over which means are taken; nothing is raised before so many are known."""
    min_entropy: float = 0.02
    """Nats a token; below it the policy no longer explores."""
    max_length: float = 11.0
    """Tokens a rewrite; longer ones fill their budget with unrelated words."""
    max_identical: float = 0.97
    """Share of groups whose rewrites all have the same reward, which have no gradient."""
    max_kl: float = 10.0
    """Nats a token from the warm start."""
    max_exploit: float = 0.1
    """How much judge/exploit_rate may rise."""
    max_gap: float = 0.05
    """How much more nDCG@10 the judge may see gained than the labels, while the labels see a loss: reward hacking of
    the judge (Gao et al. 2023, arXiv 2210.10760)."""
    max_relevance_lost: float = 0.01
    """How much relevance may fall while conversion rises: JD (arXiv 2603.02555) found that optimizing sales may lower
    relevance."""
    history: deque[Mapping[str, float]] = field(default_factory=deque)
    """Metrics of the last `window` updates, oldest first."""
    first: Mapping[str, float] | None = None
    """Metrics of the evaluation that later ones are compared with; None before the first."""

    def check(self, metrics: Mapping[str, float]) -> list[str]:
        """Messages of the alarms that this update raises; none until the window is full."""
        self.history.append(metrics)
        if len(self.history) > self.window:
            self.history.popleft()
        if len(self.history) < self.window:
            return []
        raised = []
        if (entropy := self._mean("entropy")) < self.min_entropy:
            raised.append(f"entropy {entropy:.3f} < {self.min_entropy}: the policy has stopped exploring")
        if (length := self._mean("completions/mean_length")) > self.max_length:
            raised.append(f"mean length {length:.1f} > {self.max_length} tokens: rewrites fill their budget")
        if (same := self._mean("groups/zero_variance")) > self.max_identical:
            raised.append(f"{same:.0%} of groups are identical: nothing left to learn from")
        if (kl := self._mean("kl")) > self.max_kl:
            raised.append(f"KL {kl:.1f} > {self.max_kl} nats a token: the policy is far from the warm start")
        return raised

    def check_held_out(self, metrics: Mapping[str, float]) -> list[str]:
        """Messages of the alarms on judge, relevance and conversion that this evaluation raises."""
        if self.first is None or self.first.get(SHIFTS) != metrics.get(SHIFTS):
            self.first = dict(metrics)
        raised, first = [], self.first
        if EXPLOIT_RATE in metrics:
            rise = metrics[EXPLOIT_RATE] - first.get(EXPLOIT_RATE, metrics[EXPLOIT_RATE])
            if rise > self.max_exploit:
                raised.append(
                    f"exploit rate {metrics[EXPLOIT_RATE]:.2f}, up by {rise:.2f}: the judge is easier to fool"
                )
        if all(name in row for name in (JUDGE_NDCG, LABEL_NDCG) for row in (metrics, first)):
            judge, labels = (metrics[name] - first[name] for name in (JUDGE_NDCG, LABEL_NDCG))
            if labels < 0 and judge - labels > self.max_gap:
                raised.append(f"nDCG by the judge {judge:+.3f}, by labels {labels:+.3f}: the judge is being fooled")
        if all(name in row for name in (RELEVANCE, CONVERSION) for row in (metrics, first)):
            relevance, conversion = (metrics[name] - first[name] for name in (RELEVANCE, CONVERSION))
            if conversion > 0 and relevance < -self.max_relevance_lost:
                raised.append(
                    f"relevance {relevance:+.3f} while conversion {conversion:+.3f}: sales rise at relevance's cost"
                )
        return raised

    def clear_window(self) -> None:
        """Forget the last updates, so that a full window must pass before `check` raises an alarm again."""
        self.history.clear()

    def state_dict(self) -> dict[str, Any]:
        """All that later checks depend on."""
        return {"history": list(self.history), "first": self.first}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.history, self.first = deque(state["history"]), state["first"]

    def _mean(self, name: str) -> float:
        values = [float(row[name]) for row in self.history if name in row]
        return sum(values) / len(values) if values else float("nan")


def print_alarms(messages: Sequence[str], update: int) -> None:
    """Print raised alarms to standard error."""
    for message in messages:
        print_message(f"ALARM at update {update}: {message}")
