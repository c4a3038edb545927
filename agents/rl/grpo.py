"""GRPO (Shao et al. 2024, arXiv 2402.03300): groups of rewrites, their mean reward as the baseline, no critic.

`GRPO.update(rollout, rewards)` is one learning step; where the rollout and the rewards come from is not its business.
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
from agents.policy.rollout import Rollout, score
from agents.rl.learner import Learner, LearnerConfig, mean_metrics


@dataclass(frozen=True)
class GRPOConfig(LearnerConfig):
    """As `LearnerConfig`, and: normalize_std: divide advantages by the group's deviation. leave_one_out: compare a
    rewrite with the others of its group only. ratio: of each token, or one a rewrite."""

    normalize_std: bool = False
    leave_one_out: bool = False
    ratio: RatioLevel = "token"


class GRPO(Learner):
    """The optimiser of one policy by groups; `config` is a `GRPOConfig`."""

    config: GRPOConfig

    def update(
        self, rollout: Rollout, rewards_P_G: Tensor, anchor_pairs: Sequence[tuple[str, str]] = ()
    ) -> dict[str, float]:
        """Learn from one rollout.

        Args:
            rewards_P_G: one reward a rewrite; NaN is missing: such a rewrite is as good as not there.
            anchor_pairs: (query, good rewrite) pairs of the supervised anchor.

        Returns:
            metrics under TRL's names; groups without differences are skipped and counted.
        """
        rewards_P_G = rewards_P_G.to(rollout.mask_N_T.device)
        # No advantage is not enough: unmasked, its tokens would still be counted and pulled to the reference.
        known_N_1 = ~torch.isnan(rewards_P_G).flatten()[:, None]
        rollout = replace(rollout, mask_N_T=rollout.mask_N_T * known_N_1)
        flat_P = zero_variance_groups(rewards_P_G)
        advantages_P_G = group_advantages(
            rewards_P_G, self.config.normalize_std, leave_one_out=self.config.leave_one_out
        )
        useful_P = (~flat_P).nonzero().squeeze(1)
        metrics = {"groups/zero_variance": flat_P.float().mean().item()}
        self._schedule()
        parts = [part for _ in range(self.config.epochs) for part in self._parts(useful_P)]
        steps = [self._step(rollout, advantages_P_G, part, anchor_pairs) for part in parts]
        return metrics | (mean_metrics(steps) or {"loss": 0.0})

    def _step(
        self, rollout: Rollout, advantages_P_G: Tensor, prompts_P: Tensor, anchor_pairs: Sequence[tuple[str, str]]
    ) -> dict[str, float]:
        """One gradient step on some of the prompts."""
        if len(prompts_P) == 0:  # the other processes have some
            return self._descend(self._nothing(), anchor_pairs)
        loss, metrics = self.loss(rollout.select(prompts_P), advantages_P_G[prompts_P].flatten())
        return metrics | self._descend(loss, anchor_pairs)

    def loss(self, batch: Rollout, advantages_N: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Clipped surrogate plus kl_coef × KL to the reference, and its metrics."""
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
