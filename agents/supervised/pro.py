"""Preference ranking optimization (PRO) as in BEQUE (arXiv 2311.03758): a student learns, offline, to rank its own
rewrites as the engine does.

    candidates = sample_candidates(student, queries, 8, scorer, seed=0)     # sampled, deduplicated, scored
    candidates.save(folder / "candidates.parquet")                          # a recipe resumes from here
    metrics = align(student, candidates, config=PROConfig(), seed=0)        # trains the student in place

The scorer defines the ranking: the reward, or BEQUE's relevance, increment or hitrate. "" (keep the original) is a
candidate of every query, so that the student can learn it; its log-probability is that of the end token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import get_cosine_schedule_with_warmup

from agents.examples.scoring import Scorer
from agents.policy.losses import TIE, aggregate, pairwise_wins, pro_loss
from agents.policy.prompt import completion_ids, parse_completions, prompt_ids
from agents.policy.rollout import Rollout, pad_left, rollout_of_completions
from agents.policy.scoring import score
from agents.policy.student import Student
from agents.rl.learner import mean_metrics
from qr_env.common.atomic_io import saving
from qr_env.common.errors import ConfigError
from qr_env.common.types import FloatArray, Query

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SCHEMA = pa.schema([("query", pa.string()), ("texts", pa.list_(pa.string())), ("rewards", pa.list_(pa.float32()))])
CONTRASTS = range(2, 6)  # candidates a list that BEQUE tried
MAX_GRAD_NORM = 1.0


@dataclass(frozen=True)
class PROConfig:
    """Settings of PRO."""

    contrast: int = 4
    """candidates of a query in the ranking loss, 2 … 5; of more, the best, the worst and evenly spaced ranks between"""
    strength: float = 1.0
    """λ, weight of the ranking loss"""
    sft_coef: float = 1.0
    """weight of the supervised loss"""
    gold: Literal["all", "best"] = "all"
    """targets of the supervised loss: all candidates of the list (BEQUE), or the best alone (Song et al. 2023)"""
    scale: float = 1.0
    """factor of the rewards, so that the temperatures 1 / (r_k − r_i) suit their range"""
    learning_rate: float = 3e-4
    """of AdamW; a cosine to 0 after the warmup"""
    warmup: float = 0.1
    """share of the steps with a rising learning rate"""
    epochs: int = 2
    """passes over the queries"""
    batch_size: int = 32
    """queries a step"""

    def __post_init__(self) -> None:
        if self.contrast not in CONTRASTS:
            raise ConfigError(f"contrast {self.contrast}: choose {CONTRASTS.start} … {CONTRASTS.stop - 1}")


@dataclass(frozen=True)
class ScoredCandidates:
    """P queries with up to G scored candidates each."""

    queries: tuple[str, ...]
    """P query texts."""
    texts_PG: tuple[tuple[str, ...], ...]
    """Candidates of each query."""
    rewards_PG: FloatArray
    """(P, G) float32; NaN without a candidate or a verdict."""

    def save(self, path: str | Path) -> None:
        """Write a Parquet file with a row a query and lists of texts and rewards."""
        rewards = [row[: len(texts)].tolist() for row, texts in zip(self.rewards_PG, self.texts_PG, strict=True)]
        columns = {"query": self.queries, "texts": self.texts_PG, "rewards": rewards}
        with saving(Path(path)):
            pq.write_table(pa.table(columns, schema=SCHEMA), path)

    @classmethod
    def load(cls, path: str | Path) -> ScoredCandidates:
        """Read what `save` wrote; ConfigError where the file is not of it."""
        try:
            table = pq.read_table(path, schema=SCHEMA)
        except (pa.ArrowException, OSError) as error:
            raise ConfigError(f"{path} cannot be read ({str(error).splitlines()[0]}); run the stage again") from error
        texts = tuple(tuple(row) for row in table["texts"].to_pylist())
        return cls(tuple(table["query"].to_pylist()), texts, _padded(table["rewards"].to_pylist()))


def _padded(rows: Sequence[Sequence[float]]) -> FloatArray:
    """(P, longest), NaN on the right."""
    width = max(map(len, rows), default=0)
    return np.array([[*row, *[np.nan] * (width - len(row))] for row in rows], np.float32).reshape(len(rows), width)


def sample_candidates(
    student: Student, queries: Sequence[Query], n: int, score: Scorer, seed: int = 0, temperature: float = 1.0
) -> ScoredCandidates:
    """Up to n distinct rewrites of each query, and "", with their rewards.

    Args:
        student: samples the rewrites.
        queries: P queries.
        n: samples a query.
        score: rewards the candidates.
        seed: of sampling.
        temperature: of sampling; 0 takes the n most probable rewrites by beam search, as BEQUE does.
    """
    generator = torch.Generator(student.model.device).manual_seed(seed)
    size = max(student.batch_size // n, 1)
    sampled: list[str] = []
    for start in tqdm(range(0, len(queries), size), desc="candidates", unit="batch", mininterval=1.0):
        texts = [query.text for query in queries[start : start + size]]
        if temperature:
            sampled += student.texts(student.sample(texts, n, temperature, generator), texts)
        else:
            sampled += _beam_search(student, texts, n)
    options = [list(dict.fromkeys([*sampled[i * n : (i + 1) * n], ""])) for i in range(len(queries))]
    rewards_PG = np.asarray(score(queries, options), np.float32)
    known = [row[: len(texts)].tolist() for row, texts in zip(rewards_PG, options, strict=True)]
    return ScoredCandidates(tuple(query.text for query in queries), tuple(map(tuple, options)), _padded(known))


@torch.no_grad()
def _beam_search(student: Student, queries: Sequence[str], n: int) -> list[str]:
    """The n most probable rewrites of each query by beam search, (P · n,), grouped by query."""
    tokenizer = student.tokenizer
    ids_PTp, mask_PTp = pad_left(prompt_ids(tokenizer, queries), tokenizer.pad_token_id, student.model.device)
    tokens_NT = student.model.generate(  # type: ignore[operator]  # PreTrainedModel does not declare it
        input_ids=ids_PTp, attention_mask=mask_PTp, num_beams=n, num_return_sequences=n, do_sample=False,
        max_new_tokens=student.max_new_tokens, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return parse_completions(tokenizer, tokens_NT[:, ids_PTp.shape[1] :].tolist())


def select_contrast(texts_G: Sequence[str], rewards_G: FloatArray, limit: int) -> list[int]:
    """Indices of at most `limit` candidates of a query, best first; empty if all known rewards tie.

    The best, the worst and evenly spaced ranks between, of candidates with distinct rewards; if those are too few, tied
    candidates are added. Shorter candidates come first on a tie. The result does not depend on the candidates' order.
    """
    known = [i for i in range(len(texts_G)) if not np.isnan(rewards_G[i])]
    order = sorted(known, key=lambda i: (-rewards_G[i], len(texts_G[i]), texts_G[i]))
    heads = [i for at, i in enumerate(order) if at == 0 or rewards_G[order[at - 1]] - rewards_G[i] >= TIE]
    if len(heads) < 2:
        return []
    others = [i for i in order if i not in heads]
    chosen = [*_evenly_spaced(heads, limit), *_evenly_spaced(others, limit - len(heads))]
    return [i for i in order if i in chosen]


def _evenly_spaced(items: Sequence[int], limit: int) -> list[int]:
    """At most `limit` items, evenly spaced, the first and the last among them; none if `limit` is below 1."""
    places = np.linspace(0, len(items) - 1, max(min(limit, len(items)), 0)).round().astype(int)
    return [items[place] for place in places]


@dataclass(frozen=True)
class _RankedLists:
    """P queries with contrasting candidates, as token ids."""

    prompts: list[list[int]]
    """P prompts."""
    completions_PG: list[list[list[int]]]
    """G completions of each query, best first; [] where the list is shorter."""
    rewards_PG: Tensor
    """(P, G) rewards; NaN where the list is shorter."""

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, candidates: ScoredCandidates, limit: int) -> _RankedLists:
        """The lists of all queries whose known rewards differ."""
        rows = zip(candidates.texts_PG, candidates.rewards_PG, strict=True)
        chosen = [select_contrast(texts, rewards, limit) for texts, rewards in rows]
        used = [p for p, places in enumerate(chosen) if places]
        flat = completion_ids(tokenizer, [candidates.texts_PG[p][i] for p in used for i in chosen[p]])
        remaining = iter(flat)
        completions = [[next(remaining) if at < len(chosen[p]) else [] for at in range(limit)] for p in used]
        rewards = _padded([[*candidates.rewards_PG[p][chosen[p]], *[np.nan] * (limit - len(chosen[p]))] for p in used])
        prompts = prompt_ids(tokenizer, [candidates.queries[p] for p in used])
        return cls(prompts, completions, torch.from_numpy(rewards))

    def batch(
        self, tokenizer: PreTrainedTokenizerBase, places: Sequence[int], device: torch.device
    ) -> tuple[Rollout, Tensor]:
        """The lists at these places, and their rewards (P, G)."""
        completions = [row for i in places for row in self.completions_PG[i]]
        prompts = [self.prompts[i] for i in places]
        rollout = rollout_of_completions(prompts, completions, tokenizer.eos_token_id, tokenizer.pad_token_id, device)
        return rollout, self.rewards_PG[list(places)].to(device)


def align(
    student: Student, candidates: ScoredCandidates, config: PROConfig | None = None, *, seed: int = 0
) -> dict[str, float]:
    """Train the student in place on the order of the candidates' rewards.

    Returns:
        `lists`, the number of queries trained on, and `skipped`, the number whose known rewards all tie. Over all lists
        after training (`before/…`: before): `pro_loss`, `sft_loss` and `accuracy`, the share of candidate pairs that
        the student ranks as the rewards do.
    """
    config = config or PROConfig()
    lists = _RankedLists.of(student.tokenizer, candidates, config.contrast)
    counts = {"lists": float(len(lists.prompts)), "skipped": float(len(candidates.queries) - len(lists.prompts))}
    if not lists.prompts:
        return counts
    before = _measure(student, lists, config)
    steps = list(_batches(len(lists.prompts), config, seed))
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
    """Indices of the lists of each step; every epoch has another order."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(config.epochs):
        for part in torch.randperm(lists, generator=generator).split(config.batch_size):
            yield part.tolist()


@torch.no_grad()
def _measure(student: Student, lists: _RankedLists, config: PROConfig) -> dict[str, float]:
    """Mean metrics over all lists, without training."""
    parts = torch.arange(len(lists.prompts)).split(config.batch_size)
    return mean_metrics([_loss(student, lists, part.tolist(), config)[1] for part in parts])


def _loss(
    student: Student, lists: _RankedLists, places: Sequence[int], config: PROConfig
) -> tuple[Tensor, dict[str, float]]:
    """BEQUE's objective sft_coef × SFT + λ × PRO on some lists, and its metrics."""
    batch, rewards_PG = lists.batch(student.tokenizer, places, student.model.device)
    mask_NT = batch.mask_NT
    logprobs_NT = score(student.model, batch).logprobs_NT
    lengths_N = mask_NT.sum(dim=1)  # end token included
    mean_logprob_PG = (logprobs_NT.sum(dim=1) / lengths_N.clamp(min=1.0)).reshape(rewards_PG.shape)
    ranking = pro_loss(mean_logprob_PG, config.scale * rewards_PG, lengths_N.reshape(rewards_PG.shape))
    imitated_PG = torch.ones_like(rewards_PG)
    if config.gold == "best":
        imitated_PG[:, 1:] = 0.0  # candidates are sorted, the best first
    supervised = -aggregate(logprobs_NT, mask_NT * imitated_PG.flatten()[:, None], "token")
    loss = config.sft_coef * supervised + config.strength * ranking
    wins_PGG = pairwise_wins(rewards_PG)
    agreement = (mean_logprob_PG[:, :, None] > mean_logprob_PG[:, None, :])[wins_PGG].float().mean()
    return loss, {"pro_loss": ranking.item(), "sft_loss": supervised.item(), "accuracy": agreement.item()}
