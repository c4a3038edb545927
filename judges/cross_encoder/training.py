"""Training of cross-encoder judges: a teacher on soft targets, a student on the teacher's score differences.

    model, tokenizer = load_classifier(resolve("minilm-l6"), layers=6, seed=0)
    train(model, tokens, examples, margin_mse, TrainSettings())

Walmart's recipe (arXiv 2505.07105). Grades become soft targets t: Irrelevant and
Complement 0, Substitute ½, Exact 1 (the paper maps five grades to these three; ours are ESCI's four). The teacher
is trained on them by binary cross-entropy; the student on the teacher's t by margin MSE over all pairs of one query's
list, with s its score:

    L(q) = 2 / (n (n − 1)) · Σ_{i<j} ((s_i − s_j) − (t_i − t_j))²

With d = s − t, Σ_{i<j} (d_i − d_j)² = n Σ (d_i − d̄)², so L(q) is twice the unbiased variance of d: no pair is formed.
The loss fixes differences only: the level of a score is learnt from lists with good and bad products
(`judges/cross_encoder/augment.py` adds random ones) and from the term `anchor` · mean (s − t)².
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
from tqdm import tqdm

from judges.cross_encoder.pair_tokens import Ids, PairTokens
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.common.types import FloatArray, RowArray
from qr_env.models.no_code import LOAD_ERRORS, refuse_code, safe_loading
from qr_env.models.progress import no_weight_bars

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Soft target of each of `LEVELS`.
TARGETS = np.array([0.0, 0.0, 0.5, 1.0], np.float32)
CHUNK = 16  # pairs of similar length a forward pass: little padding, and no slower on a CPU than larger batches

Loss = Callable[["torch.Tensor", "torch.Tensor", "torch.Tensor"], "torch.Tensor"]


@dataclass(frozen=True)
class TrainSettings:
    """Settings of `train`."""

    epochs: int = 2
    """passes over the lists"""
    groups: int = 8
    """lists a step"""
    lr: float = 3e-4
    """peak learning rate of AdamW"""
    warmup: float = 0.1
    """share of the steps in which the learning rate rises"""
    min_steps: int = 60
    """small sets are repeated until there are this many steps, for at most `max_epochs` passes"""
    max_epochs: int = 6
    """greatest number of passes"""
    anchor: float = 0.1
    """weight of the pointwise term of the student's loss"""
    freeze: bool = True
    """keep the word embeddings fixed (half of MiniLM's weights)"""
    seed: int = 0
    """order of the lists"""

    def steps(self, lists: int) -> int:
        """Number of optimiser steps."""
        per_epoch = math.ceil(lists / self.groups)
        return per_epoch * min(
            max(self.epochs, math.ceil(self.min_steps / per_epoch)), max(self.epochs, self.max_epochs)
        )


@dataclass(frozen=True, slots=True)
class Examples:
    """N training lists of K products."""

    texts: Sequence[str]
    """N query texts"""
    rows_NK: RowArray
    """(N, K) int32 product rows, -1 is padding"""
    targets_NK: FloatArray
    """(N, K) targets in [0, 1], NaN where the teacher's verdict is missing"""
    products: Sequence[str]
    """text of every product, by row"""

    def __post_init__(self) -> None:
        if not len(self.texts) == len(self.rows_NK) == len(self.targets_NK):
            raise ConfigError(f"{len(self.texts)} queries, {len(self.rows_NK)} lists, {len(self.targets_NK)} targets")

    def __getitem__(self, part: slice) -> Examples:
        return Examples(self.texts[part], self.rows_NK[part], self.targets_NK[part], self.products)

    @property
    def known_NK(self) -> npt.NDArray[np.bool_]:
        """True where there is a product and a target."""
        return (self.rows_NK >= 0) & ~np.isnan(self.targets_NK)


def soft_targets(probs: FloatArray) -> FloatArray:
    """Expected target of verdicts (…, 4) → (…), in [0, 1]; NaN stays NaN."""
    return probs @ TARGETS


def margin_mse(scores_NK: torch.Tensor, targets_NK: torch.Tensor, known_NK: torch.Tensor) -> torch.Tensor:
    """Mean of L(q) over the lists with two or more known products; 0 without such a list. See the module docstring."""
    count_N = known_NK.sum(1)
    gap_NK = (scores_NK - targets_NK).where(known_NK, scores_NK.new_zeros(()))
    mean_N1 = (gap_NK.sum(1) / count_N.clamp(min=1))[:, None]
    square_N = ((gap_NK - mean_N1) ** 2 * known_NK).sum(1)
    loss_N = 2 * square_N / (count_N - 1).clamp(min=1)
    usable_N = count_N > 1
    return (loss_N * usable_N).sum() / usable_N.sum().clamp(min=1)


def anchored(weight: float) -> Loss:
    """Margin MSE plus `weight` times the pointwise squared error."""

    def loss(scores_NK: torch.Tensor, targets_NK: torch.Tensor, known_NK: torch.Tensor) -> torch.Tensor:
        gap_M = (scores_NK - targets_NK)[known_NK]
        return margin_mse(scores_NK, targets_NK, known_NK) + weight * (gap_M**2).sum() / max(1, len(gap_M))

    return loss


def soft_bce(scores_NK: torch.Tensor, targets_NK: torch.Tensor, known_NK: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of σ(s) against soft targets, mean over known pairs: the teacher's loss."""
    import torch

    known = torch.nn.functional.binary_cross_entropy_with_logits(
        scores_NK[known_NK], targets_NK[known_NK], reduction="sum"
    )
    return known / known_NK.sum().clamp(min=1)


def load_classifier(
    folder: Path | str, layers: int | None = None, seed: int = 0
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(model, tokenizer) of a one-logit classifier from any Hugging Face encoder, cross-encoder or causal LM.

    layers: keep this many of the model's first layers. seed: of a new head, where the folder has none.
    Raises JudgeError where it cannot be loaded.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    options: dict[str, Any] = {"num_hidden_layers": layers} if layers else {}
    with torch.random.fork_rng(), no_weight_bars(), _no_warnings():
        torch.manual_seed(seed)
        try:
            tokenizer = AutoTokenizer.from_pretrained(refuse_code(folder), trust_remote_code=False)
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, num_labels=1, dtype=torch.float32, ignore_mismatched_sizes=True, **safe_loading(), **options
            )
        except LOAD_ERRORS as error:
            raise JudgeError(f"{folder} does not load as a one-logit classifier: {error}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return model.eval(), tokenizer


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Suppress transformers' warning about the newly initialised weights of a head, which are intended."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def forward(model: PreTrainedModel, ids_MT: Ids, types_MT: Ids, mask_MT: npt.NDArray[np.int64]) -> torch.Tensor:
    """(M,) logits."""
    import torch

    inputs = {"input_ids": ids_MT, "attention_mask": mask_MT}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = types_MT
    tensors = {name: torch.from_numpy(values).to(model.device) for name, values in inputs.items()}
    logits: torch.Tensor = model(**tensors).logits[:, 0]
    return logits


def list_scores(model: PreTrainedModel, tokens: PairTokens, part: Examples) -> torch.Tensor:
    """(N, K) scores with gradients, 0 where no target is known; pairs of similar length share a forward pass."""
    import torch

    at_N, at_K = np.nonzero(part.known_NK)
    products = [part.products[row] for row in part.rows_NK[at_N, at_K].tolist()]
    ids_MT, types_MT, lengths_M = tokens.layout([part.texts[n] for n in at_N.tolist()], products)
    order = np.argsort(lengths_M, kind="stable")
    parts = []
    for start in range(0, len(order), CHUNK):
        chosen = order[start : start + CHUNK]
        width = int(lengths_M[chosen].max())
        mask = (np.arange(width) < lengths_M[chosen, None]).astype(np.int64)
        parts.append(forward(model, ids_MT[chosen, :width], types_MT[chosen, :width], mask))
    scores_NK = torch.zeros(part.rows_NK.shape, device=model.device)
    if not parts:
        return scores_NK
    places = (torch.from_numpy(at_N[order]).to(model.device), torch.from_numpy(at_K[order]).to(model.device))
    return scores_NK.index_put(places, torch.cat(parts).float())


def train(
    model: PreTrainedModel,
    tokens: PairTokens,
    examples: Examples,
    loss_function: Loss,
    settings: TrainSettings = TrainSettings(),
    progress: str | None = None,
) -> list[float]:
    """Train in place by AdamW with linear warm-up and decay. Returns the loss of each step; deterministic in the seed.

    Dropout is off: distilled targets are not noisy labels, and its random numbers cost a tenth of a step on a CPU.
    progress: label of the progress bar, None for no bar. Raises ConfigError without a list, JudgeError when the loss
    diverges.
    """
    import torch

    if not len(examples.texts):
        raise ConfigError("no lists to train on")
    _freeze_embeddings(model, settings.freeze)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=settings.lr, weight_decay=0.01)
    steps = settings.steps(len(examples.texts))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _linear(steps, settings.warmup))
    losses: list[float] = []
    model.eval()
    for batch in tqdm(_batches(len(examples.texts), steps, settings), total=steps, desc=progress, disable=not progress):
        part = Examples(
            [examples.texts[n] for n in batch], examples.rows_NK[batch], examples.targets_NK[batch], examples.products
        )
        targets_NK = torch.from_numpy(np.nan_to_num(part.targets_NK)).to(model.device)
        known_NK = torch.from_numpy(part.known_NK).to(model.device)
        loss = loss_function(list_scores(model, tokens, part), targets_NK, known_NK)
        if not torch.isfinite(loss):
            raise JudgeError(f"training diverged at step {len(losses)} of {steps}: lower `lr` (now {settings.lr})")
        if loss.requires_grad:
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return losses


def _freeze_embeddings(model: PreTrainedModel, freeze: bool) -> None:
    """Freeze the model's embedding module where it has one, else the token vectors."""
    for weight in model.parameters():
        weight.requires_grad_(True)
    if freeze:
        (getattr(model.base_model, "embeddings", None) or model.get_input_embeddings()).requires_grad_(False)


def _linear(steps: int, warmup: float) -> Callable[[int], float]:
    """Factor of the learning rate by step: linear rise, then linear decay to 0."""
    rise = max(1, round(steps * warmup))
    return lambda step: min((step + 1) / rise, max(0.0, (steps - step) / max(1, steps - rise)))


def _batches(lists: int, steps: int, settings: TrainSettings) -> Iterator[npt.NDArray[np.int64]]:
    """Indices of the lists of each step; every epoch has its own random order."""
    rng = np.random.default_rng(settings.seed)
    per_epoch = math.ceil(lists / settings.groups)
    for _ in range(steps // per_epoch):
        yield from np.array_split(rng.permutation(lists), per_epoch)
