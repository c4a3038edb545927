"""GRPO (Shao et al. 2024, arXiv 2402.03300): groups of rewrites, their mean reward as the baseline, no critic.

`GRPO.update(rollout, rewards)` is one learning step; where the rollout and the rewards come from is not its business.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from agents.losses import Aggregation, aggregate, clipped_policy_loss, group_advantages, kl_k3, zero_variance_groups
from agents.prompt import completion_ids, prompt_ids
from agents.rollout import Rollout, completion_logprobs, pad_left, pad_right


@dataclass(frozen=True)
class GRPOConfig:
    """learning_rate … max_grad_norm: of AdamW; the rate falls to a tenth by `updates` (0: never).
    clip_low, clip_high: of the probability ratio. kl_coef: price of leaving the reference (0: no reference pass at
    all). anchor_coef: weight of the supervised loss on the pairs given to an update. normalize_std: divide advantages
    by the group's deviation. epochs, minibatch: passes over a rollout, and prompts a gradient step (0: all).
    aggregation: how token losses are averaged. temperature: of sampling."""

    learning_rate: float = 1e-4
    warmup_updates: int = 5
    updates: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    clip_low: float = 0.2
    clip_high: float = 0.28
    kl_coef: float = 0.02
    anchor_coef: float = 0.0
    normalize_std: bool = False
    epochs: int = 1
    minibatch: int = 0
    aggregation: Aggregation = "token"
    temperature: float = 1.0


@dataclass
class GRPO:
    """The optimiser of one policy. `model` is changed in place; `reference` is frozen (None at kl_coef 0). `trust` in
    [0, 1]: how far the judge is believed, a factor of the learning rate (AdamW would undo one of the loss)."""

    model: Any
    tokenizer: Any
    config: GRPOConfig
    accelerator: Any
    reference: Any = None
    optimizer: torch.optim.Optimizer = field(init=False)
    updates: int = 0
    trust: float = 1.0

    def __post_init__(self) -> None:
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        config = self.config
        optimizer = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay, fused=False)
        self.model, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        if config.kl_coef and self.reference is None:
            self.reference = copy.deepcopy(self.accelerator.unwrap_model(self.model)).eval().requires_grad_(False)

    def update(
        self, rollout: Rollout, rewards_P_G: Tensor, anchor_pairs: Sequence[tuple[str, str]] = ()
    ) -> dict[str, float]:
        """Learn from one rollout.

        Args:
            rewards_P_G: one reward a rewrite; NaN is missing and teaches nothing.
            anchor_pairs: (query, good rewrite) pairs of the supervised anchor.

        Returns:
            metrics under TRL's names; groups without differences are skipped and counted.
        """
        flat_P = zero_variance_groups(rewards_P_G)
        advantages_P_G = group_advantages(rewards_P_G, self.config.normalize_std)
        useful = (~flat_P).nonzero().squeeze(1)
        metrics = {"groups/zero_variance": flat_P.float().mean().item()}
        self._schedule()
        if len(useful) == 0:
            return metrics | {"loss": 0.0}
        kept, advantages_N = _select(rollout, useful), advantages_P_G[useful].flatten()
        size = self.config.minibatch or len(useful)
        parts = [slice(i, min(i + size, len(useful))) for i in range(0, len(useful), size)]
        steps = [
            self._step(kept, advantages_N, part, anchor_pairs) for _ in range(self.config.epochs) for part in parts
        ]
        return metrics | {name: sum(step[name] for step in steps) / len(steps) for name in steps[0]}

    def _schedule(self) -> None:
        """Linear warm-up, then a linear fall to a tenth at the run's planned end, and constant beyond it."""
        self.updates += 1
        done = min(self.updates / self.config.updates, 1.0) if self.config.updates else 0.0
        rate = (
            self.config.learning_rate * min(1.0, self.updates / max(self.config.warmup_updates, 1)) * (1 - 0.9 * done)
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.trust

    def _step(
        self, rollout: Rollout, advantages_N: Tensor, part: slice, anchor_pairs: Sequence[tuple[str, str]]
    ) -> dict[str, float]:
        """One gradient step on some of the prompts."""
        batch = rollout.rows(part)
        advantages_N = advantages_N[part.start * rollout.group_size : part.stop * rollout.group_size]
        loss, metrics = self.loss(batch, advantages_N.to(batch.mask_N_T.device))
        if self.config.anchor_coef and anchor_pairs:
            anchor = self._anchor_loss(anchor_pairs)
            loss = loss + self.config.anchor_coef * anchor
            metrics["anchor_loss"] = anchor.item()
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        if math.isfinite(float(norm)):
            self.optimizer.step()
        return metrics | {"loss": loss.item(), "grad_norm": float(norm)}

    def loss(self, batch: Rollout, advantages_N: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Clipped surrogate plus kl_coef × KL to the reference, and its metrics."""
        config, mask_N_T = self.config, batch.mask_N_T
        logprobs_N_T, entropy_N_T = completion_logprobs(self.model, batch, config.temperature)
        loss_N_T, clipped_N_T = clipped_policy_loss(
            logprobs_N_T, batch.logprobs_N_T, advantages_N, config.clip_low, config.clip_high
        )
        metrics = {
            "clip_ratio": aggregate(clipped_N_T.float(), mask_N_T, "token").item(),
            "entropy": aggregate(entropy_N_T, mask_N_T, "token").item(),
        }
        if config.kl_coef:
            kl_N_T = kl_k3(logprobs_N_T, self._reference_logprobs(batch))
            metrics["kl"] = aggregate(kl_N_T.detach(), mask_N_T, "token").item()
            loss_N_T = loss_N_T + config.kl_coef * kl_N_T
        return aggregate(loss_N_T, mask_N_T, config.aggregation, mask_N_T.shape[1]), metrics

    @torch.no_grad()
    def _reference_logprobs(self, batch: Rollout) -> Tensor:
        return completion_logprobs(self.reference, batch, self.config.temperature)[0]

    def _anchor_loss(self, pairs: Sequence[tuple[str, str]]) -> Tensor:
        """Mean negative log-likelihood of the pairs, a token (JD's finding: RL alone forgets)."""
        device = next(self.model.parameters()).device
        prompts = prompt_ids(self.tokenizer, [query for query, _ in pairs])
        completions = completion_ids(self.tokenizer, [rewrite for _, rewrite in pairs])
        ids, mask = pad_left(prompts, self.tokenizer.pad_token_id, device)
        tokens, token_mask = pad_right(completions, self.tokenizer.eos_token_id, device)
        batch = Rollout(ids, mask, tokens, token_mask, torch.zeros_like(token_mask), 1)
        return -aggregate(completion_logprobs(self.model, batch)[0], token_mask, "token")

    def state_dict(self) -> dict[str, Any]:
        """Everything but the weights that the next update depends on."""
        return {"optimizer": self.optimizer.state_dict(), "updates": self.updates, "trust": self.trust}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates, self.trust = state["updates"], state["trust"]


def _select(rollout: Rollout, prompts: Tensor) -> Rollout:
    """The groups of some prompts, cut to their own longest completion."""
    g = rollout.group_size
    rows = (prompts[:, None] * g + torch.arange(g)).flatten()
    longest = int(rollout.mask_N_T[rows].sum(dim=1).max())
    width = int(rollout.prompt_mask_P_Tp[prompts].sum(dim=1).max())
    return Rollout(
        rollout.prompt_ids_P_Tp[prompts, -width:],
        rollout.prompt_mask_P_Tp[prompts, -width:],
        rollout.tokens_N_T[rows, :longest],
        rollout.mask_N_T[rows, :longest],
        rollout.logprobs_N_T[rows, :longest],
        g,
    )
