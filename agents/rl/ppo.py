"""PPO (Schulman et al. 2017): a value head, GAE over tokens, clipped policy and value losses, a KL penalty.

    optimizer = PPO(student.model, student.tokenizer, PPOConfig(1e-4), Accelerator())
    metrics = optimizer.update(rollout, rewards_PG)

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
    values_NT: Tensor
    """float32, the critic's values when the rollout was sampled."""
    advantages_NT: Tensor
    """float32."""
    returns_NT: Tensor
    """float32, targets of the value loss."""

    def select(self, prompts_P: Tensor) -> _Batch:
        rollout, rows_N = self.rollout.select(prompts_P), self.rollout.rows_of(prompts_P)
        t = rollout.tokens_NT.shape[1]
        return _Batch(rollout, self.values_NT[rows_N, :t], self.advantages_NT[rows_N, :t], self.returns_NT[rows_N, :t])


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

    def update(self, rollout: Rollout, rewards_PG: Tensor, anchor_pairs: Sequence[Pair] = ()) -> dict[str, float]:
        """Learn from one rollout; its `hidden_NTD` saves a forward pass for the old values.

        Args:
            rewards_PG: one reward a rewrite; a rewrite whose reward is missing (NaN) is left out of all losses.
            anchor_pairs: pairs for the supervised anchor.

        Returns:
            Metrics under TRL's names; `kl` is the rollout's, before the update.
        """
        self._set_learning_rate()
        rewards_PG = rewards_PG.to(rollout.mask_NT.device)
        known_PG = ~torch.isnan(rewards_PG)
        useful_P = known_PG.any(dim=1).nonzero().squeeze(1)
        batch, metrics = None, {"kl": 0.0}
        if len(useful_P):
            known = replace(rollout, mask_NT=rollout.mask_NT * known_PG.flatten()[:, None])
            batch, metrics = self._prepare(known.select(useful_P), rewards_PG[useful_P].flatten())
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
        mask_NT, kl = rollout.mask_NT, 0.0
        rewards_NT = _at_last_token(rewards_N, mask_NT)
        if self.config.kl_coef:
            reference_NT = self._reference_logprobs(rollout)
            kl = aggregate(kl_k3(rollout.logprobs_NT, reference_NT), mask_NT, "token").item()
            rewards_NT = rewards_NT - self.kl_coef * (rollout.logprobs_NT - reference_NT) * mask_NT
        values_NT = self._old_values(rollout)
        advantages_NT, returns_NT = generalized_advantages(
            rewards_NT, values_NT, mask_NT, self.config.gamma, self.config.gae_lambda
        )
        metrics = {"kl": kl, "value/explained_variance": _explained_variance(values_NT, returns_NT, mask_NT)}
        if self.config.whiten:
            advantages_NT = whiten(advantages_NT, mask_NT)
        return _Batch(rollout, values_NT, advantages_NT, returns_NT), metrics

    @torch.no_grad()
    def _old_values(self, rollout: Rollout) -> Tensor:
        """The critic's value of the state that each token was sampled from, (N, T)."""
        hidden_NTD = rollout.hidden_NTD
        if hidden_NTD is None:
            hidden_NTD = score(self.model, rollout, self.config.temperature, hidden=True).hidden_NTD
        return self._values(hidden_NTD)

    def _values(self, hidden_NTD: Tensor | None) -> Tensor:
        return self.value_head(hidden_NTD).squeeze(-1)

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
        config, rollout, mask_NT = self.config, batch.rollout, batch.rollout.mask_NT
        logprobs_NT, entropy_NT, hidden_NTD = score(self.model, rollout, config.temperature, hidden=True)
        policy_NT, clipped_NT = clipped_policy_loss(
            log_ratios(logprobs_NT, rollout.logprobs_NT, mask_NT),
            batch.advantages_NT,
            config.clip_low,
            config.clip_high,
        )
        value_NT, value_clipped_NT = clipped_value_loss(
            self._values(hidden_NTD), batch.values_NT, batch.returns_NT, config.value_clip
        )
        token_metrics = {
            "clip_ratio": clipped_NT.float(),
            "entropy": entropy_NT,
            "value/loss": value_NT.detach(),
            "value/clip_ratio": value_clipped_NT.float(),
        }
        metrics = {name: aggregate(values_NT, mask_NT, "token").item() for name, values_NT in token_metrics.items()}
        return self._mean_loss(policy_NT + config.value_coef * value_NT, mask_NT), metrics

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


def _at_last_token(rewards_N: Tensor, mask_NT: Tensor) -> Tensor:
    """Each row's reward at its last token, 0 elsewhere; 0 everywhere where it is missing."""
    last_N = (mask_NT.sum(dim=1).long() - 1).clamp(min=0)
    known_N = torch.nan_to_num(rewards_N).to(mask_NT.dtype)
    return torch.zeros_like(mask_NT).scatter(1, last_N[:, None], known_N[:, None]) * mask_NT


def _explained_variance(values_NT: Tensor, returns_NT: Tensor, mask_NT: Tensor) -> float:
    """1 − variance of the critic's errors / variance of the returns; 0 where the returns do not vary."""
    known = mask_NT.bool()
    returns_M, errors_M = returns_NT[known], (returns_NT - values_NT)[known]
    variance = returns_M.var(correction=0)
    return (1.0 - errors_M.var(correction=0) / variance).item() if variance > 0 else 0.0
