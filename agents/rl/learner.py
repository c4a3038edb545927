"""The interface of an optimizer of the policy, and what PPO, GRPO and DPO share: AdamW and its schedule, the reference
policy, the supervised anchor, the gradient step.

With several processes (`accelerate launch`) each one holds its part of the batch, and a step equals that of a single
process on the full batch. Gradients are averaged here and not by DistributedDataParallel, because the number
of forward passes differs between processes: rewrites without a gradient are skipped.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from agents.policy.losses import Aggregation, aggregate, count_sequences
from agents.policy.prompt import completion_ids, text_ids
from agents.policy.rollout import Rollout, rollout_of_completions
from agents.policy.scoring import score
from qr_env.common.errors import ConfigError

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Pair = tuple[str, str]
"""(prompt, good completion)."""


class PolicyOptimizer(Protocol):
    """What `agents.rl.loop.Loop` needs of an optimizer; `GRPO` is the example."""

    judge_weight: float
    """How far the judge is believed, in [0, 1], as the last evaluation found: a factor of the learning rate."""

    @property
    def temperature(self) -> float:
        """At which the student samples."""
        ...

    def update(self, rollout: Rollout, rewards_PG: Tensor, anchor_pairs: Sequence[Pair] = ()) -> dict[str, float]:
        """Update the policy's weights in place from one rollout and its rewards; metrics under TRL's names.

        Args:
            rewards_PG: float32, one reward a rewrite; NaN is missing.
            anchor_pairs: pairs for an additional supervised loss; may be ignored.
        """
        ...

    def reset_moments(self) -> None:
        """Forget the running averages of gradients, after the weights were reset."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that the next update depends on besides the policy's weights."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


@dataclass(frozen=True)
class LearnerConfig:
    """Settings that PPO, GRPO and DPO share."""

    learning_rate: float = 1e-4
    """Of AdamW, after warm-up."""
    warmup_updates: int = 5
    """Updates over which the learning rate rises linearly."""
    updates: int = 0
    """Updates over which the learning rate falls to a tenth; 0: it stays."""
    weight_decay: float = 0.0
    """Of AdamW."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    clip_low: float = 0.2
    """The probability ratio is clipped at 1 − clip_low."""
    clip_high: float = 0.28
    """The probability ratio is clipped at 1 + clip_high."""
    kl_coef: float = 0.02
    """Weight of the KL to the reference policy; 0: no forward pass of the reference."""
    policy_coef: float = 1.0
    """Weight of the reinforcement loss, KL included; 0: the anchor alone."""
    anchor_coef: float = 0.0
    """Weight of the supervised loss on the pairs given to an update."""
    epochs: int = 1
    """Passes over a rollout."""
    minibatch: int = 0
    """Prompts a gradient step; 0: all."""
    aggregation: Aggregation = "token"
    """How the losses of tokens are averaged."""
    temperature: float = 1.0
    """Of sampling."""


@dataclass
class Learner(ABC):
    """Base of PPO, GRPO and DPO: one policy and its AdamW."""

    model: PreTrainedModel
    """The policy; its weights change in place."""
    tokenizer: PreTrainedTokenizerBase
    """The policy's, for the anchor pairs."""
    config: LearnerConfig
    """Settings; each subclass has its own kind."""
    accelerator: Accelerator
    """Device and processes."""
    reference: PreTrainedModel | None = None
    """Frozen reference policy; None: a copy of the policy as it is now, where the loss reads one."""
    optimizer: torch.optim.Optimizer = field(init=False)
    """AdamW."""
    updates: int = 0
    """Updates done."""
    judge_weight: float = 1.0
    """How far the judge is believed, in [0, 1]: a factor of the learning rate (AdamW would undo one of the loss)."""

    def __post_init__(self) -> None:
        config = self.config
        self.model = self.accelerator.prepare_model(self.model, evaluation_mode=True).to(self.accelerator.device)
        # Fused, a step reads weights, gradients and moments once; "scale" survives in the state dict.
        optimizer = torch.optim.AdamW(
            self._parameter_groups(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.optimizer = self.accelerator.prepare_optimizer(optimizer)
        if self._needs_reference() and self.reference is None:
            self.reference = copy.deepcopy(self.model).eval().requires_grad_(False)

    @property
    def temperature(self) -> float:
        """At which the student samples."""
        return self.config.temperature

    @abstractmethod
    def update(self, rollout: Rollout, rewards_PG: Tensor, anchor_pairs: Sequence[Pair] = ()) -> dict[str, float]:
        """Learn from one rollout; see `PolicyOptimizer.update`."""

    def _needs_reference(self) -> bool:
        """Whether the loss reads the reference policy."""
        return bool(self.config.kl_coef)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Parameter groups of AdamW; "scale" is a factor of the learning rate."""
        return [{"params": [p for p in self.model.parameters() if p.requires_grad], "scale": 1.0}]

    def _set_learning_rate(self) -> None:
        """Count an update; linear warm-up, then a linear fall to a tenth at the planned end, constant beyond it."""
        self.updates += 1
        config = self.config
        done = min(self.updates / config.updates, 1.0) if config.updates else 0.0
        rate = config.learning_rate * min(1.0, self.updates / max(config.warmup_updates, 1)) * (1 - 0.9 * done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.judge_weight * group.get("scale", 1.0)

    def _minibatches(self, prompts_P: Tensor) -> list[Tensor]:
        """The prompts of each gradient step; equally many steps on every process, some of them may be empty."""
        size = self.config.minibatch or max(len(prompts_P), 1)
        steps = math.ceil(len(prompts_P) / size)
        if self.accelerator.num_processes > 1:
            steps = int(self.accelerator.gather(torch.tensor([steps], device=self.accelerator.device)).max())
        return [prompts_P[i * size : (i + 1) * size] for i in range(steps)]

    def _mean_loss(self, loss_NT: Tensor, mask_NT: Tensor) -> Tensor:
        """The loss, aggregated so that its mean over the processes is the aggregate over the full batch."""
        how = self.config.aggregation
        amount = mask_NT.sum() if how == "token" else count_sequences(mask_NT)
        return aggregate(loss_NT, mask_NT, how, mask_NT.shape[1]) * self._share(amount)

    def _empty_loss(self) -> Tensor:
        """The loss of a process without a prompt in this step, which takes part in the others' sums."""
        empty = torch.zeros((0, 1), device=self.accelerator.device)
        return self._mean_loss(empty, empty)

    def _share(self, amount: Tensor) -> Tensor | float:
        """This process's amount (of tokens, of sequences) divided by the mean over all processes."""
        if self.accelerator.num_processes == 1:
            return 1.0
        return amount / self.accelerator.reduce(amount.clone(), "mean").clamp(min=1e-9)

    def _gradient_step(self, loss: Tensor, anchor_pairs: Sequence[Pair]) -> dict[str, float]:
        """One step of AdamW on the policy's and the anchor's loss; skipped where the gradient is not finite."""
        metrics: dict[str, float] = {}
        loss = self.config.policy_coef * loss
        if self.config.anchor_coef:
            anchor_loss, metrics = self._anchor_loss(anchor_pairs)
            loss = loss + self.config.anchor_coef * anchor_loss
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
        """Replace the gradients by their mean over the processes, exchanged in one message."""
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
        assert self.reference is not None, "made by __post_init__ where the loss reads it"
        return score(self.reference, batch, self.config.temperature).logprobs_NT

    def _anchor_loss(self, pairs: Sequence[Pair]) -> tuple[Tensor, dict[str, float]]:
        """Negative log-likelihood of the pairs, mean over tokens (RL alone forgets: JD, arXiv 2603.02555), and its
        metric."""
        device = next(self.model.parameters()).device
        if not pairs:
            self._share(torch.zeros((), device=device))
            return torch.zeros((), device=device), {}
        prompts = text_ids(self.tokenizer, [prompt for prompt, _ in pairs])
        completions = completion_ids(self.tokenizer, [completion for _, completion in pairs])
        batch = rollout_of_completions(
            prompts, completions, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id, device
        )
        loss = -aggregate(score(self.model, batch).logprobs_NT, batch.mask_NT, "token")
        return loss * self._share(batch.mask_NT.sum()), {"anchor_loss": loss.item()}

    def reset_moments(self) -> None:
        """Forget AdamW's running averages."""
        self.optimizer.state.clear()

    def state_dict(self) -> dict[str, Any]:
        """All that the next update depends on besides the policy's weights."""
        return {
            "kind": type(self).__name__,
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
            "judge_weight": self.judge_weight,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ConfigError: the state is another kind of optimizer's.
        """
        kind = state["kind"]
        if kind != type(self).__name__:
            raise ConfigError(
                f"the checkpoint is {kind}'s; continue with optimizer={kind.lower()!r}, or start a run in another `out`"
            )
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates, self.judge_weight = state["updates"], state["judge_weight"]


def mean_metrics(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each metric over the gradient steps that have it."""
    names = dict.fromkeys(name for step in steps for name in step)
    return {
        name: sum(step[name] for step in steps if name in step) / sum(name in step for step in steps) for name in names
    }
