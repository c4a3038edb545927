"""PRO as BEQUE uses it (arXiv 2311.03758): a student learns to rank its own rewrites as the engine does, offline.

    candidates = sample_candidates(student, queries, 8, scorer, seed=0)     # drawn, deduplicated, scored
    candidates.save(folder / "candidates.parquet")                          # a recipe goes on from here
    metrics = align(student, candidates, config=PROConfig(), seed=0)        # changes the student in place

The scorer decides what is aligned: the reward, or BEQUE's relevance, increment or hitrate. "" (leave the query alone)
is a candidate of every query, because abstaining must be learnable; its log-probability is that of the end token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from agents.examples.scoring import Scorer
from agents.policy.losses import TIE, aggregate, beats, pro_loss
from agents.policy.prompt import completion_ids, parse_completions, prompt_ids
from agents.policy.rollout import Rollout, given, pad_left, score
from agents.policy.student import Student
from agents.rl.learner import mean_metrics
from qr_env.common.atomic_io import saving
from qr_env.common.errors import ConfigError
from qr_env.common.types import FloatArray, Query

SCHEMA = pa.schema([("query", pa.string()), ("texts", pa.list_(pa.string())), ("rewards", pa.list_(pa.float32()))])
CONTRASTS = range(2, 6)  # candidates a list: what BEQUE tried
MAX_GRAD_NORM = 1.0


@dataclass(frozen=True)
class PROConfig:
    """contrast: candidates of a list, 2 … 5; of more the best, the worst and an even spread of ranks between are taken.
    strength: λ, weight of the ranking loss beside the supervised one. sft_coef: weight of that one. gold: whom it
    imitates, every candidate of the list (BEQUE) or the best alone (Song et al. 2023). scale: rewards are multiplied by
    it, so that the temperatures 1 / (r_k − r_i) suit their range. learning_rate: of AdamW, after warmup a cosine to 0.
    batch_size: queries a step."""

    contrast: int = 4
    strength: float = 1.0
    sft_coef: float = 1.0
    gold: Literal["all", "best"] = "all"
    scale: float = 1.0
    learning_rate: float = 3e-4
    warmup: float = 0.1
    epochs: int = 2
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.contrast not in CONTRASTS:
            raise ConfigError(f"contrast {self.contrast} is not of {CONTRASTS.start} … {CONTRASTS.stop - 1}")


@dataclass(frozen=True)
class ScoredCandidates:
    """P queries with their candidates and what the engine pays for them. rewards_P_C: float32, NaN where a query has
    fewer than C candidates, or for want of a verdict."""

    queries_P: tuple[str, ...]
    texts_P_C: tuple[tuple[str, ...], ...]
    rewards_P_C: FloatArray

    def save(self, path: str | Path) -> None:
        """Write Parquet: a row a query, with lists of texts and rewards."""
        rewards = [row[: len(texts)].tolist() for row, texts in zip(self.rewards_P_C, self.texts_P_C, strict=True)]
        columns = {"query": self.queries_P, "texts": self.texts_P_C, "rewards": rewards}
        with saving(Path(path)):
            pq.write_table(pa.table(columns, schema=SCHEMA), path)

    @classmethod
    def load(cls, path: str | Path) -> ScoredCandidates:
        """Read what `save` wrote."""
        table = pq.read_table(path, schema=SCHEMA)
        texts = tuple(tuple(row) for row in table["texts"].to_pylist())
        return cls(tuple(table["query"].to_pylist()), texts, _padded(table["rewards"].to_pylist()))


def _padded(rows: Sequence[Sequence[float]]) -> FloatArray:
    """(P, longest), NaN on the right."""
    width = max(map(len, rows), default=0)
    return np.array([[*row, *[np.nan] * (width - len(row))] for row in rows], np.float32).reshape(len(rows), width)


def sample_candidates(
    student: Student, queries: Sequence[Query], n: int, score: Scorer, seed: int = 0, temperature: float = 1.0
) -> ScoredCandidates:
    """Up to n different rewrites of each query, and "", as the scorer pays them.

    Args:
        temperature: of sampling; 0 takes the n most probable by beam search, as BEQUE does.
    """
    from tqdm import tqdm

    generator = torch.Generator(student.model.device).manual_seed(seed)
    size = max(student.batch_size // n, 1)
    drawn: list[str] = []
    for start in tqdm(range(0, len(queries), size), desc="candidates", unit="batch", mininterval=1.0):
        texts = [query.text for query in queries[start : start + size]]
        drawn += student.texts(student.sample(texts, n, temperature, generator)) if temperature else _beams(
            student, texts, n
        )  # fmt: skip
    options = [list(dict.fromkeys([*drawn[i * n : (i + 1) * n], ""])) for i in range(len(queries))]
    rewards_P_C = np.asarray(score(queries, options), np.float32)
    known = [row[: len(texts)].tolist() for row, texts in zip(rewards_P_C, options, strict=True)]
    return ScoredCandidates(tuple(query.text for query in queries), tuple(map(tuple, options)), _padded(known))


@torch.no_grad()
def _beams(student: Student, queries: Sequence[str], n: int) -> list[str]:
    """The n rewrites of each query that beam search finds, a query's in one block."""
    tokenizer = student.tokenizer
    ids_P_Tp, mask_P_Tp = pad_left(prompt_ids(tokenizer, queries), tokenizer.pad_token_id, student.model.device)
    tokens_N_T = student.model.generate(
        input_ids=ids_P_Tp, attention_mask=mask_P_Tp, num_beams=n, num_return_sequences=n, do_sample=False,
        max_new_tokens=student.max_new_tokens, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return parse_completions(tokenizer, tokens_N_T[:, ids_P_Tp.shape[1] :].tolist())


def contrast(texts_C: Sequence[str], rewards_C: FloatArray, most: int) -> list[int]:
    """Which of a query's candidates make its list, best first: at most `most`; empty where all known rewards tie.

    The best, the worst and an even spread of ranks between, of candidates whose rewards differ; where those are too few
    the others fill up. Of those that tie the shortest comes first. Any order of the candidates gives the same list.
    """
    known = [i for i in range(len(texts_C)) if not np.isnan(rewards_C[i])]
    order = sorted(known, key=lambda i: (-rewards_C[i], len(texts_C[i]), texts_C[i]))
    heads = [i for at, i in enumerate(order) if at == 0 or rewards_C[order[at - 1]] - rewards_C[i] >= TIE]
    if len(heads) < 2:
        return []
    others = [i for i in order if i not in heads]
    chosen = [*_spread(heads, most), *_spread(others, most - len(heads))]
    return [i for i in order if i in chosen]


def _spread(items: Sequence[int], most: int) -> list[int]:
    """First, last and evenly between; all where there are no more than `most`, none where it is below 1."""
    places = np.linspace(0, len(items) - 1, max(min(most, len(items)), 0)).round().astype(int)
    return [items[place] for place in places]


@dataclass(frozen=True)
class _Lists:
    """What is learned from. prompts_L of L lists, completions_L_C: token ids, [] where a list is shorter. rewards_L_C:
    NaN there."""

    prompts_L: list[list[int]]
    completions_L_C: list[list[list[int]]]
    rewards_L_C: Tensor

    @classmethod
    def make(cls, tokenizer: Any, candidates: ScoredCandidates, most: int) -> _Lists:
        rows = zip(candidates.texts_P_C, candidates.rewards_P_C, strict=True)
        chosen = [contrast(texts, rewards, most) for texts, rewards in rows]
        used = [p for p, places in enumerate(chosen) if places]
        flat = completion_ids(tokenizer, [candidates.texts_P_C[p][i] for p in used for i in chosen[p]])
        left = iter(flat)
        completions = [[next(left) if at < len(chosen[p]) else [] for at in range(most)] for p in used]
        rewards = _padded([[*candidates.rewards_P_C[p][chosen[p]], *[np.nan] * (most - len(chosen[p]))] for p in used])
        prompts = prompt_ids(tokenizer, [candidates.queries_P[p] for p in used])
        return cls(prompts, completions, torch.from_numpy(rewards))

    def batch(self, tokenizer: Any, places: Sequence[int], device: torch.device) -> tuple[Rollout, Tensor]:
        """Some of the lists, and their rewards (P, C)."""
        completions = [row for i in places for row in self.completions_L_C[i]]
        prompts = [self.prompts_L[i] for i in places]
        rollout = given(prompts, completions, tokenizer.eos_token_id, tokenizer.pad_token_id, device)
        return rollout, self.rewards_L_C[list(places)].to(device)


def align(
    student: Student, candidates: ScoredCandidates, config: PROConfig | None = None, *, seed: int = 0
) -> dict[str, float]:
    """Train the student in place on the candidates' order.

    Returns:
        `lists` learned from, `skipped` queries whose known rewards all tie, and of all lists after (`before/…`: before)
        training: `pro_loss`, `sft_loss`, and `accuracy`, the share of pairs that the student ranks as the engine does.
    """
    from tqdm import tqdm
    from transformers import get_cosine_schedule_with_warmup

    config = config or PROConfig()
    lists = _Lists.make(student.tokenizer, candidates, config.contrast)
    counts = {"lists": float(len(lists.prompts_L)), "skipped": float(len(candidates.queries_P) - len(lists.prompts_L))}
    if not lists.prompts_L:
        return counts
    before = _measure(student, lists, config)
    steps = list(_batches(len(lists.prompts_L), config, seed))
    parameters = [p for p in student.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=0.0, fused=True)
    schedule = get_cosine_schedule_with_warmup(optimizer, int(config.warmup * len(steps)), len(steps))
    for places in (bar := tqdm(steps, desc="PRO", unit="step", mininterval=1.0)):
        loss, metrics = _loss(student, lists, places, config)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM, error_if_nonfinite=True)
        optimizer.step()
        schedule.step()
        bar.set_postfix(metrics, refresh=False)
    return counts | {f"before/{name}": value for name, value in before.items()} | _measure(student, lists, config)


def _batches(lists: int, config: PROConfig, seed: int) -> Iterator[list[int]]:
    """Places of each step's lists, every epoch in another order."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(config.epochs):
        for part in torch.randperm(lists, generator=generator).split(config.batch_size):
            yield part.tolist()


@torch.no_grad()
def _measure(student: Student, lists: _Lists, config: PROConfig) -> dict[str, float]:
    """Mean figures of all lists, without learning."""
    parts = torch.arange(len(lists.prompts_L)).split(config.batch_size)
    return mean_metrics([_loss(student, lists, part.tolist(), config)[1] for part in parts])


def _loss(student: Student, lists: _Lists, places: Sequence[int], config: PROConfig) -> tuple[Tensor, dict[str, float]]:
    """sft_coef × SFT + λ × PRO of some lists (BEQUE's objective), and its metrics."""
    batch, rewards_P_C = lists.batch(student.tokenizer, places, student.model.device)
    mask_N_T = batch.mask_N_T
    logprobs_N_T = score(student.model, batch).logprobs_N_T
    lengths_N = mask_N_T.sum(dim=1)  # the end token counts
    p_P_C = (logprobs_N_T.sum(dim=1) / lengths_N.clamp(min=1.0)).reshape(rewards_P_C.shape)
    ranking = pro_loss(p_P_C, config.scale * rewards_P_C, lengths_N.reshape(rewards_P_C.shape))
    gold_P_C = torch.ones_like(rewards_P_C)
    if config.gold == "best":
        gold_P_C[:, 1:] = 0.0  # the best comes first
    supervised = -aggregate(logprobs_N_T, mask_N_T * gold_P_C.flatten()[:, None], "token")
    loss = config.sft_coef * supervised + config.strength * ranking
    wins_P_C_C = beats(rewards_P_C)
    agreed = (p_P_C[:, :, None] > p_P_C[:, None, :])[wins_P_C_C].float().mean()
    return loss, {"pro_loss": ranking.item(), "sft_loss": supervised.item(), "accuracy": agreed.item()}
