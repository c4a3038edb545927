"""Online DPO (Rafailov et al. 2023; online: Guo et al. 2024), MiniELM's optimiser: the best rewrite against the worst.

    optimizer = DPO(student.model, student.tokenizer, DPOConfig(1e-4), Accelerator())
    metrics = optimizer.update(rollout, rewards_P_G)

The same rollouts, rewards and interface as `agents.rl.grpo.GRPO`; the loss is that of TRL's `DPOTrainer` ("sigmoid").
TRL's `OnlineDPOTrainer` (experimental) draws two completions a prompt, trains on ties, sums a missing reward as 0 and
owns the prompts, so that a stream could not be resumed: hence ours runs on the shared buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from agents.policy.losses import aggregate, beats, best_against_worst, kl_k3, preference_loss, zero_variance_groups
from agents.policy.rollout import Rollout, score
from agents.rl.learner import Learner, LearnerConfig, mean_metrics
from qr_env.common.errors import ConfigError


@dataclass(frozen=True)
class DPOConfig(LearnerConfig):
    """As `LearnerConfig` (clips and kl_coef are not read: beta is the price of leaving the reference), and: beta.
    margin: two rewrites make a pair when their rewards differ by as much; ties never do. all_pairs: all such pairs of
    a group, else its best (all that earn as much) against its worst. reference_free: SimPO's mean log-probability a
    token instead of the log-ratio to the reference; it wants a beta of 1 and more, and `target`, the advantage that a
    pair is driven to."""

    beta: float = 0.1
    margin: float = 0.0
    all_pairs: bool = False
    reference_free: bool = False
    target: float = 0.0

    def __post_init__(self) -> None:
        if self.beta <= 0 or self.margin < 0:
            raise ConfigError(f"DPO's beta {self.beta} must be above 0, its margin {self.margin} not below")


class DPO(Learner):
    """The optimiser of one policy by pairs; `config` is a `DPOConfig`."""

    config: DPOConfig

    def _needs_reference(self) -> bool:
        return not self.config.reference_free

    def update(
        self, rollout: Rollout, rewards_P_G: Tensor, anchor_pairs: Sequence[tuple[str, str]] = ()
    ) -> dict[str, float]:
        """Learn from one rollout; only rewrites of pairs are read.

        Args:
            rewards_P_G: one reward a rewrite; NaN is missing and in no pair.
            anchor_pairs: (query, good rewrite) pairs of the supervised anchor.

        Returns:
            metrics under TRL's names; groups of ties are counted, and those whose best and worst are too near.
        """
        rewards_P_G = rewards_P_G.to(rollout.mask_N_T.device)
        wins_P_G_G = self.pairs(rewards_P_G)
        paired_P_G = wins_P_G_G.any(dim=2) | wins_P_G_G.any(dim=1)
        useful_P = paired_P_G.any(dim=1).nonzero().squeeze(1)
        tied_P = zero_variance_groups(rewards_P_G)
        metrics = {
            "groups/zero_variance": tied_P.float().mean().item(),
            "groups/below_margin": (~tied_P & ~paired_P_G.any(dim=1)).float().mean().item(),
            "pairs": float(wins_P_G_G.sum()),
        }
        rollout = replace(rollout, mask_N_T=rollout.mask_N_T * paired_P_G.flatten()[:, None])
        self._schedule()
        parts = [part for _ in range(self.config.epochs) for part in self._parts(useful_P)]
        steps = [self._step(rollout, wins_P_G_G, part, anchor_pairs) for part in parts]
        return metrics | (mean_metrics(steps) or {"loss": 0.0})

    def pairs(self, rewards_P_G: Tensor) -> Tensor:
        """(P, G, G) bool: [p, i, j] is True where query p's rewrite i is to be preferred to its rewrite j."""
        wins_P_G_G = beats(rewards_P_G, self.config.margin)
        return wins_P_G_G if self.config.all_pairs else wins_P_G_G & best_against_worst(rewards_P_G)

    def _step(
        self, rollout: Rollout, wins_P_G_G: Tensor, prompts_P: Tensor, anchor_pairs: Sequence[tuple[str, str]]
    ) -> dict[str, float]:
        """One gradient step on some of the prompts."""
        if len(prompts_P) == 0:  # the other processes have some
            return self._descend(self._nothing(), anchor_pairs)
        loss, metrics = self.loss(rollout.select(prompts_P), wins_P_G_G[prompts_P])
        return metrics | self._descend(loss, anchor_pairs)

    def loss(self, batch: Rollout, wins_P_G_G: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Mean preference loss of the pairs, and its metrics."""
        config, mask_N_T = self.config, batch.mask_N_T
        logprobs_N_T, entropy_N_T, _ = score(self.model, batch, config.temperature)
        metrics = {"entropy": aggregate(entropy_N_T, mask_N_T, "token").item()}
        scores_N = logprobs_N = (logprobs_N_T * mask_N_T).sum(dim=1)
        if config.reference_free:
            scores_N = logprobs_N / mask_N_T.sum(dim=1).clamp(min=1.0)
        else:
            reference_N_T = self._reference_logprobs(batch)
            metrics["kl"] = aggregate(kl_k3(logprobs_N_T.detach(), reference_N_T), mask_N_T, "token").item()
            scores_N = logprobs_N - (reference_N_T * mask_N_T).sum(dim=1)
        prompt_M, chosen_M, rejected_M = wins_P_G_G.nonzero(as_tuple=True)
        chosen_M, rejected_M = (prompt_M * batch.group_size + place_M for place_M in (chosen_M, rejected_M))
        loss_M = preference_loss(scores_N[chosen_M], scores_N[rejected_M], config.beta, config.target)
        metrics |= _told(config.beta * scores_N.detach(), logprobs_N.detach(), chosen_M, rejected_M)
        return self._mean_loss(loss_M[:, None], torch.ones_like(loss_M)[:, None]), metrics


def _told(rewards_N: Tensor, logprobs_N: Tensor, chosen_M: Tensor, rejected_M: Tensor) -> dict[str, float]:
    """The policy's own opinion of the pairs, under TRL's names."""
    margins_M = rewards_N[chosen_M] - rewards_N[rejected_M]
    return {
        "rewards/chosen": rewards_N[chosen_M].mean().item(),
        "rewards/rejected": rewards_N[rejected_M].mean().item(),
        "rewards/accuracies": (margins_M > 0).float().mean().item(),
        "rewards/margins": margins_M.mean().item(),
        "logps/chosen": logprobs_N[chosen_M].mean().item(),
        "logps/rejected": logprobs_N[rejected_M].mean().item(),
    }
