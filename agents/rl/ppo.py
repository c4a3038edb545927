"""PPO (Schulman et al. 2017): a value head, GAE over tokens, clipped policy and value losses, a KL penalty.

    optimizer = PPO(student.model, student.tokenizer, PPOConfig(1e-4), Accelerator())
    metrics = optimizer.update(rollout, rewards_P_G)

A rewrite is an episode and a token a step: the reward arrives at the last token, the KL penalty at each one (Ziegler et
al. 2019, eq. 2). The baseline is learned and not the group's mean, so PPO also learns from groups of one rewrite and
from groups whose rewards are all equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from agents.policy.losses import (
    adapted_kl_coef,
    aggregate,
    clipped_policy_loss,
    clipped_value_loss,
    generalized_advantages,
    kl_k3,
    log_ratios,
    whiten,
)
from agents.policy.rollout import Rollout
from agents.policy.scoring import score
from agents.rl.learner import Learner, LearnerConfig, Pair, mean_metrics


@dataclass(frozen=True)
class PPOConfig(LearnerConfig):
    """Settings of PPO, besides those of `LearnerConfig`."""

    clip_high: float = 0.2
    """The probability ratio is clipped at 1 + clip_high."""
    epochs: int = 2
    """Passes over a rollout."""
    value_scale: float = 10.0
    """The value head's learning rate, as a multiple of the policy's."""
    value_coef: float = 0.1
    """Weight of the value loss, whose gradient also reaches the policy's layers."""
    value_clip: float = 0.2
    """How far a value may move in one update without a clipped loss."""
    gamma: float = 1.0
    """Discount."""
    gae_lambda: float = 0.95
    """GAE's λ: 1 uses measured returns alone, 0 one-step predictions."""
    whiten: bool = True
    """Scale advantages to mean 0 and deviation 1; on several processes each one scales its own."""
    kl_target: float = 0.0
    """Nats a token that kl_coef is adapted to; 0: kl_coef is fixed."""


@dataclass(frozen=True)
class _Batch:
    """A rollout with all that its gradient steps need."""

    rollout: Rollout
    """Masked where the reward is missing."""
    values_N_T: Tensor
    """float32, the critic's values when the rollout was sampled."""
    advantages_N_T: Tensor
    """float32."""
    returns_N_T: Tensor
    """float32, targets of the value loss."""

    def select(self, prompts_P: Tensor) -> _Batch:
        rollout, rows_N = self.rollout.select(prompts_P), self.rollout.rows_of(prompts_P)
        t = rollout.tokens_N_T.shape[1]
        return _Batch(
            rollout, self.values_N_T[rows_N, :t], self.advantages_N_T[rows_N, :t], self.returns_N_T[rows_N, :t]
        )


@dataclass
class PPO(Learner):
    """Proximal policy optimization of one policy and its critic."""

    config: PPOConfig
    """Settings."""
    value_head: torch.nn.Linear = field(init=False)
    """The critic: a linear head on the policy's last hidden state."""
    kl_coef: float = field(init=False)
    """Current weight of the KL penalty."""

    def __post_init__(self) -> None:
        self.kl_coef = self.config.kl_coef
        # Zeros: an untrained critic predicts 0, and no random number is drawn for its weights.
        width = self.model.config.get_text_config().hidden_size
        self.value_head = torch.nn.utils.skip_init(torch.nn.Linear, width, 1, device=self.accelerator.device)
        for parameter in self.value_head.parameters():
            torch.nn.init.zeros_(parameter)
        super().__post_init__()

    def _parameter_groups(self) -> list[dict[str, Any]]:
        head = {"params": list(self.value_head.parameters()), "scale": self.config.value_scale}
        return [*super()._parameter_groups(), head]

    def update(self, rollout: Rollout, rewards_P_G: Tensor, anchor_pairs: Sequence[Pair] = ()) -> dict[str, float]:
        """Learn from one rollout; its `hidden_N_T_D` saves a forward pass for the old values.

        Args:
            rewards_P_G: one reward a rewrite; a rewrite whose reward is missing (NaN) is left out of all losses.
            anchor_pairs: pairs for the supervised anchor.

        Returns:
            Metrics under TRL's names; `kl` is the rollout's, before the update.
        """
        self._set_learning_rate()
        rewards_P_G = rewards_P_G.to(rollout.mask_N_T.device)
        known_P_G = ~torch.isnan(rewards_P_G)
        useful_P = known_P_G.any(dim=1).nonzero().squeeze(1)
        batch, metrics = None, {"kl": 0.0}
        if len(useful_P):
            known = replace(rollout, mask_N_T=rollout.mask_N_T * known_P_G.flatten()[:, None])
            batch, metrics = self._prepare(known.select(useful_P), rewards_P_G[useful_P].flatten())
        minibatches = [
            places_P
            for epoch in range(self.config.epochs)
            for places_P in self._minibatches(self._shuffled(useful_P, epoch))
        ]
        steps = [
            self._step(batch.select(places_P) if batch and len(places_P) else None, anchor_pairs)
            for places_P in minibatches
        ]
        self._adapt_kl_coef(metrics["kl"])
        return metrics | {"kl_coef": self.kl_coef} | (mean_metrics(steps) or {"loss": 0.0})

    def _prepare(self, rollout: Rollout, rewards_N: Tensor) -> tuple[_Batch, dict[str, float]]:
        """Values, token rewards, advantages and returns under the policy that sampled; metrics."""
        mask_N_T, kl = rollout.mask_N_T, 0.0
        rewards_N_T = _at_last_token(rewards_N, mask_N_T)
        if self.config.kl_coef:
            reference_N_T = self._reference_logprobs(rollout)
            kl = aggregate(kl_k3(rollout.logprobs_N_T, reference_N_T), mask_N_T, "token").item()
            rewards_N_T = rewards_N_T - self.kl_coef * (rollout.logprobs_N_T - reference_N_T) * mask_N_T
        values_N_T = self._old_values(rollout)
        advantages_N_T, returns_N_T = generalized_advantages(
            rewards_N_T, values_N_T, mask_N_T, self.config.gamma, self.config.gae_lambda
        )
        metrics = {"kl": kl, "value/explained_variance": _explained_variance(values_N_T, returns_N_T, mask_N_T)}
        if self.config.whiten:
            advantages_N_T = whiten(advantages_N_T, mask_N_T)
        return _Batch(rollout, values_N_T, advantages_N_T, returns_N_T), metrics

    @torch.no_grad()
    def _old_values(self, rollout: Rollout) -> Tensor:
        """The critic's value of the state that each token was sampled from, (N, T)."""
        hidden_N_T_D = rollout.hidden_N_T_D
        if hidden_N_T_D is None:
            hidden_N_T_D = score(self.model, rollout, self.config.temperature, hidden=True).hidden_N_T_D
        return self._values(hidden_N_T_D)

    def _values(self, hidden_N_T_D: Tensor | None) -> Tensor:
        return self.value_head(hidden_N_T_D).squeeze(-1)

    def _shuffled(self, prompts_P: Tensor, epoch: int) -> Tensor:
        """Positions of the prompts in this epoch's order; seeded by the update, so equal in a resumed run."""
        if not self.config.minibatch:
            return torch.arange(len(prompts_P))
        generator = torch.Generator().manual_seed(self.updates * self.config.epochs + epoch)
        return torch.randperm(len(prompts_P), generator=generator)

    def _step(self, batch: _Batch | None, anchor_pairs: Sequence[Pair]) -> dict[str, float]:
        """One gradient step; None where only other processes have prompts left."""
        if batch is None:
            return self._gradient_step(self._empty_loss(), anchor_pairs)
        loss, metrics = self.loss(batch)
        return metrics | self._gradient_step(loss, anchor_pairs)

    def loss(self, batch: _Batch) -> tuple[Tensor, dict[str, float]]:
        """Clipped surrogate plus value_coef × clipped value loss, and metrics."""
        config, rollout, mask_N_T = self.config, batch.rollout, batch.rollout.mask_N_T
        logprobs_N_T, entropy_N_T, hidden_N_T_D = score(self.model, rollout, config.temperature, hidden=True)
        policy_N_T, clipped_N_T = clipped_policy_loss(
            log_ratios(logprobs_N_T, rollout.logprobs_N_T, mask_N_T),
            batch.advantages_N_T,
            config.clip_low,
            config.clip_high,
        )
        value_N_T, value_clipped_N_T = clipped_value_loss(
            self._values(hidden_N_T_D), batch.values_N_T, batch.returns_N_T, config.value_clip
        )
        token_metrics = {
            "clip_ratio": clipped_N_T.float(),
            "entropy": entropy_N_T,
            "value/loss": value_N_T.detach(),
            "value/clip_ratio": value_clipped_N_T.float(),
        }
        metrics = {name: aggregate(values_N_T, mask_N_T, "token").item() for name, values_N_T in token_metrics.items()}
        return self._mean_loss(policy_N_T + config.value_coef * value_N_T, mask_N_T), metrics

    def _adapt_kl_coef(self, kl: float) -> None:
        """Move `kl_coef` so that the KL approaches its target; equal on every process."""
        if not self.config.kl_target:
            return
        mean = self.accelerator.reduce(torch.tensor(kl, device=self.accelerator.device), "mean")
        self.kl_coef = adapted_kl_coef(self.kl_coef, mean.item(), self.config.kl_target)

    def state_dict(self) -> dict[str, Any]:
        """All that the next update depends on besides the policy's weights."""
        return super().state_dict() | {"value_head": self.value_head.state_dict(), "kl_coef": self.kl_coef}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self.value_head.load_state_dict(state["value_head"])
        self.kl_coef = state["kl_coef"]


def _at_last_token(rewards_N: Tensor, mask_N_T: Tensor) -> Tensor:
    """Each row's reward at its last token, 0 elsewhere; 0 everywhere where it is missing."""
    last_N = (mask_N_T.sum(dim=1).long() - 1).clamp(min=0)
    known_N = torch.nan_to_num(rewards_N).to(mask_N_T.dtype)
    return torch.zeros_like(mask_N_T).scatter(1, last_N[:, None], known_N[:, None]) * mask_N_T


def _explained_variance(values_N_T: Tensor, returns_N_T: Tensor, mask_N_T: Tensor) -> float:
    """1 − variance of the critic's errors / variance of the returns; 0 where the returns do not vary."""
    known = mask_N_T.bool()
    returns_M, errors_M = returns_N_T[known], (returns_N_T - values_N_T)[known]
    variance = returns_M.var(correction=0)
    return (1.0 - errors_M.var(correction=0) / variance).item() if variance > 0 else 0.0
