"""GRPO (Shao et al. 2024, arXiv 2402.03300): groups of rewrites, their mean reward as the baseline, no critic.

    optimizer = GRPO(student.model, student.tokenizer, GRPOConfig(1e-4), Accelerator())
    metrics = optimizer.update(rollout, rewards_P_G)

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

    def update(self, rollout: Rollout, rewards_P_G: Tensor, anchor_pairs: Sequence[Pair] = ()) -> dict[str, float]:
        """Learn from one rollout.

        Args:
            rewards_P_G: one reward a rewrite; a rewrite whose reward is missing (NaN) is left out of the loss.
            anchor_pairs: pairs for the supervised anchor.

        Returns:
            Metrics under TRL's names. Groups whose rewards are all equal are skipped and counted.
        """
        rewards_P_G = rewards_P_G.to(rollout.mask_N_T.device)
        # An advantage of 0 is not enough: unmasked, such tokens would still count in means and in the KL.
        known_N_1 = ~torch.isnan(rewards_P_G).flatten()[:, None]
        rollout = replace(rollout, mask_N_T=rollout.mask_N_T * known_N_1)
        tied_P = zero_variance_groups(rewards_P_G)
        advantages_P_G = group_advantages(
            rewards_P_G, self.config.normalize_std, leave_one_out=self.config.leave_one_out
        )
        useful_P = (~tied_P).nonzero().squeeze(1)
        metrics = {"groups/zero_variance": tied_P.float().mean().item()}
        self._set_learning_rate()
        minibatches = [prompts_P for _ in range(self.config.epochs) for prompts_P in self._minibatches(useful_P)]
        steps = [self._step(rollout, advantages_P_G, prompts_P, anchor_pairs) for prompts_P in minibatches]
        return metrics | (mean_metrics(steps) or {"loss": 0.0})

    def _step(
        self, rollout: Rollout, advantages_P_G: Tensor, prompts_P: Tensor, anchor_pairs: Sequence[Pair]
    ) -> dict[str, float]:
        """One gradient step on some of the prompts."""
        if len(prompts_P) == 0:  # other processes have prompts left
            return self._gradient_step(self._empty_loss(), anchor_pairs)
        loss, metrics = self.loss(rollout.select(prompts_P), advantages_P_G[prompts_P].flatten())
        return metrics | self._gradient_step(loss, anchor_pairs)

    def loss(self, batch: Rollout, advantages_N: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Clipped surrogate plus kl_coef × KL to the reference, and metrics."""
        config, mask_N_T = self.config, batch.mask_N_T
        logprobs_N_T, entropy_N_T, _ = score(self.model, batch, config.temperature)
        loss_N_T, clipped_N_T = clipped_policy_loss(
            log_ratios(logprobs_N_T, batch.logprobs_N_T, mask_N_T, config.ratio),
            advantages_N[:, None],
            config.clip_low,
            config.clip_high,
        )
        metrics = {
            "clip_ratio": aggregate(clipped_N_T.float(), mask_N_T, "token").item(),
            "entropy": aggregate(entropy_N_T, mask_N_T, "token").item(),
        }
        if config.kl_coef:
            kl_N_T = kl_k3(logprobs_N_T, self._reference_logprobs(batch))
            metrics["kl"] = aggregate(kl_N_T.detach(), mask_N_T, "token").item()
            loss_N_T = loss_N_T + config.kl_coef * kl_N_T
        return self._mean_loss(loss_N_T, mask_N_T), metrics
