"""The least time that an online update can take on a machine, counted from its batch: operations of its matrix products
over the measured peak, or bytes that must pass over the measured bandwidth, whichever takes longer.

    least = floors(Shape.of(model), rollout, useful_P, Machine.measure(device))     # seconds by phase

Python, small arrays, softmax and norms are not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agents.policy.rollout import Rollout

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Machine:
    """flops: operations a second of a large matrix product. bandwidth: bytes a second of a sum in
    place, read and written."""

    flops: float
    bandwidth: float

    @classmethod
    def measure(cls, device: torch.device, size: int = 1_024, length: int = 1 << 24) -> Machine:
        """The best of three of each, in a tenth of a second on a core."""
        a = torch.rand(size, size, device=device)
        source = torch.rand(length, device=device)
        target = torch.zeros_like(source)
        product, added = (min(_timed(work) for _ in range(3)) for work in (lambda: a @ a, lambda: target.add_(source)))
        return cls(2 * size**3 / product, 3 * FLOAT * length / added)

    def least(self, operations: float, moved: float) -> float:
        """Seconds that no implementation can beat."""
        return max(operations / self.flops, moved / self.bandwidth)


def now() -> float:
    """Seconds, when all that was started is done: of CPU where one thread computes, for other jobs do not disturb
    them, else of the wall."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time() if one_thread() else time.perf_counter()


def one_thread() -> bool:
    """Whether the work is done on the processor, by a single thread."""
    return torch.get_num_threads() == 1 and not torch.cuda.is_available()


def _timed(work: Callable[[], Any]) -> float:
    start = now()
    work()
    return now() - start


@dataclass(frozen=True)
class Shape:
    """What a causal LM costs. inner, head: weights of its layers and of its output layer. width: of its states."""

    weights: int
    inner: int
    head: int
    width: int
    layers: int
    vocabulary: int

    @classmethod
    def of(cls, model: Any) -> Shape:
        config, head = model.config.get_text_config(), model.get_output_embeddings().weight
        embedding = model.get_input_embeddings().weight
        weights = sum(p.numel() for p in model.parameters())
        inner = weights - embedding.numel() - (0 if head is embedding else head.numel())
        return cls(weights, inner, head.numel(), config.hidden_size, config.num_hidden_layers, head.shape[0])

    def operations(self, read: float, predicted: float, looks: float) -> float:
        """Of a forward pass: positions read, positions whose logits are made, pairs of positions in attention."""
        return 2 * self.inner * read + 2 * self.head * predicted + 4 * self.width * self.layers * looks


def floors(shape: Shape, rollout: Rollout, useful_P: Tensor, machine: Machine) -> dict[str, float]:
    """Least seconds of sampling this rollout and of learning from its useful groups, by phase."""
    step = rollout.select(useful_P) if len(useful_P) else None
    least = {"sample": _sampling(shape, rollout, machine)}
    if step is None:
        return least
    prompt_P, fed_N = step.prompt_mask_P_Tp.sum(dim=1).double(), (step.mask_N_T.sum(dim=1) - 1).double()
    predicted = len(prompt_P) + float(fed_N.sum())
    looks = float((prompt_P * (prompt_P + 1) / 2).sum() + _looks(prompt_P, fed_N, step.group_size))
    operations = shape.operations(float(prompt_P.sum() + fed_N.sum()), predicted, looks)
    logits, weights = FLOAT * predicted * shape.vocabulary, FLOAT * shape.weights
    least["score"] = machine.least(operations, weights + 2 * logits)
    least["backward"] = machine.least(2 * operations, 2 * weights + 2 * logits)
    # The norm reads the gradients; AdamW reads weights, gradients and two moments and writes all but the gradients.
    least["optimiser"] = machine.least(0, 8 * weights)
    return least


def _looks(prompt_P: Tensor, fed_N: Tensor, group_size: int) -> Tensor:
    """Pairs of positions that attention compares for the completions."""
    return (prompt_P.repeat_interleave(group_size) * fed_N + fed_N * (fed_N + 1) / 2).sum()


def _sampling(shape: Shape, rollout: Rollout, machine: Machine) -> float:
    """The prompts in one pass, then a pass a step, which reads all weights and the keys and values of who goes on."""
    prompt_P, weights = rollout.prompt_mask_P_Tp.sum(dim=1).double(), FLOAT * (shape.inner + shape.head)
    first = shape.operations(float(prompt_P.sum()), len(prompt_P), float((prompt_P * (prompt_P + 1) / 2).sum()))
    total = machine.least(first, weights)
    prompt_N = prompt_P.repeat_interleave(rollout.group_size)
    for step in range(1, rollout.tokens_N_T.shape[1]):
        alive_N = rollout.mask_N_T[:, step].double()
        rows, looks = float(alive_N.sum()), float((alive_N * (prompt_N + step)).sum())
        cache = 2 * FLOAT * shape.width * shape.layers * looks
        total += machine.least(shape.operations(rows, rows, looks), weights + cache)
    return total
