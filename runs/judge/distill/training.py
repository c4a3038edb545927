"""Train a cross-encoder for `qr judge distill`: from lists with verdicts to a folder that the judge loads.

job = DistillationJob(lists, soft_bce, base, Calibration(fields=("title",)), TrainSettings(), "labels", "teacher")
train_judge(job, shop, folder, HeldOut(texts, rows_NK, levels_NK, "labels of dev"))
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np

from judges.cross_encoder.export import export
from judges.cross_encoder.judge import Calibration, CrossEncoderJudge
from judges.cross_encoder.pair_tokens import PairTokens
from judges.cross_encoder.training import Examples, Loss, TrainSettings, load_classifier, soft_targets, train
from judges.simple.thresholds import Levels
from qr_env.common.arrays import load_arrays
from qr_env.common.atomic_io import atomic_folder, atomic_write
from qr_env.common.types import FloatArray, RowArray
from qr_env.models.hub import resolve
from qr_env.retrieval.encoder import product_texts
from qr_env.shop.shop import Shop

COMPARED_PAIRS = 256  # held-out pairs on which int8 is compared with float32


@dataclass(frozen=True, slots=True)
class TeacherLists:
    """N lists with the teacher's verdicts."""

    texts: list[str]
    """N queries"""
    rows_NK: RowArray
    """(N, K) product rows, -1 padding"""
    probs_NK4: FloatArray
    """(N, K, 4) probability of each level; NaN without a verdict"""

    def __getitem__(self, chosen_N: np.ndarray) -> TeacherLists:
        texts = [self.texts[g] for g in chosen_N.tolist()]
        return TeacherLists(texts, self.rows_NK[chosen_N], self.probs_NK4[chosen_N])

    @classmethod
    def read(cls, path: Path) -> TeacherLists:
        """The lists of a file that `write` made."""
        arrays = load_arrays(path)
        return cls(arrays["texts"].tolist(), arrays["rows_NK"], arrays["probs_NK4"])

    def write(self, path: Path) -> None:
        """Write a compressed .npz file, atomically."""
        buffer = BytesIO()
        np.savez_compressed(buffer, texts=np.array(self.texts), rows_NK=self.rows_NK, probs_NK4=self.probs_NK4)
        atomic_write(path, buffer.getvalue())


@dataclass(frozen=True, slots=True)
class HeldOut:
    """N lists with levels, on which the map from scores to grades is fitted."""

    texts: list[str]
    """N queries"""
    rows_NK: RowArray
    """(N, K) product rows, -1 padding"""
    levels_NK: Levels
    """(N, K) int64 levels, -1 where unknown"""
    source: str
    """where the levels come from, for the judge's folder"""

    def pairs(self, products: list[str]) -> tuple[list[tuple[str, str]], Levels]:
        """The pairs that have a level, as (query, product text), and their levels."""
        at_N, at_K = np.nonzero(self.levels_NK >= 0)
        rows_M = self.rows_NK[at_N, at_K].tolist()
        pairs = [(self.texts[g], products[row]) for g, row in zip(at_N.tolist(), rows_M, strict=True)]
        return pairs, self.levels_NK[at_N, at_K]


@dataclass(frozen=True, slots=True)
class DistillationJob:
    """One cross-encoder to train."""

    lists: TeacherLists
    """the training data"""
    loss: Loss
    """loss of scores against the teacher's soft targets"""
    base: str
    """initial weights: minilm-l6, a Hugging Face id or a folder"""
    read: Calibration
    """product fields and tokens of a pair that the model reads"""
    settings: TrainSettings
    """epochs, learning rate, seed"""
    teacher: str
    """name of the teacher, for the judge's folder"""
    name: str
    """text of the progress bar"""
    layers: int = 0
    """keep only the first layers of the base model; 0 keeps all"""


def train_judge(job: DistillationJob, shop: Shop, folder: Path, held_out: HeldOut) -> None:
    """Train, export, fit the grades on held-out lists; the folder appears when it is complete."""
    model, tokenizer = load_classifier(resolve(job.base), job.layers or None, job.settings.seed)
    products = product_texts(shop, job.read.fields)
    examples = Examples(job.lists.texts, job.lists.rows_NK, soft_targets(job.lists.probs_NK4), products)
    train(model, PairTokens(tokenizer, job.read.max_length), examples, job.loss, job.settings, progress=job.name)
    origin = {"base": job.base, "shop": shop.hash, "lists": len(job.lists.texts), "seed": job.settings.seed}
    origin |= {"teacher": job.teacher}
    pairs, levels_M = held_out.pairs(products)
    with atomic_folder(folder) as temporary:
        export(model, tokenizer, temporary, replace(job.read, provenance=origin), pairs[:COMPARED_PAIRS])
        judge = CrossEncoderJudge(temporary)
        judge.fit(pairs, levels_M, held_out.source).write(temporary)
