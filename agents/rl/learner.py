"""What PPO, GRPO and DPO share: AdamW and its schedule, the reference policy, the supervised anchor, the gradient step.

On several processes (`accelerate launch`) each has its own part of the batch, and a step is the one that a single
process would take on the whole of it. The gradients are averaged here, not by DistributedDataParallel, because
processes make different numbers of forward passes: what has nothing to teach is not read.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from agents.policy.losses import Aggregation, aggregate, there
from agents.policy.prompt import completion_ids, prompt_ids
from agents.policy.rollout import Rollout, given, score
from qr_env.common.errors import ConfigError


@dataclass(frozen=True)
class LearnerConfig:
    """learning_rate … max_grad_norm: of AdamW; the rate falls to a tenth by `updates` (0: never).
    clip_low, clip_high: of the probability ratio. kl_coef: price of leaving the reference (0: no reference pass at
    all). policy_coef: weight of the reinforcement loss, KL included (0: the anchor alone). anchor_coef: weight of the
    supervised loss on the pairs given to an update. epochs, minibatch: passes over a rollout, and prompts a gradient
    step (0: all). aggregation: how token losses are averaged. temperature: of sampling."""

    learning_rate: float = 1e-4
    warmup_updates: int = 5
    updates: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    clip_low: float = 0.2
    clip_high: float = 0.28
    kl_coef: float = 0.02
    policy_coef: float = 1.0
    anchor_coef: float = 0.0
    epochs: int = 1
    minibatch: int = 0
    aggregation: Aggregation = "token"
    temperature: float = 1.0


@dataclass
class Learner(ABC):
    """The optimiser of one policy. `model` is changed in place; `reference` is frozen (None where nothing reads it).
    `judge_weight` in [0, 1]: how far the judge is believed, a factor of the learning rate (AdamW would undo one of the loss).
    """

    model: Any
    tokenizer: Any
    config: Any
    accelerator: Any
    reference: Any = None
    optimizer: torch.optim.Optimizer = field(init=False)
    updates: int = 0
    judge_weight: float = 1.0

    def __post_init__(self) -> None:
        config = self.config
        self.model = self.accelerator.prepare_model(self.model, evaluation_mode=True).to(self.accelerator.device)
        # Fused, a step reads weights, gradients and moments once; "scale" survives in the state dict.
        optimizer = torch.optim.AdamW(
            self._groups(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.optimizer = self.accelerator.prepare_optimizer(optimizer)
        if self._needs_reference() and self.reference is None:
            self.reference = copy.deepcopy(self.model).eval().requires_grad_(False)

    @abstractmethod
    def update(
        self, rollout: Rollout, rewards_P_G: Tensor, anchor_pairs: Sequence[tuple[str, str]] = ()
    ) -> dict[str, float]:
        """Learn from one rollout, whose rewards may be missing (NaN); metrics under TRL's names."""

    def _needs_reference(self) -> bool:
        """Whether the loss reads a frozen policy."""
        return bool(self.config.kl_coef)

    def _groups(self) -> list[dict[str, Any]]:
        """Parameter groups of AdamW; "scale" is a factor of the learning rate."""
        return [{"params": [p for p in self.model.parameters() if p.requires_grad], "scale": 1.0}]

    def _schedule(self) -> None:
        """Linear warm-up, then a linear fall to a tenth at the run's planned end, and constant beyond it."""
        self.updates += 1
        config = self.config
        done = min(self.updates / config.updates, 1.0) if config.updates else 0.0
        rate = config.learning_rate * min(1.0, self.updates / max(config.warmup_updates, 1)) * (1 - 0.9 * done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.judge_weight * group.get("scale", 1.0)

    def _parts(self, prompts_P: Tensor) -> list[Tensor]:
        """The prompts of each gradient step, as many steps on every process; some of them may be empty."""
        size = self.config.minibatch or max(len(prompts_P), 1)
        steps = math.ceil(len(prompts_P) / size)
        if self.accelerator.num_processes > 1:
            steps = int(self.accelerator.gather(torch.tensor([steps], device=self.accelerator.device)).max())
        return [prompts_P[i * size : (i + 1) * size] for i in range(steps)]

    def _mean_loss(self, loss_N_T: Tensor, mask_N_T: Tensor) -> Tensor:
        """Aggregated so that the mean over the processes is the aggregate of the whole batch."""
        how = self.config.aggregation
        amount = mask_N_T.sum() if how == "token" else there(mask_N_T)
        return aggregate(loss_N_T, mask_N_T, how, mask_N_T.shape[1]) * self._share(amount)

    def _nothing(self) -> Tensor:
        """The loss of a process without a prompt in this step: it takes part in the others' sums."""
        empty = torch.zeros((0, 1), device=self.accelerator.device)
        return self._mean_loss(empty, empty)

    def _share(self, amount: Tensor) -> Tensor | float:
        """This process's amount of something, over the mean of all processes."""
        if self.accelerator.num_processes == 1:
            return 1.0
        return amount / self.accelerator.reduce(amount.clone(), "mean").clamp(min=1e-9)

    def _descend(self, loss: Tensor, anchor_pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
        """One step of AdamW down the loss and the anchor's; a gradient that is not finite is not taken."""
        metrics = {}
        loss = self.config.policy_coef * loss
        if self.config.anchor_coef:
            anchor, known = self._anchor_loss(anchor_pairs)
            loss = loss + self.config.anchor_coef * anchor
            metrics = known
        self.optimizer.zero_grad(set_to_none=True)
        if loss.requires_grad:
            self.accelerator.backward(loss)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self._average_gradients(parameters)
        norm = float(self.accelerator.clip_grad_norm_(parameters, self.config.max_grad_norm))
        if math.isfinite(norm):
            self.optimizer.step()
        return metrics | {"loss": loss.item(), "grad_norm": norm}

    def _average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """The mean over processes, in one message."""
        if self.accelerator.num_processes == 1:
            return
        for p in (parameters := list(parameters)):
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
        flat = self.accelerator.reduce(flat, "mean")
        for p, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            p.grad = part.view_as(p)

    @torch.no_grad()
    def _reference_logprobs(self, batch: Rollout) -> Tensor:
        return score(self.reference, batch, self.config.temperature).logprobs_N_T

    def _anchor_loss(self, pairs: Sequence[tuple[str, str]]) -> tuple[Tensor, dict[str, float]]:
        """Mean negative log-likelihood of the pairs, a token (JD's finding: RL alone forgets), and its metric."""
        device = next(self.model.parameters()).device
        if not pairs:
            self._share(torch.zeros((), device=device))
            return torch.zeros((), device=device), {}
        prompts = prompt_ids(self.tokenizer, [query for query, _ in pairs])
        completions = completion_ids(self.tokenizer, [rewrite for _, rewrite in pairs])
        batch = given(prompts, completions, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id, device)
        loss = -aggregate(score(self.model, batch).logprobs_N_T, batch.mask_N_T, "token")
        return loss * self._share(batch.mask_N_T.sum()), {"anchor_loss": loss.item()}

    def state_dict(self) -> dict[str, Any]:
        """Everything but the policy's weights that the next update depends on."""
        return {
            "kind": type(self).__name__,
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
            "judge_weight": self.judge_weight,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave.

        Raises:
            ConfigError: another kind of learner gave it.
        """
        kind = state.get("kind", "GRPO")
        if kind != type(self).__name__:
            raise ConfigError(
                f"the checkpoint is {kind}'s; go on with --optimizer {kind.lower()}, or start a new --out"
            )
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates, self.judge_weight = state["updates"], state["judge_weight"]


def mean_metrics(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over the steps that have it."""
    names = dict.fromkeys(name for step in steps for name in step)
    return {
        name: sum(step[name] for step in steps if name in step) / sum(name in step for step in steps) for name in names
    }
