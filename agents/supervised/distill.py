"""Distillation: a student learns the next-token distributions of a teacher (MiniELM, arXiv 2501.18056).

    distill(student, Student.load("out/teacher/checkpoints/best"), queries)          # reverse KL, the student's samples
    distill(student, teacher, queries, beta=0.0, on_policy=False)                    # forward KL, the teacher's samples
    distill(student, ServedTeacher(client, "qwen", student.tokenizer), queries)      # behind vLLM (distill_http.py)
    examples = sequence_kd(teacher, queries)                                         # the teacher's rewrites, for SFT

Run by the `distill` and `imitate` stages of `qr recipe`. Each update: completions of some queries, by the student
(on-policy distillation, Agarwal et al. 2024) or the teacher; at every token the divergence between both models' whole
vocabularies (`agents.policy.losses.generalized_jsd`, equal to that of TRL's DistillationTrainer, see the tests); AdamW.

Why not TRL 1.16's trainer itself: it samples from the student only, so forward KL on the teacher's text cannot be had;
its teacher behind a server (experimental) gives reverse KL at one token; it tokenizes prompts with special tokens that
our students never see; and it pads, where `agents.policy.rollout` reads a batch as one row without padding (256 queries, a
student of 0.9 M and a teacher of 3.4 M parameters: 1.7 CPU seconds here, 3.1 there).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from agents.examples.tasks import Example
from agents.policy.losses import generalized_jsd, with_rest
from agents.policy.prompt import prompt_text
from agents.policy.rollout import Rollout, chunks, token_logits
from agents.policy.student import Student
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Agent

PROBE = prompt_text("Größe 42½ running-shoes, 1.7 l kettle & 沙发 sofa\tgrey") + " sofa couch\nGood: yes"
WAY_OUT = "train on its texts instead: sequence_kd (stage `imitate`), which needs no common tokens"


class Support(NamedTuple):
    """What a teacher says of M sampled tokens: log-probabilities of the tokens `ids_M_K`, of a whole vocabulary where
    that is None."""

    logprobs_M_K: Tensor
    ids_M_K: Tensor | None = None


class Teacher(Protocol):
    """Anything that can continue the student's prompts and say how probable a continuation is."""

    name: str

    def check(self, student: Student) -> None:
        """Raise ConfigError unless its token ids are the student's."""

    def sample(self, queries: Sequence[str], temperature: float, seed: int) -> Rollout:
        """One completion of each query."""
        ...

    def support(self, rollout: Rollout, temperature: float) -> Support:
        """Its distribution at each of the M tokens of the rollout's mask, row by row, without gradient."""
        ...


class LocalTeacher:
    """A model in this process: a `Student`, or any causal LM in one's clothes
    (`agents.policy.student.pretrained_student`)."""

    def __init__(self, student: Student) -> None:
        self.student, self.name = student, student.name
        student.model.eval()

    def check(self, student: Student) -> None:
        """The same vocabulary, and the same ids for a text of many scripts."""
        mine, theirs = self.student.tokenizer, student.tokenizer
        first, second = (t(PROBE, add_special_tokens=False)["input_ids"] for t in (mine, theirs))
        if mine.get_vocab() != theirs.get_vocab() or first != second or mine.eos_token_id != theirs.eos_token_id:
            raise ConfigError(
                f"teacher {self.name!r} ({len(mine)} tokens) and student {student.name!r} ({len(theirs)} tokens) have "
                f"different tokenizers, so their next-token distributions cannot be compared; {WAY_OUT}"
            )

    def sample(self, queries: Sequence[str], temperature: float, seed: int) -> Rollout:
        """See `Teacher`."""
        generator = torch.Generator(self.student.model.device).manual_seed(seed)
        return self.student.sample(queries, temperature=temperature, generator=generator)

    @torch.no_grad()
    def support(self, rollout: Rollout, temperature: float) -> Support:
        """See `Teacher`."""
        logits_M_V = token_logits(self.student.model, rollout.to(self.student.model.device))
        return Support(torch.log_softmax(logits_M_V.float() / temperature, dim=1))


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
    """Train the student in place to write as its teacher does.

    Args:
        beta: 1 reverse KL, 0 forward KL, between them Jensen–Shannon.
        on_policy: completions are drawn anew from the student, as it is, at each update; else from the teacher.
        learning_rate: of AdamW; rises over a tenth of the updates, then falls to 0 as a cosine.
        epochs: passes over the queries, each in another order.
        batch_size: queries an update, one completion each.
        temperature: of sampling and of both distributions.

    Returns:
        updates, tokens, runtime (s), tokens_per_second; loss_first and loss_last, nats a token, the means over the
        first and the last tenth of the updates.

    Raises:
        ConfigError: impossible settings, or tokenizers differ.
    """
    known = LocalTeacher(teacher) if isinstance(teacher, Student) else teacher
    if not 0.0 <= beta <= 1.0 or not queries or min(epochs, batch_size, learning_rate, temperature) <= 0:
        raise ConfigError(
            f"{beta=} must be in [0, 1] and {epochs=}, {batch_size=}, {learning_rate=}, {temperature=} above 0, "
            f"with at least one query ({len(queries)} given)"
        )
    known.check(student)
    updates = max(1, round(epochs * len(queries) / batch_size))
    optimizer, schedule = _optimizer(student, learning_rate, updates)
    generator = torch.Generator(student.model.device).manual_seed(seed)
    losses, tokens, start = [], 0, time.perf_counter()
    student.model.eval()  # dropout would make the samples another policy's
    for update, part in enumerate(_batches(queries, updates, batch_size, seed)):
        if on_policy:
            rollout = student.sample(part, temperature=temperature, generator=generator)
        else:
            rollout = known.sample(part, temperature, seed + update).to(student.model.device)
        losses.append(_descend(student, known, rollout, beta, temperature))
        torch.nn.utils.clip_grad_norm_(student.model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        tokens += int(rollout.mask_N_T.sum())
    return _metrics(losses, tokens, time.perf_counter() - start)


def _batches(queries: Sequence[str], updates: int, size: int, seed: int) -> Iterator[list[str]]:
    """`updates` batches from one permutation of the queries after another."""
    from tqdm import tqdm

    generator = torch.Generator().manual_seed(seed)
    rounds = -(-updates * size // len(queries))
    order = torch.cat([torch.randperm(len(queries), generator=generator) for _ in range(rounds)]).tolist()
    for update in tqdm(range(updates), desc="distill", unit="update", mininterval=1.0):
        yield [queries[i] for i in order[update * size : (update + 1) * size]]


def _optimizer(student: Student, rate: float, updates: int) -> tuple[torch.optim.Optimizer, Any]:
    from transformers import get_cosine_schedule_with_warmup

    trained = [p for p in student.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, rate, weight_decay=0.01)
    return optimizer, get_cosine_schedule_with_warmup(optimizer, updates // 10, updates)


def _descend(student: Student, teacher: Teacher, rollout: Rollout, beta: float, temperature: float) -> float:
    """Add the gradient of the mean divergence a token, and return that mean."""
    total, count = 0.0, rollout.mask_N_T.sum().clamp(min=1)
    device = student.model.device
    for part in chunks(rollout):
        support = teacher.support(part, temperature)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits_M_V = token_logits(student.model, part)
        loss = divergence(logits_M_V.float() / temperature, support, beta).sum() / count
        loss.backward()
        total += loss.item()
    return total


def divergence(logits_M_V: Tensor, support: Support, beta: float) -> Tensor:
    """Of the student's distribution and the teacher's at M tokens, (M,): over the whole vocabulary, or over the tokens
    that the teacher names and all others together."""
    teacher_M_K, ids_M_K = (None if x is None else x.to(logits_M_V.device) for x in support)
    assert teacher_M_K is not None
    if ids_M_K is None:
        # Embeddings are padded to round sizes; of one tokenizer's models the wider one has rows that nobody uses.
        shared = min(logits_M_V.shape[1], teacher_M_K.shape[1])
        student_M_V = torch.log_softmax(logits_M_V[:, :shared], dim=1)
        return generalized_jsd(student_M_V, torch.log_softmax(teacher_M_K[:, :shared], dim=1), beta)
    student_M_K = torch.log_softmax(logits_M_V, dim=1).gather(1, ids_M_K)
    return generalized_jsd(with_rest(student_M_K), with_rest(teacher_M_K), beta)


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
    """The teacher's own rewrites as training examples (Kim & Rush 2016, sequence-level knowledge distillation).

    Any rewriter can teach, of any tokenizer or none. n: its greedy rewrite and n − 1 samples, each different text once;
    an empty one, or the query itself, teaches to leave the query alone.
    """
    written = teacher.rewrite(queries, n=n, seed=seed)
    source = f"teacher:{teacher.name}"
    return [
        Example("rewrite", query, text, source=source)
        for query, texts in zip(queries, written, strict=True)
        for text in dict.fromkeys("" if text == query else text for text in texts)
    ]
