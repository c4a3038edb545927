"""Online DPO (Rafailov et al. 2023; online: Guo et al. 2024), as MiniELM uses it: the best rewrite against the worst.

    optimizer = DPO(student.model, student.tokenizer, DPOConfig(1e-4), Accelerator())
    metrics = optimizer.update(rollout, rewards_PG)

The loss is that of TRL's `DPOTrainer` ("sigmoid"). TRL's `OnlineDPOTrainer` (experimental) is not used: it draws two
completions a prompt, trains on ties, counts a missing reward as 0 and owns the prompts, so that a stream could not be
resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from agents.policy.losses import (
    aggregate,
    best_against_worst,
    kl_k3,
    pairwise_wins,
    preference_loss,
    zero_variance_groups,
)
from agents.policy.rollout import Rollout
from agents.policy.scoring import score
from agents.rl.learner import Learner, LearnerConfig, Pair, mean_metrics
from qr_env.common.errors import ConfigError


@dataclass(frozen=True)
class DPOConfig(LearnerConfig):
    """Settings of DPO, besides those of `LearnerConfig`, of which clip_low, clip_high and kl_coef are not read."""

    beta: float = 0.1
    """Inverse temperature of the preference: the larger, the closer the policy stays to the reference."""
    margin: float = 0.0
    """Two rewrites make a pair where their rewards differ by at least this; ties never do."""
    all_pairs: bool = False
    """All such pairs of a group; else its best rewrites (all that share the best reward) against its worst."""
    reference_free: bool = False
    """SimPO: the mean log-probability a token instead of the log-ratio to the reference; needs a beta of 1 or more."""
    target: float = 0.0
    """SimPO's γ: the advantage that a pair is driven to."""

    def __post_init__(self) -> None:
        if self.beta <= 0 or self.margin < 0:
            raise ConfigError(f"DPO beta={self.beta}: must be above 0; margin={self.margin}: must be 0 or more")


class DPO(Learner):
    """Direct preference optimization of one policy."""

    config: DPOConfig
    """Settings."""

    def _needs_reference(self) -> bool:
        return not self.config.reference_free

    def update(self, rollout: Rollout, rewards_PG: Tensor, anchor_pairs: Sequence[Pair] = ()) -> dict[str, float]:
        """Learn from one rollout; only rewrites that are in a pair are read.

        Args:
            rewards_PG: one reward a rewrite; a rewrite whose reward is missing (NaN) is in no pair.
            anchor_pairs: pairs for the supervised anchor.

        Returns:
            Metrics under TRL's names, and the share of groups that are tied and of those within the margin.
        """
        rewards_PG = rewards_PG.to(rollout.mask_NT.device)
        wins_PGG = self.pairs(rewards_PG)
        paired_PG = wins_PGG.any(dim=2) | wins_PGG.any(dim=1)
        useful_P = paired_PG.any(dim=1).nonzero().squeeze(1)
        tied_P = zero_variance_groups(rewards_PG)
        metrics = {
            "groups/zero_variance": tied_P.float().mean().item(),
            "groups/below_margin": (~tied_P & ~paired_PG.any(dim=1)).float().mean().item(),
            "pairs": float(wins_PGG.sum()),
        }
        rollout = replace(rollout, mask_NT=rollout.mask_NT * paired_PG.flatten()[:, None])
        self._set_learning_rate()
        minibatches = [prompts_P for _ in range(self.config.epochs) for prompts_P in self._minibatches(useful_P)]
        steps = [self._step(rollout, wins_PGG, prompts_P, anchor_pairs) for prompts_P in minibatches]
        return metrics | (mean_metrics(steps) or {"loss": 0.0})

    def pairs(self, rewards_PG: Tensor) -> Tensor:
        """(P, G, G) bool: [p, i, j] is True where query p's rewrite i is preferred to its rewrite j."""
        wins_PGG = pairwise_wins(rewards_PG, self.config.margin)
        return wins_PGG if self.config.all_pairs else wins_PGG & best_against_worst(rewards_PG)

    def _step(
        self, rollout: Rollout, wins_PGG: Tensor, prompts_P: Tensor, anchor_pairs: Sequence[Pair]
    ) -> dict[str, float]:
        """One gradient step on some of the prompts."""
        if len(prompts_P) == 0:  # other processes have prompts left
            return self._gradient_step(self._empty_loss(), anchor_pairs)
        loss, metrics = self.loss(rollout.select(prompts_P), wins_PGG[prompts_P])
        return metrics | self._gradient_step(loss, anchor_pairs)

    def loss(self, batch: Rollout, wins_PGG: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Mean preference loss of the pairs, and metrics."""
        config, mask_NT = self.config, batch.mask_NT
        logprobs_NT, entropy_NT, _ = score(self.model, batch, config.temperature)
        metrics = {"entropy": aggregate(entropy_NT, mask_NT, "token").item()}
        scores_N = logprobs_N = (logprobs_NT * mask_NT).sum(dim=1)
        if config.reference_free:
            scores_N = logprobs_N / mask_NT.sum(dim=1).clamp(min=1.0)
        else:
            reference_NT = self._reference_logprobs(batch)
            metrics["kl"] = aggregate(kl_k3(logprobs_NT.detach(), reference_NT), mask_NT, "token").item()
            scores_N = logprobs_N - (reference_NT * mask_NT).sum(dim=1)
        prompt_M, chosen_M, rejected_M = wins_PGG.nonzero(as_tuple=True)
        chosen_M, rejected_M = (prompt_M * batch.group_size + place_M for place_M in (chosen_M, rejected_M))
        loss_M = preference_loss(scores_N[chosen_M], scores_N[rejected_M], config.beta, config.target)
        metrics |= _pair_metrics(config.beta * scores_N.detach(), logprobs_N.detach(), chosen_M, rejected_M)
        return self._mean_loss(loss_M[:, None], torch.ones_like(loss_M)[:, None]), metrics


def _pair_metrics(rewards_N: Tensor, logprobs_N: Tensor, chosen_M: Tensor, rejected_M: Tensor) -> dict[str, float]:
    """The policy's implicit rewards of the pairs, under TRL's names."""
    margins_M = rewards_N[chosen_M] - rewards_N[rejected_M]
    return {
        "rewards/chosen": rewards_N[chosen_M].mean().item(),
        "rewards/rejected": rewards_N[rejected_M].mean().item(),
        "rewards/accuracies": (margins_M > 0).float().mean().item(),
        "rewards/margins": margins_M.mean().item(),
        "logps/chosen": logprobs_N[chosen_M].mean().item(),
        "logps/rejected": logprobs_N[rejected_M].mean().item(),
    }
