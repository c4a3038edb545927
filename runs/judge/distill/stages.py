"""The stages of `qr judge distill`: each reads its result from the run folder, or computes it and stores it there.

with DistillRun.open(args, shop) as run:
    run.reference_figures(); run.student_point(size=400, seed=0); run.transfer_figures()
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from judges.cross_encoder.augment import CatalogueJudge, Groups, catalogue_groups, traffic_groups
from judges.cross_encoder.judge import Calibration, CrossEncoderJudge
from judges.cross_encoder.training import TrainSettings, anchored, soft_bce
from judges.factory import JudgeOptions, build_embedding, open_judge
from judges.simple.labels import LabelsJudge
from judges.validation.samples import Sample, grade_sample, labelled_sample
from judges.verdict_store.store import VerdictStore
from judges.verdict_store.stored import ShopJudge
from qr_env.common.atomic_io import atomic_write
from qr_env.common.download import cache_root
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Judge, Retriever
from qr_env.retrieval.encoder import Encoder
from qr_env.retrieval.factory import default_encoder, make_retriever
from qr_env.shop import load_shop
from qr_env.shop.shop import Shop
from runs.judge.distill.args import DistillArgs
from runs.judge.distill.figures import figures
from runs.judge.distill.training import DistillationJob, HeldOut, TeacherLists, train_judge

TEACHER_FIELDS = ("title", "brand", "color", "description")
STUDENT_FIELDS = ("title", "brand", "color")
TRANSFER_PAIRS = 2_000
DEPTH = 10  # products of a test query's result list
TEACHER_SEED, POOL_SEED, DEV_SEED = 1, 2, 3  # of the lists drawn; students have seeds of their own


@dataclass
class DistillRun:
    """One run, and what was opened for it."""

    args: DistillArgs
    """settings"""
    shop: Shop
    """the shop whose queries and products are used"""
    store: VerdictStore
    """verdicts of the trained teacher"""

    @classmethod
    @contextmanager
    def open(cls, args: DistillArgs, shop: Shop) -> Iterator[DistillRun]:
        """With the verdict store open."""
        with VerdictStore(args.store_folder) as store:
            yield cls(args, shop, store)

    # What the stages share, made on first use.

    @cached_property
    def encoder(self) -> Encoder:
        """The text encoder of dense retrieval and of the embedding judge."""
        return default_encoder()

    @cached_property
    def retrievers(self) -> list[Retriever]:
        """The engines of --retrievers."""
        return [
            make_retriever(name, self.shop, cache_root(), None if name == "bm25" else self.encoder)
            for name in self.args.retrievers
        ]

    @cached_property
    def embedding_judge(self) -> Judge:
        """The embedding judge, the baseline of a distilled one."""
        return build_embedding(self.shop, "", JudgeOptions(encoder=self.encoder))

    @cached_property
    def test_lists(self) -> Sample:
        """Result lists of test queries, with the shop's grades."""
        queries = [query for query in self.shop.split("test") if self.shop.qrels_complete or self._graded(query.row)]
        if not queries:
            raise ConfigError(f"{self.shop!r} has no graded test queries to report on; grade some, or use another shop")
        chosen = np.random.default_rng(0).permutation(len(queries))[: self.args.held_out]
        queries = [queries[i] for i in chosen.tolist()]
        rows_PK = self.retrievers[0].search([query.text for query in queries], DEPTH).rows_NK
        return Sample(queries, rows_PK, self.shop.levels([query.row for query in queries], rows_PK).astype(np.int8))

    def _graded(self, row: int) -> bool:
        return bool(self.shop.qrels.indptr[row + 1] > self.shop.qrels.indptr[row])

    @cached_property
    def catalogue_lists(self) -> tuple[Shop, Groups]:
        """Teacher "self": queries generated from the catalogue, and the shop that has them.

        The last `held_out` of them are not shown to students.
        """
        count = max(self.args.sizes) + self.args.held_out
        return catalogue_groups(self.shop, self.retrievers, count, POOL_SEED)

    def _catalogue_part(self, part: slice) -> Groups:
        groups = self.catalogue_lists[1]
        if len(groups) <= max(self.args.sizes):
            raise ConfigError(
                f"{self.shop!r} gives {len(groups)} queries of its own: smaller --sizes leave some to fit on"
            )
        return Groups(groups.queries[part], groups.rows_NK[part])

    # The teacher and its verdicts.

    @cached_property
    def teacher(self) -> Judge:
        """The judge that grades the students' lists; trained first where --teacher is "train"."""
        name = self.args.teacher
        if name == "self":
            return CatalogueJudge(self.catalogue_lists[0], self.embedding_judge)
        if name == "train":
            return ShopJudge(self.shop, self._trained_teacher(), self.store)
        options = replace(self.args.judge_options(), store=self.args.store_folder)
        return open_judge(name, self.shop, options)

    def _trained_teacher(self) -> CrossEncoderJudge:
        """A cross-encoder trained on the labels of training queries; it reads the description."""
        folder, args = self.args.out / "teacher", self.args
        if not (folder / "config.json").is_file():
            groups = traffic_groups(self.shop, self.retrievers, args.teacher_queries, "train", TEACHER_SEED)
            probs_NK4 = LabelsJudge(self.shop, "train").grade(groups.queries, groups.rows_NK).probs_NK4
            if np.isnan(probs_NK4).all():
                raise ConfigError(f"{self.shop!r} has no training labels for a teacher: --teacher self, or a judge")
            lists = TeacherLists([query.text for query in groups.queries], groups.rows_NK, probs_NK4)
            read = Calibration(fields=TEACHER_FIELDS, max_length=args.teacher_length)
            job = DistillationJob(lists, soft_bce, args.teacher_base, read, self._settings(0), "labels", "teacher")
            train_judge(job, self.shop, folder, self._held_out_labels())
        return CrossEncoderJudge(folder)

    def _settings(self, seed: int) -> TrainSettings:
        return TrainSettings(self.args.epochs, lr=self.args.lr, anchor=self.args.anchor, seed=seed)

    def _teacher_lists(self, name: str, groups: Groups) -> TeacherLists:
        """The teacher's verdicts on lists, from the file in the folder, else from the teacher."""
        path = self.args.out / name
        if not path.is_file():
            graded = grade_sample(self.teacher, groups.queries, groups.rows_NK, progress=True)
            TeacherLists([query.text for query in groups.queries], groups.rows_NK, graded.probs_PK4).write(path)
        return TeacherLists.read(path)

    # Held-out levels for the map from scores to grades.

    def _held_out(self) -> HeldOut:
        """Levels by labels if --calibrate-on asks for them or the teacher was trained on them, else by the teacher."""
        wanted, teacher = self.args.calibrate_on, self.args.teacher
        if wanted == "labels" or (wanted == "auto" and teacher in ("train", "labels")):
            return self._held_out_labels()
        if teacher == "self":
            groups = self._catalogue_part(slice(max(self.args.sizes), None))
        else:
            groups = self._held_out_groups()
        lists = self._teacher_lists("dev.npz", groups)
        levels_NK = np.where(np.isnan(lists.probs_NK4[..., 0]), -1, np.nan_to_num(lists.probs_NK4).argmax(-1))
        return HeldOut(lists.texts, lists.rows_NK, levels_NK, f"verdicts of {teacher}")

    def _held_out_labels(self) -> HeldOut:
        groups = self._held_out_groups()
        levels_NK = self.shop.levels([query.row for query in groups.queries], groups.rows_NK).astype(np.int64)
        source = f"labels of {self.shop.name}, {self._held_out_split}"
        return HeldOut([query.text for query in groups.queries], groups.rows_NK, levels_NK, source)

    def _held_out_groups(self) -> Groups:
        return traffic_groups(self.shop, self.retrievers, self.args.held_out, self._held_out_split, DEV_SEED)

    @property
    def _held_out_split(self) -> str:
        return "dev" if self.shop.split("dev") else "train"

    # The stages.

    def reference_figures(self) -> dict[str, dict[str, float]]:
        """Figures of the embedding judge and of the teacher on the test lists."""
        path = self.args.out / "lines.json"
        if not path.is_file():
            judges = {"embedding": self.embedding_judge}
            if self.args.teacher != "self":
                judges["teacher"] = self.teacher
            found = {name: self._test_figures(judge) for name, judge in judges.items()}
            atomic_write(path, json.dumps(found, indent=2) + "\n")
        stored: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
        return stored

    def _test_figures(self, judge: Judge) -> dict[str, float]:
        graded = grade_sample(judge, self.test_lists.queries, self.test_lists.rows_PK, progress=True)
        return figures(graded.probs_PK4, self.test_lists)

    def student_point(self, size: int, seed: int) -> dict[str, Any]:
        """One student, trained on `size` lists drawn with `seed`, and its figures on the test lists."""
        path = self.args.out / "points" / f"{size}-{seed}.json"
        if not path.is_file():
            keep = (size, seed) == self.args.kept_student
            folder = self.args.out / ("student" if keep else "points/student")
            found = self._student(size, seed, folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, json.dumps(found, indent=2) + "\n")
            if not keep:
                shutil.rmtree(folder)
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return stored

    def _student(self, size: int, seed: int, folder: Path) -> dict[str, Any]:
        pool = self._pool()
        lists = pool[np.random.default_rng(seed).permutation(len(pool.texts))[:size]]
        job = DistillationJob(
            lists,
            loss=anchored(self.args.anchor),
            base=self.args.student,
            read=Calibration(fields=STUDENT_FIELDS, max_length=self.args.length),
            settings=self._settings(seed),
            teacher=self.args.teacher,
            name=f"student {size}, seed {seed}",
            layers=self.args.layers,
        )
        folder.parent.mkdir(parents=True, exist_ok=True)
        train_judge(job, self.shop, folder, self._held_out())
        judge = CrossEncoderJudge(folder)
        found = self._test_figures(ShopJudge(self.shop, judge))  # without the store: most students are deleted
        return {
            "size": size,
            "lists": len(lists.texts),
            "pairs": int((lists.rows_NK >= 0).sum()),
            "seed": seed,
            "figures": found,
            "pairs_per_second": judge.stats()["pairs_per_second"],
        }

    def _pool(self) -> TeacherLists:
        """The lists that students are trained on."""
        if (self.args.out / "pool.npz").is_file():
            return TeacherLists.read(self.args.out / "pool.npz")
        size = max(self.args.sizes)
        if self.args.teacher == "self":
            groups = self._catalogue_part(slice(size))
        else:
            groups = traffic_groups(self.shop, self.retrievers, size, "train", POOL_SEED)
        return self._teacher_lists("pool.npz", groups)

    def transfer_figures(self) -> dict[str, Any]:
        """Figures of student, teacher and embedding judge on the human labels of --report-shop."""
        shop = load_shop(str(self.args.report_shop), self.args.report_data, options=self.args.read_options())
        sample = labelled_sample(shop, ("train", "dev", "test"), TRANSFER_PAIRS)
        judges: dict[str, Judge] = {"student": ShopJudge(shop, CrossEncoderJudge(self.args.out / "student"))}
        if self.args.teacher == "train":
            judges["teacher"] = ShopJudge(shop, CrossEncoderJudge(self.args.out / "teacher"))
        judges["embedding"] = build_embedding(shop, "", JudgeOptions(encoder=self.encoder))
        rows = {}
        for name, judge in judges.items():
            graded = grade_sample(judge, sample.queries, sample.rows_PK, progress=True)
            rows[name] = figures(graded.probs_PK4, sample)
        return {"shop": shop.name, "pairs": sample.pairs, "queries": len(sample.queries), "figures": rows}
