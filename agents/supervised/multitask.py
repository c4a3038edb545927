"""Multi-task supervised fine-tuning (BEQUE, arXiv 2311.03758 §3.1; JD, arXiv 2603.02555): one student, several tasks.

    report = fine_tune_tasks(student, examples, weights={"rewrite": 0.7, "tagging": 0.3}, learning_rate=1e-3)
    report.after["tagging"].exact           # share of held-out answers that the student reproduces exactly

The `sft` stages of `qr recipe` run it. Each task has its own prompt (`agents.examples.tasks`). The mixture is drawn
once, by weight and seed; the loss is on the response and its end token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from agents.examples.tasks import IGNORED, TASKS, Example, task_sequences
from agents.policy.rollout import pad_left
from agents.policy.student import Student
from agents.supervised.sft import TokenSequence, fine_tune
from qr_env.common.errors import ConfigError

POSITIONS_PER_BATCH = 8192  # positions of a forward pass in `response_scores`


@dataclass(frozen=True)
class TaskScore:
    """Figures of one task's held-out examples."""

    loss: float
    """Nats a response token, end tokens included."""
    accuracy: float
    """Share of response tokens that are the most probable after the true tokens before them."""
    exact: float
    """Share of examples with all tokens the most probable: greedy decoding reproduces the response."""
    examples: int
    """Number of examples."""
    tokens: int
    """Number of response tokens."""


@dataclass(frozen=True)
class TaskReport:
    """Result of multi-task fine-tuning."""

    drawn: dict[str, int]
    """Task → number of training examples, repeats included."""
    before: dict[str, TaskScore]
    """Task → held-out scores before training; tasks without held-out examples are missing."""
    after: dict[str, TaskScore]
    """Task → held-out scores after training."""
    training: dict[str, float]
    """Figures of `agents.supervised.sft.fine_tune`."""


def fine_tune_tasks(
    student: Student,
    examples: Sequence[Example],
    *,
    weights: Mapping[str, float] | None = None,
    learning_rate: float,
    epochs: float = 1.0,
    batch_size: int = 32,
    seed: int = 0,
    packing: bool = False,
    size: int | None = None,
) -> TaskReport:
    """Train the student in place, all its weights or its LoRA adapter, on a mixture of tasks.

    Args:
        student: trained in place.
        examples: held-out examples are scored, never trained on.
        weights: see `mixture`.
        learning_rate: see `agents.supervised.sft.fine_tune`, as for epochs, batch_size, seed and packing.
        size: see `mixture`.

    Raises:
        ConfigError: impossible weights, or nothing to train on.
    """
    drawn = mixture([example for example in examples if not example.held_out], weights, seed, size)
    held_out = [example for example in examples if example.held_out and (weights is None or weights.get(example.task))]
    before = task_scores(student, held_out)
    training = fine_tune(
        student.model,
        student.tokenizer,
        task_sequences(student.tokenizer, drawn),
        learning_rate=learning_rate,
        batch_size=batch_size,
        epochs=epochs,
        seed=seed,
        description="fine-tune",
        packing=packing,
    )
    counts = {task: sum(example.task == task for example in drawn) for task in TASKS}
    counts = {task: count for task, count in counts.items() if count}
    return TaskReport(counts, before, task_scores(student, held_out), training)


def mixture(
    examples: Sequence[Example], weights: Mapping[str, float] | None = None, seed: int = 0, size: int | None = None
) -> list[Example]:
    """A shuffled mixture of `size` examples in which each task has its share of the weights.

    Examples of a task with too few are repeated, each equally often to within one.

    Args:
        examples: of all tasks.
        weights: task → weight; tasks without a weight are left out. None weights tasks by their number of examples.
        seed: of the draw and the order.
        size: None takes as many as the weighted tasks have in all.

    Raises:
        ConfigError: no example; an unknown task, a negative weight, weights that sum to 0, or a weight for a task
            without examples.
    """
    pools = {task: [example for example in examples if example.task == task] for task in TASKS}
    if weights is None:
        weights = {task: float(len(pool)) for task, pool in pools.items()}
    _check_weights(weights, pools)
    shares = {task: weights[task] for task in TASKS if weights.get(task)}
    size = sum(len(pools[task]) for task in shares) if size is None else size
    counts = _apportion(np.array(list(shares.values())), size)
    rng = np.random.default_rng(seed)
    drawn = [
        pools[task][i]
        for task, n in zip(shares, counts, strict=True)
        for i in _repeated_permutations(len(pools[task]), n, rng)
    ]
    return [drawn[i] for i in rng.permutation(len(drawn))]


def _check_weights(weights: Mapping[str, float], pools: Mapping[str, Sequence[Example]]) -> None:
    known = ", ".join(f"{task} ({len(pool)} examples)" for task, pool in pools.items())
    for task, weight in weights.items():
        if task not in pools or not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(f"weight {weight} of task {task!r}: weights are numbers of 0 or more, tasks are {known}")
        if weight and not pools[task]:
            raise ConfigError(f"task {task!r} has weight {weight} and no training example; there are {known}")
    if not any(weights.values()):
        raise ConfigError(f"nothing to train on: weights {dict(weights)} select none of {known}")


def _apportion(weights_N: np.ndarray, size: int) -> np.ndarray:
    """Whole numbers that sum to `size`, in proportion to the weights, by the largest-remainder method."""
    quotas_N = size * weights_N / weights_N.sum()
    counts_N = np.floor(quotas_N).astype(np.int64)
    counts_N[np.argsort(counts_N - quotas_N, kind="stable")[: size - counts_N.sum()]] += 1
    return counts_N


def _repeated_permutations(pool: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` numbers below `pool`: whole random permutations, then a part of one."""
    rounds = math.ceil(count / pool)
    return np.concatenate([rng.permutation(pool) for _ in range(rounds)] or [np.zeros(0, np.int64)])[:count]


def task_scores(student: Student, examples: Sequence[Example]) -> dict[str, TaskScore]:
    """Task → scores; tasks without examples are missing."""
    loss_N, correct_N, tokens_N = response_scores(student.model, task_sequences(student.tokenizer, examples))
    tasks_N = np.array([example.task for example in examples])
    scores = {}
    for task in (task for task in TASKS if task in tasks_N):
        own_N = tasks_N == task
        tokens = int(tokens_N[own_N].sum())
        exact = float((correct_N[own_N] == tokens_N[own_N]).mean())
        sums = float(loss_N[own_N].sum()), float(correct_N[own_N].sum())
        scores[task] = TaskScore(sums[0] / tokens, sums[1] / tokens, exact, int(own_N.sum()), tokens)
    return scores


@torch.no_grad()
def response_scores(model: torch.nn.Module, sequences: Sequence[TokenSequence]) -> tuple[np.ndarray, ...]:
    """Negative log-likelihoods of N responses (nats), their numbers of most probable tokens and of tokens.

    (N,) each, float64, int64 and int64. Responses must end their sequences: only their logits are computed. Sequences
    of similar length share a batch.
    """
    lengths = np.array([len(row["input_ids"]) for row in sequences], np.int64)
    order = np.argsort(lengths, kind="stable")
    totals = np.zeros(len(sequences)), np.zeros(len(sequences), np.int64), np.zeros(len(sequences), np.int64)
    start = 0
    while start < len(order):
        # The sequences are sorted by length: the last of a batch is its longest.
        widths = lengths[order[start:]] * np.arange(1, len(order) - start + 1)
        part = order[start : start + max(1, int(np.searchsorted(widths, POSITIONS_PER_BATCH, side="right")))]
        for total, found in zip(totals, _score_batch(model, [sequences[i] for i in part]), strict=True):
            total[part] = found.cpu().numpy()
        start += len(part)
    return totals


def _score_batch(model: torch.nn.Module, rows: Sequence[TokenSequence]) -> tuple[Tensor, Tensor, Tensor]:
    """The three figures of `response_scores` for one padded batch, (N,) each."""
    device = next(model.parameters()).device
    ids_NT, mask_NT = pad_left([row["input_ids"] for row in rows], 0, device)
    labels_NT, _ = pad_left([row["labels"] for row in rows], IGNORED, device)
    width = int((labels_NT != IGNORED).sum(dim=1).max())
    targets_NT = labels_NT[:, -width:]
    positions_NT = (mask_NT.cumsum(dim=1) - 1).clamp(min=0)
    # The position before a token predicts it.
    inputs = {"input_ids": ids_NT, "attention_mask": mask_NT, "position_ids": positions_NT}
    logits_NTV = model(**inputs, logits_to_keep=width + 1, use_cache=False).logits[:, :-1].float()
    scored_NT = targets_NT != IGNORED
    losses_NT = torch.nn.functional.cross_entropy(
        logits_NTV.transpose(1, 2), targets_NT, ignore_index=IGNORED, reduction="none"
    )
    correct_NT = (logits_NTV.argmax(dim=-1) == targets_NT) & scored_NT
    return losses_NT.double().sum(dim=1), correct_NT.sum(dim=1), scored_NT.sum(dim=1)
