"""A roofline of one online update: the least time that it can take on a machine, counted from its batch.

    least = rooflines(Shape.of(model), rollout, useful_P, Machine.measure(device))     # seconds by phase

Each pass takes the operations of its matrix products over the measured peak, or the bytes that it must move over the
measured bandwidth, whichever is longer (Williams et al. 2009). Python, small arrays, softmax and norms are left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from agents.policy.rollout import Rollout

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Machine:
    """The measured peak of a device."""

    flops: float
    """operations a second of a large matrix product"""
    bandwidth: float
    """bytes a second, read and written, of a sum in place"""

    @classmethod
    def measure(cls, device: torch.device, size: int = 1_024, length: int = 1 << 24) -> Machine:
        """The best of three of each, in a tenth of a second on a core."""
        a = torch.rand(size, size, device=device)
        source = torch.rand(length, device=device)
        target = torch.zeros_like(source)
        product, added = (
            min(_seconds(work) for _ in range(3)) for work in (lambda: a @ a, lambda: target.add_(source))
        )
        return cls(2 * size**3 / product, 3 * FLOAT * length / added)

    def least_seconds(self, operations: float, moved: float) -> float:
        """Seconds that no implementation can beat."""
        return max(operations / self.flops, moved / self.bandwidth)


def device_time() -> float:
    """The clock in seconds, read after all started work is done.

    CPU time where one thread computes, as other jobs do not affect it; else wall-clock time.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time() if one_thread() else time.perf_counter()


def one_thread() -> bool:
    """Whether a single thread of the CPU computes."""
    return torch.get_num_threads() == 1 and not torch.cuda.is_available()


def _seconds(work: Callable[[], object]) -> float:
    start = device_time()
    work()
    return device_time() - start


@dataclass(frozen=True)
class Shape:
    """The size of a causal LM."""

    weights: int
    """all weights"""
    inner: int
    """weights of its layers"""
    head: int
    """weights of its output layer"""
    width: int
    """dimensions of a hidden state"""
    layers: int
    """number of layers"""
    vocabulary: int
    """number of tokens"""

    @classmethod
    def of(cls, model: PreTrainedModel) -> Shape:
        """The size of a model."""
        config = model.config.get_text_config()
        head = cast(Tensor, model.get_output_embeddings().weight)
        embedding = cast(Tensor, model.get_input_embeddings().weight)
        weights = sum(p.numel() for p in model.parameters())
        inner = weights - embedding.numel() - (0 if head is embedding else head.numel())
        return cls(weights, inner, head.numel(), config.hidden_size, config.num_hidden_layers, head.shape[0])

    def operations(self, read: float, predicted: float, attended: float) -> float:
        """Operations of a forward pass.

        Args:
            read: positions read.
            predicted: positions whose logits are computed.
            attended: pairs of positions that attention compares.
        """
        return 2 * self.inner * read + 2 * self.head * predicted + 4 * self.width * self.layers * attended


def rooflines(shape: Shape, rollout: Rollout, useful_P: Tensor, machine: Machine) -> dict[str, float]:
    """Least seconds, by phase, of sampling this rollout and of one update on the groups `useful_P` (indices)."""
    step = rollout.select(useful_P) if len(useful_P) else None
    least = {"sample": _sampling(shape, rollout, machine)}
    if step is None:
        return least
    prompt_P, fed_N = step.prompt_mask_PTp.sum(dim=1).double(), (step.mask_NT.sum(dim=1) - 1).double()
    predicted = len(prompt_P) + float(fed_N.sum())
    attended = float((prompt_P * (prompt_P + 1) / 2).sum() + _attended(prompt_P, fed_N, step.group_size))
    operations = shape.operations(float(prompt_P.sum() + fed_N.sum()), predicted, attended)
    logits, weights = FLOAT * predicted * shape.vocabulary, FLOAT * shape.weights
    least["score"] = machine.least_seconds(operations, weights + 2 * logits)
    least["backward"] = machine.least_seconds(2 * operations, 2 * weights + 2 * logits)
    # The norm reads the gradients; AdamW reads weights, gradients and two moments and writes all but the gradients.
    least["optimizer"] = machine.least_seconds(0, 8 * weights)
    return least


def _attended(prompt_P: Tensor, fed_N: Tensor, group_size: int) -> Tensor:
    """Pairs of positions that attention compares for the completions."""
    return (prompt_P.repeat_interleave(group_size) * fed_N + fed_N * (fed_N + 1) / 2).sum()


def _sampling(shape: Shape, rollout: Rollout, machine: Machine) -> float:
    """One pass over the prompts, then a pass a step over all weights, and keys and values of unfinished rewrites."""
    prompt_P, weights = rollout.prompt_mask_PTp.sum(dim=1).double(), FLOAT * (shape.inner + shape.head)
    first = shape.operations(float(prompt_P.sum()), len(prompt_P), float((prompt_P * (prompt_P + 1) / 2).sum()))
    total = machine.least_seconds(first, weights)
    prompt_N = prompt_P.repeat_interleave(rollout.group_size)
    for step in range(1, rollout.tokens_NT.shape[1]):
        alive_N = rollout.mask_NT[:, step].double()
        rows, attended = float(alive_N.sum()), float((alive_N * (prompt_N + step)).sum())
        cache = 2 * FLOAT * shape.width * shape.layers * attended
        total += machine.least_seconds(shape.operations(rows, rows, attended), weights + cache)
    return total
