"""Training of cross-encoder judges: a teacher on soft targets, a student on the teacher's differences.

    model, tokenizer = load_classifier(resolve("minilm-l6"), layers=6, seed=0)
    train(model, tokens, examples, margin_mse, TrainSettings())

Walmart's recipe (arXiv 2505.07105, section numbers as far as public). Grades become soft targets t: Irrelevant and
Complement 0, Substitute ½, Exact 1 (the paper collapses five grades into these three; ours are ESCI's four). The
teacher learns them by binary cross-entropy; the student learns the teacher's t by margin MSE over all pairs of one
query's list, with s its score:

    L(q) = 2 / (n (n − 1)) · Σ_{i<j} ((s_i − s_j) − (t_i − t_j))²

With d = s − t, Σ_{i<j} (d_i − d_j)² = n Σ (d_i − d̄)², so L(q) is twice the unbiased variance of d: no pair is formed.
Only differences count, so a score's level is learnt from lists that hold good and bad products (`judges/cross_encoder/augment.py`
adds random ones), and `anchor` · mean (s − t)² holds it in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from judges.cross_encoder.pair_tokens import Ids, PairTokens
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.common.types import FloatArray, RowArray

if TYPE_CHECKING:
    import torch

# Soft target of each of `LEVELS`.
TARGETS = np.array([0.0, 0.0, 0.5, 1.0], np.float32)
CHUNK = 16  # pairs of like length computed together: little padding, and small batches cost a CPU nothing

Loss = Callable[["torch.Tensor", "torch.Tensor", "torch.Tensor"], "torch.Tensor"]


@dataclass(frozen=True)
class TrainSettings:
    """How long and how fast. groups: lists a step. min_steps: small sets are repeated until there are so many steps, at
    most `max_epochs` times. anchor: weight of the pointwise term of the student's loss. freeze: leave the word
    embeddings as they are, half of MiniLM's weights."""

    epochs: int = 2
    groups: int = 8
    lr: float = 3e-4
    warmup: float = 0.1
    min_steps: int = 60
    max_epochs: int = 6
    anchor: float = 0.1
    freeze: bool = True
    seed: int = 0

    def steps(self, lists: int) -> int:
        """Optimiser steps for so many lists."""
        once = math.ceil(lists / self.groups)
        return once * min(max(self.epochs, math.ceil(self.min_steps / once)), max(self.epochs, self.max_epochs))


@dataclass(frozen=True, slots=True)
class Examples:
    """G lists to learn from. texts: their queries. rows_GK: products, -1 padding. targets_GK: in [0, 1], NaN where the
    teacher's verdict is missing. products: text of every product, by row."""

    texts: Sequence[str]
    rows_GK: RowArray
    targets_GK: FloatArray
    products: Sequence[str]

    def __post_init__(self) -> None:
        if not len(self.texts) == len(self.rows_GK) == len(self.targets_GK):
            raise ConfigError(f"{len(self.texts)} queries, {len(self.rows_GK)} lists, {len(self.targets_GK)} targets")

    def __getitem__(self, part: slice) -> Examples:
        return Examples(self.texts[part], self.rows_GK[part], self.targets_GK[part], self.products)

    @property
    def known_GK(self) -> npt.NDArray[np.bool_]:
        """Where there is a product and a verdict."""
        return (self.rows_GK >= 0) & ~np.isnan(self.targets_GK)


def soft_targets(probs: FloatArray) -> FloatArray:
    """Expected target of verdicts (…, 4), in [0, 1]; NaN stays NaN."""
    return probs @ TARGETS


def margin_mse(scores_GK: torch.Tensor, targets_GK: torch.Tensor, known_GK: torch.Tensor) -> torch.Tensor:
    """Mean of L(q) over the lists with two known products or more; 0 where there is none. See the module."""
    count_G = known_GK.sum(1)
    gap_GK = (scores_GK - targets_GK).where(known_GK, scores_GK.new_zeros(()))
    mean_G1 = (gap_GK.sum(1) / count_G.clamp(min=1))[:, None]
    square_G = ((gap_GK - mean_G1) ** 2 * known_GK).sum(1)
    loss_G = 2 * square_G / (count_G - 1).clamp(min=1)
    usable_G = count_G > 1
    return (loss_G * usable_G).sum() / usable_G.sum().clamp(min=1)


def anchored(weight: float) -> Loss:
    """Margin MSE plus `weight` times the pointwise squared error."""

    def loss(scores_GK: torch.Tensor, targets_GK: torch.Tensor, known_GK: torch.Tensor) -> torch.Tensor:
        gap_M = (scores_GK - targets_GK)[known_GK]
        return margin_mse(scores_GK, targets_GK, known_GK) + weight * (gap_M**2).sum() / max(1, len(gap_M))

    return loss


def soft_bce(scores_GK: torch.Tensor, targets_GK: torch.Tensor, known_GK: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of σ(s) against soft targets, mean over known pairs: the teacher's loss."""
    import torch

    known = torch.nn.functional.binary_cross_entropy_with_logits(
        scores_GK[known_GK], targets_GK[known_GK], reduction="sum"
    )
    return known / known_GK.sum().clamp(min=1)


def load_classifier(folder: Path | str, layers: int | None = None, seed: int = 0) -> tuple[Any, Any]:
    """(model, tokenizer) with one logit, of any Hugging Face encoder, cross-encoder or causal LM.

    layers: keep the first so many of the model's layers. seed: of the head, where the folder has none. Raises
    JudgeError where it cannot be loaded.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    options: dict[str, Any] = {"num_hidden_layers": layers} if layers else {}
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(seed)
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, num_labels=1, dtype=torch.float32, ignore_mismatched_sizes=True, **options
            )
        except (OSError, ValueError, KeyError) as error:
            raise JudgeError(f"{folder} does not load as a one-logit classifier: {error}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return model.eval(), tokenizer


@contextmanager
def quiet() -> Iterator[None]:
    """No table of fresh weights and no bar: a new head is what is wanted."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def forward(model: Any, ids_ML: Ids, types_ML: Ids, mask_ML: npt.NDArray[np.int64]) -> torch.Tensor:
    """(M,) logits."""
    import torch

    inputs = {"input_ids": ids_ML, "attention_mask": mask_ML}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = types_ML
    tensors = {name: torch.from_numpy(values).to(model.device) for name, values in inputs.items()}
    logits: torch.Tensor = model(**tensors).logits[:, 0]
    return logits


def list_scores(model: Any, tokens: PairTokens, part: Examples) -> torch.Tensor:
    """(G, K) scores with gradients, 0 where nothing is known; pairs of like length are computed together."""
    import torch

    at_G, at_K = np.nonzero(part.known_GK)
    products = [part.products[row] for row in part.rows_GK[at_G, at_K].tolist()]
    ids_ML, types_ML, lengths_M = tokens.layout([part.texts[g] for g in at_G.tolist()], products)
    order = np.argsort(lengths_M, kind="stable")
    parts = []
    for start in range(0, len(order), CHUNK):
        chosen = order[start : start + CHUNK]
        width = int(lengths_M[chosen].max())
        mask = (np.arange(width) < lengths_M[chosen, None]).astype(np.int64)
        parts.append(forward(model, ids_ML[chosen, :width], types_ML[chosen, :width], mask))
    scores_GK = torch.zeros(part.rows_GK.shape, device=model.device)
    if not parts:
        return scores_GK
    places = (torch.from_numpy(at_G[order]).to(model.device), torch.from_numpy(at_K[order]).to(model.device))
    return scores_GK.index_put(places, torch.cat(parts).float())


def train(
    model: Any,
    tokens: PairTokens,
    examples: Examples,
    loss_function: Loss,
    settings: TrainSettings = TrainSettings(),
    progress: str | None = None,
) -> list[float]:
    """AdamW with linear warm-up and decay, in place; the loss of each step. Deterministic in the seed.

    Dropout stays off: a distilled target is no noisy label, and random numbers cost a CPU a tenth of the step.
    progress: name of the bar, None for no bar. Raises ConfigError without a list, JudgeError when the loss diverges.
    """
    import torch
    from tqdm import tqdm

    if not len(examples.texts):
        raise ConfigError("no lists to train on")
    _freeze(model, settings.freeze)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=settings.lr, weight_decay=0.01)
    steps = settings.steps(len(examples.texts))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _linear(steps, settings.warmup))
    losses: list[float] = []
    model.eval()
    for batch in tqdm(_batches(len(examples.texts), steps, settings), total=steps, desc=progress, disable=not progress):
        part = Examples(
            [examples.texts[g] for g in batch], examples.rows_GK[batch], examples.targets_GK[batch], examples.products
        )
        targets_GK = torch.from_numpy(np.nan_to_num(part.targets_GK)).to(model.device)
        known_GK = torch.from_numpy(part.known_GK).to(model.device)
        loss = loss_function(list_scores(model, tokens, part), targets_GK, known_GK)
        if not torch.isfinite(loss):
            raise JudgeError(f"training diverged at step {len(losses)} of {steps}: lower --lr, now {settings.lr}")
        if loss.requires_grad:
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return losses


def _freeze(model: Any, freeze: bool) -> None:
    """Everything that embeds tokens, where the model keeps it in one module; else the token vectors."""
    for weight in model.parameters():
        weight.requires_grad_(True)
    if freeze:
        (getattr(model.base_model, "embeddings", None) or model.get_input_embeddings()).requires_grad_(False)


def _linear(steps: int, warmup: float) -> Callable[[int], float]:
    rise = max(1, round(steps * warmup))
    return lambda step: min((step + 1) / rise, max(0.0, (steps - step) / max(1, steps - rise)))


def _batches(lists: int, steps: int, settings: TrainSettings) -> Iterator[npt.NDArray[np.int64]]:
    """Lists of each step: every epoch in an order of its own."""
    rng = np.random.default_rng(settings.seed)
    per_epoch = math.ceil(lists / settings.groups)
    for _ in range(steps // per_epoch):
        yield from np.array_split(rng.permutation(lists), per_epoch)
