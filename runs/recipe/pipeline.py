"""One way through a recipe's stages with one seed: where results lie, what stages share, what is done already.

OUT/seed-0/STAGE/student.json …      what a stage made; stage.json, written last, says that it is done
OUT/seed-0/eval.json, report.html    what the comparison found of this seed's students, written anew each time
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qr_env.common.errors import RunFolderError
from qr_env.common.hashing import sha256_text
from qr_env.common.messages import print_message
from runs.recipe.stages import RESUMES, Pairs, Stage, inputs, is_url

if TYPE_CHECKING:
    from agents.examples.scoring import Scorer
    from agents.examples.tasks import Example
    from agents.policy.student import Student
    from agents.supervised.distill_http import ServedTeacher
    from qr_env.common.types import Query
    from qr_env.evaluation.evaluator import HeldOutEvaluator
    from qr_env.shop.shop import Shop
    from runs.online.setup import TrainingSetup
    from runs.recipe.job import Args, Settings

DONE = "stage.json"


@dataclass
class SeedRun:
    """A seed's way through the stages. args: of the verb, out: its folder. settings: of the recipe."""

    args: Args
    out: Path
    settings: Settings
    stages: dict[str, Stage]
    seed: int
    shop: Shop

    @property
    def folder(self) -> Path:
        """Of this seed."""
        return self.out / f"seed-{self.seed}"

    def walk(self) -> None:
        """Every stage that is not done yet."""
        import torch

        for at, (name, stage) in enumerate(self.stages.items(), start=1):
            if self.is_done(name):
                continue
            print_message(f"[seed {self.seed}] stage {at} of {len(self.stages)}: {name}")
            torch.manual_seed(self.seed)
            self._do(name, stage)

    def _do(self, name: str, stage: Stage) -> None:
        folder = self.folder / name
        if not isinstance(stage, RESUMES):
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        figures = stage.run(self, folder)
        seconds = round(time.perf_counter() - started, 1)
        record = {"settings": asdict(stage), "print": self.fingerprint(name), "seconds": seconds, "figures": figures}
        (folder / DONE).write_text(json.dumps(record, indent=1, default=float) + "\n", encoding="utf-8")

    def is_done(self, name: str) -> bool:
        """Whether the stage has its result.

        Raises:
            RunFolderError: it has one of other settings, or its input has changed.
        """
        file = self.folder / name / DONE
        if not file.is_file():
            return False
        if json.loads(file.read_text(encoding="utf-8"))["print"] != self.fingerprint(name):
            raise RunFolderError(
                f"{file.parent} is of other settings than the recipe's (its own or a stage's before it); "
                "remove that folder and those of later stages, or name another --out"
            )
        return True

    def fingerprint(self, name: str) -> str:
        """Of a stage's settings, the shop, the recipe's settings and every stage that it reads."""
        stage = self.stages[name]
        facts = [type(stage).__name__, asdict(stage), asdict(self.settings), self.shop.hash, self.seed]
        facts += [self.fingerprint(other) for other in inputs(stage)]
        return sha256_text(json.dumps(facts, sort_keys=True, default=str), 16)

    def seconds(self, name: str) -> float:
        """How long a done stage took."""
        return float(json.loads((self.folder / name / DONE).read_text(encoding="utf-8"))["seconds"])

    def figures(self, name: str) -> dict[str, Any]:
        """What a done stage told of itself."""
        found: dict[str, Any] = json.loads((self.folder / name / DONE).read_text(encoding="utf-8"))["figures"]
        return found

    def student(self, name: str, trainable: bool = False) -> Student:
        """The student that a stage made; of an online stage the best one."""
        from agents.policy.student import Student
        from qr_env.common.atomic_io import current_version

        best = self.folder / name / "checkpoints" / "best"
        return Student.load(best if current_version(best).is_dir() else self.folder / name, trainable=trainable)

    @contextmanager
    def teacher(self, name: str, tokenizer: Any = None) -> Iterator[Student | ServedTeacher]:
        """The student that a stage made, or the only model of a server, by its URL.

        tokenizer: the student's, which a served teacher's is compared with; None where only texts are asked for.
        """
        if not is_url(name):
            yield self.student(name)
            return
        from agents.supervised.distill_http import ServedTeacher
        from qr_env.llm.capabilities import served_model
        from qr_env.llm.client import Client

        with Client(name) as client:
            yield ServedTeacher(client, served_model(client), tokenizer, self.settings.max_new_tokens)

    def save(self, student: Student, folder: Path) -> None:
        """As it is served: with the recipe's way of combining."""
        student.combine, student.weight = self.settings.combine, self.settings.weight
        student.save(folder)

    def examples(self, *names: str) -> list[Example]:
        """Of the stages that made some."""
        from agents.examples.tasks import read_examples

        return [example for name in names for example in read_examples(self.folder / name / "pairs.parquet")]

    def past(self, most: int) -> Sequence[Query]:
        """The most frequent queries of the train split."""
        return sorted(self.shop.split("train"), key=lambda query: -query.frequency)[:most]

    def flags(self, folder: Path, judge: str = "") -> Any:
        """The settings of `qr online` that the recipe implies."""
        from runs.online.args import Args

        judge = judge or self.settings.judge
        if judge == "auto":
            judge = "labels" if self.shop.qrels_complete else "embedding"
        for name in self.stages:
            judge = judge.replace(f"@{name}", str(self.folder / name))
        return Args(
            shop=self.args.shop, data=self.args.data, out=folder, retriever=self.settings.retriever, judge=judge,
            combine=self.settings.combine, weight=self.settings.weight, seed=self.seed,
            max_new_tokens=self.settings.max_new_tokens,
        )  # fmt: skip

    def pairs_args(self, stage: Pairs, folder: Path) -> Any:
        """The settings of `qr pairs` that the recipe and the stage imply."""
        from runs.pairs.job import Args

        flags = self.flags(folder)
        shared = {name: getattr(flags, name) for name in ("shop", "data", "combine", "weight", "retriever", "judge")}
        return Args(
            **shared, out=folder / "pairs.parquet", sources=stage.sources, tasks=stage.tasks, agent=stage.agent,
            queries=stage.queries, confirm=stage.confirm, seed=self.seed,
        )  # fmt: skip

    @cached_property
    def world(self) -> TrainingSetup:
        """Engine and judge of the recipe."""
        from runs.online.setup import TrainingSetup

        return TrainingSetup.make(self.flags(self.folder), self.shop)

    @cached_property
    def dev_exam(self) -> HeldOutEvaluator:
        """The dev queries that students are compared on before the end: by labels, or else by the recipe's judge."""
        judge = None if self.world.labelled("dev") else self.world.judge
        return self.world.exam("dev", judge, self.world.args.judging.held_out)

    def scorer(self, pay: str) -> Scorer:
        """Pays candidates by the reward, or by one of BEQUE's figures."""
        from agents.examples.scoring import FeedbackScorer

        score = FeedbackScorer(self.world.simulator)
        return lambda queries, options: score(queries, options)[pay]
