"""PPO (Schulman et al. 2017) on rewrites: a value head, GAE over tokens, clipped policy and value losses, priced KL.

    optimizer = PPO(student.model, student.tokenizer, PPOConfig(1e-4), Accelerator())
    metrics = optimizer.update(rollout, rewards_P_G)

The same rollouts, rewards and interface as `agents.rl.grpo.GRPO`. A rewrite is an episode, a token a step: the reward is
paid at the last token, the price of KL at each (Ziegler et al. 2019, eq. 2). The baseline is learned and not the
group's mean, so groups of one rewrite teach too, and so do groups whose rewrites all earn the same.
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
from agents.policy.rollout import Rollout, score
from agents.rl.learner import Learner, LearnerConfig, mean_metrics


@dataclass(frozen=True)
class PPOConfig(LearnerConfig):
    """As `LearnerConfig`, and: value_scale: the value head learns so many times faster than the policy. value_coef:
    weight of its loss, which also reaches the policy's layers. value_clip: how far a value may move in an update.
    gamma, gae_lambda: discount, and how much of the return is measured rather than predicted. whiten: advantages to
    mean 0 and deviation 1, on several processes each its own. kl_target: nats a token that kl_coef is steered to (0:
    kl_coef is fixed)."""

    clip_high: float = 0.2
    epochs: int = 2
    value_scale: float = 10.0
    value_coef: float = 0.1
    value_clip: float = 0.2
    gamma: float = 1.0
    gae_lambda: float = 0.95
    whiten: bool = True
    kl_target: float = 0.0


@dataclass(frozen=True)
class _Batch:
    """A rollout with all that its gradient steps need, (N, T) each; its mask is 0 where the reward is missing."""

    rollout: Rollout
    values_N_T: Tensor
    advantages_N_T: Tensor
    returns_N_T: Tensor

    def select(self, prompts_P: Tensor) -> _Batch:
        rollout, rows_N = self.rollout.select(prompts_P), self.rollout.rows_of(prompts_P)
        t = rollout.tokens_N_T.shape[1]
        return _Batch(
            rollout, self.values_N_T[rows_N, :t], self.advantages_N_T[rows_N, :t], self.returns_N_T[rows_N, :t]
        )


@dataclass
class PPO(Learner):
    """The optimiser of one policy and its critic, a linear head on the policy's last layer; `config`: `PPOConfig`."""

    config: PPOConfig
    value_head: torch.nn.Linear = field(init=False)
    kl_coef: float = field(init=False)

    def __post_init__(self) -> None:
        self.kl_coef = self.config.kl_coef
        # The first values are 0: a critic that knows nothing says so, and no random number is drawn for it.
        width = self.model.config.get_text_config().hidden_size
        self.value_head = torch.nn.utils.skip_init(torch.nn.Linear, width, 1, device=self.accelerator.device)
        for parameter in self.value_head.parameters():
            torch.nn.init.zeros_(parameter)
        super().__post_init__()

    def _groups(self) -> list[dict[str, Any]]:
        head = {"params": list(self.value_head.parameters()), "scale": self.config.value_scale}
        return [*super()._groups(), head]

    def update(
        self, rollout: Rollout, rewards_P_G: Tensor, anchor_pairs: Sequence[tuple[str, str]] = ()
    ) -> dict[str, float]:
        """Learn from one rollout; with its `hidden_N_T_D` no pass is needed before the first gradient step.

        Args:
            rewards_P_G: one reward a rewrite; NaN is missing and teaches neither policy nor critic.
            anchor_pairs: (query, good rewrite) pairs of the supervised anchor.

        Returns:
            metrics under TRL's names; `kl` is the rollout's, before the update.
        """
        self._schedule()
        rewards_P_G = rewards_P_G.to(rollout.mask_N_T.device)
        known_P_G = ~torch.isnan(rewards_P_G)
        useful_P = known_P_G.any(dim=1).nonzero().squeeze(1)
        batch, metrics = None, {"kl": 0.0}
        if len(useful_P):
            known = replace(rollout, mask_N_T=rollout.mask_N_T * known_P_G.flatten()[:, None])
            batch, metrics = self._prepare(known.select(useful_P), rewards_P_G[useful_P].flatten())
        parts = [part for epoch in range(self.config.epochs) for part in self._parts(self._shuffled(useful_P, epoch))]
        steps = [self._step(batch.select(part) if batch and len(part) else None, anchor_pairs) for part in parts]
        self._steer(metrics["kl"])
        return metrics | {"kl_coef": self.kl_coef} | (mean_metrics(steps) or {"loss": 0.0})

    def _prepare(self, rollout: Rollout, rewards_N: Tensor) -> tuple[_Batch, dict[str, float]]:
        """Values, rewards of tokens, advantages and returns under the policy that sampled."""
        mask_N_T, kl = rollout.mask_N_T, 0.0
        rewards_N_T = _at_the_end(rewards_N, mask_N_T)
        if self.config.kl_coef:
            reference_N_T = self._reference_logprobs(rollout)
            kl = aggregate(kl_k3(rollout.logprobs_N_T, reference_N_T), mask_N_T, "token").item()
            rewards_N_T = rewards_N_T - self.kl_coef * (rollout.logprobs_N_T - reference_N_T) * mask_N_T
        values_N_T = self._old_values(rollout)
        advantages_N_T, returns_N_T = generalized_advantages(
            rewards_N_T, values_N_T, mask_N_T, self.config.gamma, self.config.gae_lambda
        )
        metrics = {"kl": kl, "value/explained_variance": _explained(values_N_T, returns_N_T, mask_N_T)}
        if self.config.whiten:
            advantages_N_T = whiten(advantages_N_T, mask_N_T)
        return _Batch(rollout, values_N_T, advantages_N_T, returns_N_T), metrics

    @torch.no_grad()
    def _old_values(self, rollout: Rollout) -> Tensor:
        """Values of the states that the tokens were sampled from, (N, T)."""
        hidden_N_T_D = rollout.hidden_N_T_D
        if hidden_N_T_D is None:
            hidden_N_T_D = score(self.model, rollout, self.config.temperature, hidden=True).hidden_N_T_D
        return self._values(hidden_N_T_D)

    def _values(self, hidden_N_T_D: Tensor | None) -> Tensor:
        return self.value_head(hidden_N_T_D).squeeze(-1)

    def _shuffled(self, prompts_P: Tensor, epoch: int) -> Tensor:
        """Places of the prompts in this epoch's order, the same in a resumed run."""
        if not self.config.minibatch:
            return torch.arange(len(prompts_P))
        generator = torch.Generator().manual_seed(self.updates * self.config.epochs + epoch)
        return torch.randperm(len(prompts_P), generator=generator)

    def _step(self, batch: _Batch | None, anchor_pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
        """One gradient step; None: the other processes have something to learn from."""
        if batch is None:
            return self._descend(self._nothing(), anchor_pairs)
        loss, metrics = self.loss(batch)
        return metrics | self._descend(loss, anchor_pairs)

    def loss(self, batch: _Batch) -> tuple[Tensor, dict[str, float]]:
        """Clipped surrogate plus value_coef × clipped value loss, and its metrics."""
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
        figures = {
            "clip_ratio": clipped_N_T.float(),
            "entropy": entropy_N_T,
            "value/loss": value_N_T.detach(),
            "value/clip_ratio": value_clipped_N_T.float(),
        }
        metrics = {name: aggregate(values_N_T, mask_N_T, "token").item() for name, values_N_T in figures.items()}
        return self._mean_loss(policy_N_T + config.value_coef * value_N_T, mask_N_T), metrics

    def _steer(self, kl: float) -> None:
        """Move the price of KL towards its target; the same price on every process."""
        if not self.config.kl_target:
            return
        mean = self.accelerator.reduce(torch.tensor(kl, device=self.accelerator.device), "mean")
        self.kl_coef = adapted_kl_coef(self.kl_coef, mean.item(), self.config.kl_target)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the policy's weights that the next update depends on."""
        return super().state_dict() | {"value_head": self.value_head.state_dict(), "kl_coef": self.kl_coef}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        super().load_state_dict(state)
        self.value_head.load_state_dict(state["value_head"])
        self.kl_coef = state["kl_coef"]


def _at_the_end(rewards_N: Tensor, mask_N_T: Tensor) -> Tensor:
    """Each row's reward at its last token, 0 elsewhere; a missing one is paid nowhere."""
    last_N = (mask_N_T.sum(dim=1).long() - 1).clamp(min=0)
    paid_N = torch.nan_to_num(rewards_N).to(mask_N_T.dtype)
    return torch.zeros_like(mask_N_T).scatter(1, last_N[:, None], paid_N[:, None]) * mask_N_T


def _explained(values_N_T: Tensor, returns_N_T: Tensor, mask_N_T: Tensor) -> float:
    """1 − variance of what the critic missed / variance of the returns; 0 where the returns do not vary."""
    known = mask_N_T.bool()
    returns_M, missed_M = returns_N_T[known], (returns_N_T - values_N_T)[known]
    spread = returns_M.var(correction=0)
    return (1.0 - missed_M.var(correction=0) / spread).item() if spread > 0 else 0.0
