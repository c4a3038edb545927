"""Multi-task supervised fine-tuning (BEQUE, arXiv 2311.03758 §3.1; JD, arXiv 2603.02555): one student, several tasks.

    report = fine_tune_tasks(student, examples, weights={"rewrite": 0.7, "tagging": 0.3}, learning_rate=1e-3)
    report.after["tagging"].exact           # share of held-out answers that the student would give word for word

Run by the `sft` stages of `qr recipe`. The tasks are told apart by the last words of their prompts (`agents.examples.tasks`);
the mixture is drawn once, by weight and seed; the loss is on the response and its end token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from agents.examples.tasks import IGNORED, TASKS, Example, task_sequences
from agents.policy.rollout import pad_left
from agents.supervised.sft import fine_tune
from qr_env.common.errors import ConfigError

if TYPE_CHECKING:
    from agents.policy.student import Student

SCORED = 8192  # positions that are scored at once


@dataclass(frozen=True)
class TaskScore:
    """A task's held-out examples. loss: nats a response token, the end token among them. accuracy: share of response
    tokens that are the likeliest after the true ones before them. exact: share of examples in which all are, so that
    greedy decoding would write just this response. examples, tokens: counted."""

    loss: float
    accuracy: float
    exact: float
    examples: int
    tokens: int


@dataclass(frozen=True)
class TaskReport:
    """drawn: training examples of each task, repeats counted. before, after: held-out scores by task, of the tasks that
    have held-out examples. training: what `agents.supervised.sft.fine_tune` reports."""

    drawn: dict[str, int]
    before: dict[str, TaskScore]
    after: dict[str, TaskScore]
    training: dict[str, float]


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
    """Train the student in place, all of its weights or its LoRA adapter, on a mixture of tasks.

    Args:
        examples: those held out are only measured.
        weights, size: of the mixture (`mixture`).
        packing: no padding, for GPUs with FlashAttention (`agents.supervised.sft`).

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
    """`size` examples in which each task has its share of the weights, shuffled; the same for the same seed.

    A task that has too few is repeated, every example as often as any other to within one. Tasks that are not named
    are left out. weights: None takes all as they come. size: by default as many as the named tasks have in all.

    Raises:
        ConfigError: no example; an unknown task, a negative weight, weights without a sum, or a weight for a task
            that has no example.
    """
    pools = {task: [example for example in examples if example.task == task] for task in TASKS}
    if weights is None:
        weights = {task: float(len(pool)) for task, pool in pools.items()}
    _check_weights(weights, pools)
    shares = {task: weights[task] for task in TASKS if weights.get(task)}
    size = sum(len(pools[task]) for task in shares) if size is None else size
    counts = _apportion(np.array(list(shares.values())), size)
    rng = np.random.default_rng(seed)
    drawn = [pools[task][i] for task, n in zip(shares, counts, strict=True) for i in _cycle(len(pools[task]), n, rng)]
    return [drawn[i] for i in rng.permutation(len(drawn))]


def _check_weights(weights: Mapping[str, float], pools: Mapping[str, Sequence[Example]]) -> None:
    known = ", ".join(f"{task} ({len(pool)} examples)" for task, pool in pools.items())
    for task, weight in weights.items():
        if task not in pools or not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(f"weight {weight} of task {task!r}: give numbers of 0 or more to {known}")
        if weight and not pools[task]:
            raise ConfigError(f"task {task!r} weighs {weight} and has no example to train on; there are {known}")
    if not any(weights.values()):
        raise ConfigError(f"nothing to train on with weights {dict(weights)}: there are {known}")


def _apportion(weights_K: np.ndarray, size: int) -> np.ndarray:
    """Whole numbers that sum to `size`, in proportion to the weights: largest remainders first."""
    quotas_K = size * weights_K / weights_K.sum()
    counts_K = np.floor(quotas_K).astype(np.int64)
    counts_K[np.argsort(counts_K - quotas_K, kind="stable")[: size - counts_K.sum()]] += 1
    return counts_K


def _cycle(pool: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` of the numbers below `pool`, in permutations of all of them and a part of one."""
    rounds = math.ceil(count / pool)
    return np.concatenate([rng.permutation(pool) for _ in range(rounds)] or [np.zeros(0, np.int64)])[:count]


def task_scores(student: Student, examples: Sequence[Example]) -> dict[str, TaskScore]:
    """Each task's score; tasks without examples are missing."""
    loss_N, right_N, tokens_N = response_scores(student.model, task_sequences(student.tokenizer, examples))
    tasks_N = np.array([example.task for example in examples])
    scores = {}
    for task in (task for task in TASKS if task in tasks_N):
        of = tasks_N == task
        tokens = int(tokens_N[of].sum())
        exact = float((right_N[of] == tokens_N[of]).mean())
        sums = float(loss_N[of].sum()), float(right_N[of].sum())
        scores[task] = TaskScore(sums[0] / tokens, sums[1] / tokens, exact, int(of.sum()), tokens)
    return scores


@torch.no_grad()
def response_scores(model: Any, sequences: Sequence[Mapping[str, list[int]]]) -> tuple[np.ndarray, ...]:
    """Of N sequences of `input_ids` and `labels`: negative log-likelihood of the response (nats), how many of its
    tokens are the likeliest, and how many it has; (N,) each, float64 and int64.

    The responses end their sequences. Batches are of sequences of like length, and logits of responses only.
    """
    lengths = np.array([len(row["input_ids"]) for row in sequences], np.int64)
    order = np.argsort(lengths, kind="stable")
    totals = np.zeros(len(sequences)), np.zeros(len(sequences), np.int64), np.zeros(len(sequences), np.int64)
    start = 0
    while start < len(order):
        # Sorted: the last of a batch is its longest.
        widths = lengths[order[start:]] * np.arange(1, len(order) - start + 1)
        part = order[start : start + max(1, int(np.searchsorted(widths, SCORED, side="right")))]
        for total, found in zip(totals, _score_batch(model, [sequences[i] for i in part]), strict=True):
            total[part] = found.cpu().numpy()
        start += len(part)
    return totals


def _score_batch(model: Any, rows: Sequence[Mapping[str, list[int]]]) -> tuple[Tensor, Tensor, Tensor]:
    """The three figures of one padded batch, (N,) each."""
    device = next(model.parameters()).device
    ids_N_L, mask_N_L = pad_left([row["input_ids"] for row in rows], 0, device)
    labels_N_L, _ = pad_left([row["labels"] for row in rows], IGNORED, device)
    width = int((labels_N_L != IGNORED).sum(dim=1).max())
    labels_N_T = labels_N_L[:, -width:]
    positions_N_L = (mask_N_L.cumsum(dim=1) - 1).clamp(min=0)
    # The position before a token predicts it.
    inputs = {"input_ids": ids_N_L, "attention_mask": mask_N_L, "position_ids": positions_N_L}
    logits_N_T_V = model(**inputs, logits_to_keep=width + 1, use_cache=False).logits[:, :-1].float()
    kept_N_T = labels_N_T != IGNORED
    losses_N_T = torch.nn.functional.cross_entropy(
        logits_N_T_V.transpose(1, 2), labels_N_T, ignore_index=IGNORED, reduction="none"
    )
    right_N_T = (logits_N_T_V.argmax(dim=-1) == labels_N_T) & kept_N_T
    return losses_N_T.double().sum(dim=1), right_N_T.sum(dim=1), kept_N_T.sum(dim=1)
