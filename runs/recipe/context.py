"""What the stages of one seed share: shop and settings, the results of earlier stages, search engine and judge.

OUT/seed-0/STAGE/student.json …      the result of a stage
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from agents.examples.tasks import Example, read_examples
from agents.policy.student import Student
from judges.factory import auto_judge
from qr_env.common.atomic_io import current_version
from qr_env.common.types import Query
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop
from runs.online.args import Args as OnlineArgs
from runs.online.args import EvaluationSettings, LearningSettings, SuggestionSettings
from runs.online.setup import TrainingSetup, build_setup
from runs.recipe.spec import STAGE_REFERENCE, Settings

PAIRS_FILE = "pairs.parquet"


@dataclass
class StageContext:
    """Everything a stage may read besides its own spec."""

    shop_name: str
    """shop as named on the command line: generated, icecat, esci, wands, or a folder"""
    data: str | None
    """folder with the data of icecat, esci or wands; None for the default"""
    loaded_shop: Shop
    """the shop as loaded"""
    shop: Shop
    """the shop, with generated train queries if it has no purchases"""
    settings: Settings
    """settings of the recipe"""
    seed: int
    """seed of every random draw"""
    folder: Path
    """folder of this seed; each stage has a subfolder of its name"""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """how files of rewrites are read"""

    def student(self, stage: str, trainable: bool = False) -> Student:
        """The student that a stage produced; of an online stage the best checkpoint."""
        best = self.folder / stage / "checkpoints" / "best"
        return Student.load(best if current_version(best).is_dir() else self.folder / stage, trainable=trainable)

    def examples(self, *stages: str) -> list[Example]:
        """The training examples that the stages wrote."""
        return [example for stage in stages for example in read_examples(self.folder / stage / PAIRS_FILE)]

    def save_student(self, student: Student, folder: Path) -> None:
        """Save a student together with the recipe's `combine` and `weight`, with which it is to be served."""
        student.combine, student.weight = self.settings.combine, self.settings.weight
        student.save(folder)

    def train_queries(self, count: int) -> Sequence[Query]:
        """The `count` most frequent queries of the train split."""
        return sorted(self.shop.split("train"), key=lambda query: -query.frequency)[:count]

    def judge_spec(self, judge: str = "") -> str:
        """Name of a judge, "" for the recipe's: `auto` resolved, "@STAGE" replaced by that stage's folder."""
        judge = judge or self.settings.judge
        if judge == "auto":
            return auto_judge(self.shop)
        return STAGE_REFERENCE.sub(lambda match: str(self.folder / match[1]), judge)

    def online_args(self, folder: Path, judge: str = "") -> OnlineArgs:
        """Settings of `qr online` in `folder` that follow from the recipe; the rest are its defaults."""
        settings = self.settings
        return OnlineArgs(
            shop=self.shop_name, data=self.data, out=folder, retriever=settings.retriever, judge=self.judge_spec(judge),
            combine=settings.combine, weight=settings.weight, seed=self.seed,
            learning=LearningSettings(max_new_tokens=settings.max_new_tokens),
            suggestions=SuggestionSettings(titles="none"),  # students of recipes see the query alone
        )  # fmt: skip

    @cached_property
    def setup(self) -> TrainingSetup:
        """Search engine, judge and reward of the recipe."""
        return build_setup(self.online_args(self.folder), self.shop)

    @cached_property
    def serving_evaluator(self) -> HeldOutEvaluator:
        """Evaluation on dev queries by the recipe's judge alone, as a shop without labels decides what it serves."""
        return self.setup.evaluator("dev", self.setup.judge, EvaluationSettings().dev_queries, typed_only=True)

    @cached_property
    def dev_evaluator(self) -> HeldOutEvaluator:
        """Evaluation on dev queries between stages: by labels if there are any, else by the recipe's judge."""
        judge = None if self.setup.has_labels("dev") else self.setup.judge
        return self.setup.evaluator("dev", judge, EvaluationSettings().dev_queries)
