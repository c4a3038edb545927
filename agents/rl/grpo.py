"""GRPO (Shao et al. 2024, arXiv 2402.03300): groups of rewrites, their mean reward as the baseline, no critic.

    optimizer = GRPO(student.model, student.tokenizer, GRPOConfig(1e-4), Accelerator())
    metrics = optimizer.update(rollout, rewards_PG)

Variants by setting: Dr. GRPO (no deviation), DAPO (clip-higher, token mean), RLOO (leave_one_out), GSPO (ratio
"sequence" with aggregation "sequence").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from agents.policy.losses import (
    RatioLevel,
    aggregate,
    clipped_policy_loss,
    group_advantages,
    kl_k3,
    log_ratios,
    zero_variance_groups,
)
from agents.policy.rollout import Rollout
from agents.policy.scoring import score
from agents.rl.learner import Learner, LearnerConfig, Pair, mean_metrics


@dataclass(frozen=True)
class GRPOConfig(LearnerConfig):
    """Settings of GRPO, besides those of `LearnerConfig`."""

    normalize_std: bool = False
    """Divide advantages by the group's standard deviation."""
    leave_one_out: bool = False
    """The baseline is the mean reward of the group's other rewrites."""
    ratio: RatioLevel = "token"
    """The probability ratio that is clipped: each token's, or one a rewrite."""


class GRPO(Learner):
    """Group relative policy optimization of one policy."""

    config: GRPOConfig
    """Settings."""

    def update(self, rollout: Rollout, rewards_PG: Tensor, anchor_pairs: Sequence[Pair] = ()) -> dict[str, float]:
        """Learn from one rollout.

        Args:
            rewards_PG: one reward a rewrite; a rewrite whose reward is missing (NaN) is left out of the loss.
            anchor_pairs: pairs for the supervised anchor.

        Returns:
            Metrics under TRL's names. Groups whose rewards are all equal are skipped and counted.
        """
        rewards_PG = rewards_PG.to(rollout.mask_NT.device)
        # An advantage of 0 is not enough: unmasked, such tokens would still count in means and in the KL.
        known_N1 = ~torch.isnan(rewards_PG).flatten()[:, None]
        rollout = replace(rollout, mask_NT=rollout.mask_NT * known_N1)
        tied_P = zero_variance_groups(rewards_PG)
        advantages_PG = group_advantages(rewards_PG, self.config.normalize_std, leave_one_out=self.config.leave_one_out)
        useful_P = (~tied_P).nonzero().squeeze(1)
        metrics = {"groups/zero_variance": tied_P.float().mean().item()}
        self._set_learning_rate()
        minibatches = [prompts_P for _ in range(self.config.epochs) for prompts_P in self._minibatches(useful_P)]
        steps = [self._step(rollout, advantages_PG, prompts_P, anchor_pairs) for prompts_P in minibatches]
        return metrics | (mean_metrics(steps) or {"loss": 0.0})

    def _step(
        self, rollout: Rollout, advantages_PG: Tensor, prompts_P: Tensor, anchor_pairs: Sequence[Pair]
    ) -> dict[str, float]:
        """One gradient step on some of the prompts."""
        if len(prompts_P) == 0:  # other processes have prompts left
            return self._gradient_step(self._empty_loss(), anchor_pairs)
        loss, metrics = self.loss(rollout.select(prompts_P), advantages_PG[prompts_P].flatten())
        return metrics | self._gradient_step(loss, anchor_pairs)

    def loss(self, batch: Rollout, advantages_N: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Clipped surrogate plus kl_coef × KL to the reference, and metrics."""
        config, mask_NT = self.config, batch.mask_NT
        logprobs_NT, entropy_NT, _ = score(self.model, batch, config.temperature)
        loss_NT, clipped_NT = clipped_policy_loss(
            log_ratios(logprobs_NT, batch.logprobs_NT, mask_NT, config.ratio),
            advantages_N[:, None],
            config.clip_low,
            config.clip_high,
        )
        metrics = {
            "clip_ratio": aggregate(clipped_NT.float(), mask_NT, "token").item(),
            "entropy": aggregate(entropy_NT, mask_NT, "token").item(),
        }
        if config.kl_coef:
            kl_NT = kl_k3(logprobs_NT, self._reference_logprobs(batch))
            metrics["kl"] = aggregate(kl_NT.detach(), mask_NT, "token").item()
            loss_NT = loss_NT + config.kl_coef * kl_NT
        return self._mean_loss(loss_NT, mask_NT), metrics
