"""Training a cross-encoder for `qr judge distill`: from lists with verdicts to a folder that serves.

lesson = DistillationJob(pool, soft_bce, base, Calibration(fields=("title",)), TrainSettings(epochs=2), "labels", "teacher")
learn(lesson, shop, folder, lambda: HeldOut(texts, rows_GK, levels_GK, "labels of dev"))
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from judges.cross_encoder.judge import Calibration, CrossEncoderJudge
from judges.simple.embedding import Levels
from qr_env.common.types import FloatArray, RowArray

if TYPE_CHECKING:
    from judges.cross_encoder.training import Loss, TrainSettings
    from qr_env.shop.shop import Shop

COMPARED = 256  # held-out pairs on which int8 is compared with 32 bits


@dataclass(frozen=True, slots=True)
class Pool:
    """G lists with the teacher's verdicts."""

    texts: list[str]
    rows_GK: RowArray
    probs_GK4: FloatArray

    @classmethod
    def read(cls, path: Path) -> Pool:
        with np.load(path) as held:
            return cls(held["texts"].tolist(), held["rows_GK"], held["probs_GK4"])

    def write(self, path: Path) -> None:
        scratch = path.with_suffix(".part.npz")
        np.savez_compressed(scratch, texts=np.array(self.texts), rows_GK=self.rows_GK, probs_GK4=self.probs_GK4)
        scratch.replace(path)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """G lists with levels, −1 where unknown, on which grades are fitted; source: whose levels they are."""

    texts: list[str]
    rows_GK: RowArray
    levels_GK: Levels
    source: str

    def pairs(self, products: list[str]) -> tuple[list[tuple[str, str]], Levels]:
        """The pairs that have a level, as texts, and their levels."""
        at_G, at_K = np.nonzero(self.levels_GK >= 0)
        rows_M = self.rows_GK[at_G, at_K].tolist()
        pairs = [(self.texts[g], products[row]) for g, row in zip(at_G.tolist(), rows_M, strict=True)]
        return pairs, self.levels_GK[at_G, at_K]


@dataclass(frozen=True, slots=True)
class DistillationJob:
    """What is trained on what.

    base: the model to start from, cut to `layers` layers, 0 for all. read: fields and length of what it reads.
    teacher: whose verdicts `pool` holds. name: for the progress bar.
    """

    pool: Pool
    loss: Loss
    base: str
    read: Calibration
    settings: TrainSettings
    teacher: str
    name: str
    layers: int = 0


def learn(lesson: DistillationJob, shop: Shop, folder: Path, held_out: Callable[[], HeldOut]) -> None:
    """Train, export, fit the grades on held-out ones: the folder appears when it serves."""
    from judges.cross_encoder.export import export
    from judges.cross_encoder.pair_tokens import PairTokens
    from judges.cross_encoder.training import Examples, load_classifier, soft_targets, train
    from qr_env.models.hub import resolve
    from qr_env.retrieval.encoder import product_texts

    pool, read, settings = lesson.pool, lesson.read, lesson.settings
    model, tokenizer = load_classifier(resolve(lesson.base), lesson.layers or None, settings.seed)
    products = product_texts(shop, read.fields)
    examples = Examples(pool.texts, pool.rows_GK, soft_targets(pool.probs_GK4), products)
    train(model, PairTokens(tokenizer, read.max_length), examples, lesson.loss, settings, progress=lesson.name)
    origin = {"base": lesson.base, "shop": shop.hash, "lists": len(pool.texts), "seed": settings.seed}
    origin |= {"teacher": lesson.teacher}
    held = held_out()
    pairs, levels_M = held.pairs(products)
    scratch = folder.with_name(f".{folder.name}")
    export(model, tokenizer, scratch, replace(read, provenance=origin), pairs[:COMPARED])
    judge = CrossEncoderJudge(scratch)
    judge.fit(pairs, levels_M, held.source).write(scratch)
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)
