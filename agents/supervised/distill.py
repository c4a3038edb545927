"""Knowledge distillation: a student learns the next-token distributions of a teacher (MiniELM, arXiv 2501.18056).

    distill(student, Student.load("out/teacher/checkpoints/best"), queries)          # reverse KL, the student's samples
    distill(student, teacher, queries, beta=0.0, on_policy=False)                    # forward KL, the teacher's samples
    distill(student, ServedTeacher(client, "qwen", student.tokenizer), queries)      # behind vLLM (distill_http.py)
    examples = sequence_kd(teacher, queries)                                         # the teacher's rewrites, for SFT

The `distill` and `imitate` stages of `qr recipe` run it. Each update samples completions of some queries from the
student (on-policy distillation, Agarwal et al. 2024) or the teacher, and takes an AdamW step on the divergence of the
two distributions over the whole vocabulary at every token (`agents.policy.losses.generalized_jsd`, equal to that of
TRL's DistillationTrainer, see the tests).

TRL 1.16's trainer is not used for four reasons. It samples from the student only, which excludes forward KL on the
teacher's text. Its experimental teacher behind a server gives reverse KL at one token. It adds special tokens to
prompts that the students never see. And it pads, where `agents.policy.rollout` reads a batch as one row without padding
(256 queries, a student of 0.9 M and a teacher of 3.4 M parameters: 1.7 CPU seconds here, 3.1 there).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import get_cosine_schedule_with_warmup

from agents.examples.tasks import Example
from agents.policy.losses import generalized_jsd, with_remainder
from agents.policy.prompt import prompt_text
from agents.policy.rollout import Rollout
from agents.policy.scoring import packed_chunks, token_logits
from agents.policy.student import Student
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Agent

# A text of several scripts, by which tokenizers are compared.
PROBE = prompt_text("Größe 42½ running-shoes, 1.7 l kettle & 沙发 sofa\tgrey") + " sofa couch\nGood: yes"
REMEDY = "train on its texts instead: sequence_kd (stage `imitate`) needs no common tokenizer"


class Support(NamedTuple):
    """A teacher's distribution at N sampled tokens, over the whole vocabulary or over its most probable tokens."""

    logprobs_NV: Tensor
    """(N, V) log-probabilities of the tokens `ids_NV`."""
    ids_NV: Tensor | None = None
    """(N, V) token ids; None: the whole vocabulary in order."""


class Teacher(Protocol):
    """A model that continues the student's prompts and gives the log-probabilities of a continuation."""

    name: str

    def check(self, student: Student) -> None:
        """Raise ConfigError unless teacher and student have the same token ids."""

    def sample(self, queries: Sequence[str], temperature: float, seed: int) -> Rollout:
        """One completion of each query."""
        ...

    def support(self, rollout: Rollout, temperature: float) -> Support:
        """The distribution at each of the N tokens in the rollout's mask, row by row, without gradient."""
        ...


class LocalTeacher:
    """A teacher in this process: a `Student`, which may wrap any causal LM
    (`agents.policy.student.pretrained_student`)."""

    def __init__(self, student: Student) -> None:
        self.student, self.name = student, student.name
        student.model.eval()

    def check(self, student: Student) -> None:
        """Raise ConfigError unless the vocabularies, and the ids of `PROBE`, are equal."""
        mine, theirs = self.student.tokenizer, student.tokenizer
        first, second = (t(PROBE, add_special_tokens=False)["input_ids"] for t in (mine, theirs))
        if mine.get_vocab() != theirs.get_vocab() or first != second or mine.eos_token_id != theirs.eos_token_id:
            raise ConfigError(
                f"teacher {self.name!r} ({len(mine)} tokens) and student {student.name!r} ({len(theirs)} tokens) have "
                f"different tokenizers, so their next-token distributions cannot be compared; {REMEDY}"
            )

    def sample(self, queries: Sequence[str], temperature: float, seed: int) -> Rollout:
        """See `Teacher`."""
        generator = torch.Generator(self.student.model.device).manual_seed(seed)
        return self.student.sample(queries, temperature=temperature, generator=generator)

    @torch.no_grad()
    def support(self, rollout: Rollout, temperature: float) -> Support:
        """See `Teacher`."""
        logits_NV = token_logits(self.student.model, rollout.to(self.student.model.device))
        return Support(torch.log_softmax(logits_NV.float() / temperature, dim=1))


def distill(
    student: Student,
    teacher: Student | Teacher,
    queries: Sequence[str],
    *,
    beta: float = 1.0,
    on_policy: bool = True,
    learning_rate: float = 3e-4,
    epochs: float = 1.0,
    batch_size: int = 32,
    temperature: float = 1.0,
    seed: int = 0,
) -> dict[str, float]:
    """Train the student in place towards the teacher's distributions.

    Args:
        student: trained in place.
        teacher: a model with the same tokenizer.
        queries: prompts.
        beta: 1 is reverse KL, 0 forward KL, between them a generalized Jensen–Shannon divergence.
        on_policy: sample completions from the current student at each update; else from the teacher.
        learning_rate: of AdamW; a linear warmup over a tenth of the updates, then a cosine to 0.
        epochs: passes over the queries, each in another order.
        batch_size: queries an update, one completion each.
        temperature: of sampling and of both distributions.
        seed: of the order and of sampling.

    Returns:
        updates, tokens, runtime (s), tokens_per_second; loss_first and loss_last: mean loss over the first
        and the last tenth of the updates, nats a token.

    Raises:
        ConfigError: a setting is out of range, or the tokenizers differ.
    """
    source = LocalTeacher(teacher) if isinstance(teacher, Student) else teacher
    if not 0.0 <= beta <= 1.0 or not queries or min(epochs, batch_size, learning_rate, temperature) <= 0:
        raise ConfigError(
            f"{beta=} must be in [0, 1] and {epochs=}, {batch_size=}, {learning_rate=}, {temperature=} above 0, "
            f"with at least one query ({len(queries)} given)"
        )
    source.check(student)
    updates = max(1, round(epochs * len(queries) / batch_size))
    optimizer, schedule = _optimizer(student, learning_rate, updates)
    generator = torch.Generator(student.model.device).manual_seed(seed)
    losses, tokens, start = [], 0, time.perf_counter()
    student.model.eval()  # dropout would change the sampled policy
    for update, part in enumerate(_batches(queries, updates, batch_size, seed)):
        if on_policy:
            rollout = student.sample(part, temperature=temperature, generator=generator)
        else:
            rollout = source.sample(part, temperature, seed + update).to(student.model.device)
        losses.append(_backpropagate(student, source, rollout, beta, temperature))
        torch.nn.utils.clip_grad_norm_(student.model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        tokens += int(rollout.mask_NT.sum())
    return _metrics(losses, tokens, time.perf_counter() - start)


def _batches(queries: Sequence[str], updates: int, size: int, seed: int) -> Iterator[list[str]]:
    """`updates` batches of successive permutations of the queries."""
    generator = torch.Generator().manual_seed(seed)
    rounds = -(-updates * size // len(queries))
    order = torch.cat([torch.randperm(len(queries), generator=generator) for _ in range(rounds)]).tolist()
    for update in tqdm(range(updates), desc="distill", unit="update", mininterval=1.0):
        yield [queries[i] for i in order[update * size : (update + 1) * size]]


def _optimizer(
    student: Student, rate: float, updates: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    trained = [p for p in student.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, rate, weight_decay=0.01)
    return optimizer, get_cosine_schedule_with_warmup(optimizer, updates // 10, updates)


def _backpropagate(student: Student, teacher: Teacher, rollout: Rollout, beta: float, temperature: float) -> float:
    """Accumulate the gradient of the mean divergence a token, and return that mean."""
    total, count = 0.0, rollout.mask_NT.sum().clamp(min=1)
    device = student.model.device
    for part in packed_chunks(rollout):
        support = teacher.support(part, temperature)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits_NV = token_logits(student.model, part)
        loss = divergence(logits_NV.float() / temperature, support, beta).sum() / count
        loss.backward()
        total += loss.item()
    return total


def divergence(logits_NV: Tensor, support: Support, beta: float) -> Tensor:
    """(N,) divergence of the student's distribution from the teacher's at N tokens.

    Over the whole vocabulary, or over the teacher's most probable tokens and one class of all other tokens.
    """
    teacher_NV, ids_NV = (None if x is None else x.to(logits_NV.device) for x in support)
    assert teacher_NV is not None
    if ids_NV is None:
        # Embeddings are padded to round sizes: models with one tokenizer may differ in the number of unused rows.
        shared = min(logits_NV.shape[1], teacher_NV.shape[1])
        student_NV = torch.log_softmax(logits_NV[:, :shared], dim=1)
        return generalized_jsd(student_NV, torch.log_softmax(teacher_NV[:, :shared], dim=1), beta)
    student_NV = torch.log_softmax(logits_NV, dim=1).gather(1, ids_NV)
    return generalized_jsd(with_remainder(student_NV), with_remainder(teacher_NV), beta)


def _metrics(losses: Sequence[float], tokens: int, runtime: float) -> dict[str, float]:
    tenth = max(1, len(losses) // 10)
    return {
        "updates": float(len(losses)),
        "tokens": float(tokens),
        "runtime": runtime,
        "tokens_per_second": tokens / max(runtime, 1e-9),
        "loss_first": sum(losses[:tenth]) / tenth,
        "loss_last": sum(losses[-tenth:]) / tenth,
    }


def sequence_kd(teacher: Agent, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[Example]:
    """The teacher's rewrites as training examples (Kim & Rush 2016, sequence-level knowledge distillation).

    Args:
        teacher: any rewriter, with any tokenizer or none.
        queries: to rewrite.
        n: rewrites a query, the greedy one and n − 1 samples; duplicates are dropped. An empty rewrite, or the query
            itself, becomes the response "", which keeps the original.
        seed: of the samples.
    """
    written = teacher.rewrite(queries, n=n, seed=seed)
    source = f"teacher:{teacher.name}"
    return [
        Example("rewrite", query, text, source=source)
        for query, texts in zip(queries, written, strict=True)
        for text in dict.fromkeys("" if text == query else text for text in texts)
    ]
