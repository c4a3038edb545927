"""The stages of `qr judge distill`: each reads what is in the run folder, else makes it and leaves it there.

with DistillRun.open(args, shop) as run:
    run.lines(); run.point(size=400, seed=0); run.transfer()
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from judges.cross_encoder.augment import CatalogueJudge, Groups, catalogue_groups, traffic_groups
from judges.cross_encoder.judge import Calibration, CrossEncoderJudge
from judges.validation.samples import Sample, grade_sample, labelled_sample
from qr_env.common.atomic_io import atomic_write
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Judge
from runs.judge.distill.report import figures
from runs.judge.distill.training import DistillationJob, HeldOut, Pool, learn

if TYPE_CHECKING:
    from judges.cross_encoder.training import TrainSettings
    from judges.verdict_store.store import VerdictStore
    from qr_env.common.protocols import Retriever
    from qr_env.retrieval.encoder import Encoder
    from qr_env.shop.shop import Shop
    from runs.judge.distill.job import Args

TEACHER_FIELDS = ("title", "brand", "color", "description")
STUDENT_FIELDS = ("title", "brand", "color")
TRANSFER_PAIRS = 2_000
DEPTH = 10  # of the test queries' result lists
TRAIN_SEED, POOL_SEED, DEV_SEED = 1, 2, 3  # of what is drawn; students have their own


@dataclass
class DistillRun:
    """One run: its settings, its shop, and what was opened for it."""

    args: Args
    shop: Shop
    store: VerdictStore

    @classmethod
    @contextmanager
    def open(cls, args: Args, shop: Shop) -> Iterator[DistillRun]:
        """With the verdict store open."""
        from judges.verdict_store.store import VerdictStore

        with VerdictStore(args.store or args.out / "store") as store:
            yield cls(args, shop, store)

    @cached_property
    def encoder(self) -> Encoder:
        """What dense retrieval and the embedding judge share."""
        from qr_env.common.download import cache_root
        from qr_env.models.hub import resolve
        from qr_env.retrieval.encoder import Encoder

        return Encoder(resolve("minilm-l6"), cache_dir=cache_root())

    @cached_property
    def retrievers(self) -> list[Retriever]:
        """Those of --retrievers."""
        from qr_env.common.download import cache_root
        from qr_env.retrieval.factory import make_retriever

        names = self.args.retrievers
        return [
            make_retriever(name, self.shop, cache_root(), None if name == "bm25" else self.encoder) for name in names
        ]

    @cached_property
    def similarity(self) -> Judge:
        """The embedding judge: what a distilled one has to beat."""
        from judges.factory import JudgeOptions, build_embedding

        return build_embedding(self.shop, "", JudgeOptions(encoder=self.encoder))

    @cached_property
    def exam(self) -> Sample:
        """Result lists of test queries, with the shop's grades."""
        queries = [query for query in self.shop.split("test") if self.shop.qrels_complete or self._graded(query.row)]
        if not queries:
            raise ConfigError(f"{self.shop!r} has no graded test queries to report on; grade some, or use another shop")
        chosen = np.random.default_rng(0).permutation(len(queries))[: self.args.held_out]
        queries = [queries[i] for i in chosen.tolist()]
        rows_QK = self.retrievers[0].search([query.text for query in queries], DEPTH).rows_NK
        return Sample(queries, rows_QK, self.shop.levels([query.row for query in queries], rows_QK).astype(np.int8))

    def _graded(self, row: int) -> bool:
        return bool(self.shop.qrels.indptr[row + 1] > self.shop.qrels.indptr[row])

    @cached_property
    def teacher(self) -> Judge:
        """What grades the lists; trained first where it has to be."""
        name = self.args.teacher
        if name == "self":
            return CatalogueJudge(self._made[0], self.similarity)
        if name == "train":
            return self._stored(self._trained_teacher())
        from judges.factory import JudgeOptions, open_judge

        store = self.args.store or self.args.out / "store"
        options = JudgeOptions(urls=self.args.judge_url, model=self.args.judge_model, store=store)
        return open_judge(name, self.shop, options)

    def _stored(self, judge: CrossEncoderJudge) -> Judge:
        from judges.verdict_store.stored import ShopJudge

        return ShopJudge(self.shop, judge, self.store)

    def _trained_teacher(self) -> CrossEncoderJudge:
        """A cross-encoder on the labels of training queries; it reads the description."""
        from judges.cross_encoder.training import soft_bce
        from judges.simple.labels import LabelsJudge

        folder, args = self.args.out / "teacher", self.args
        if not (folder / "config.json").is_file():
            groups = traffic_groups(self.shop, self.retrievers, args.teacher_queries, "train", TRAIN_SEED)
            probs_GK4 = LabelsJudge(self.shop, "train").grade(groups.queries, groups.rows_NK).probs_NK4
            if np.isnan(probs_GK4).all():
                raise ConfigError(f"{self.shop!r} has no training labels for a teacher: --teacher self, or a judge")
            pool = Pool([query.text for query in groups.queries], groups.rows_NK, probs_GK4)
            read = Calibration(fields=TEACHER_FIELDS, max_length=args.teacher_length)
            lesson = DistillationJob(pool, soft_bce, args.teacher_base, read, self._settings(0), "labels", "teacher")
            learn(lesson, self.shop, folder, partial(self._held_out, of_labels=True))
        return CrossEncoderJudge(folder)

    def _settings(self, seed: int) -> TrainSettings:
        from judges.cross_encoder.training import TrainSettings

        return TrainSettings(self.args.epochs, lr=self.args.lr, anchor=self.args.anchor, seed=seed)

    @cached_property
    def _made(self) -> tuple[Shop, Groups]:
        """self: queries made from the catalogue; the last `held_out` of them are kept from the students."""
        wanted = max(self.args.sizes) + self.args.held_out
        return catalogue_groups(self.shop, self.retrievers, wanted, POOL_SEED)

    def _held_out(self, of_labels: bool = False) -> HeldOut:
        """What the grades are fitted on: by labels where these were asked for, or are the teacher's; else by it."""
        wanted, teacher, held_out = self.args.calibrate_on, self.args.teacher, self.args.held_out
        split = "dev" if self.shop.split("dev") else "train"
        if of_labels or wanted == "labels" or (wanted == "auto" and teacher in ("train", "labels")):
            groups = traffic_groups(self.shop, self.retrievers, held_out, split, DEV_SEED)
            source = f"labels of {self.shop.name}, {split}"
            levels_GK = self.shop.levels([query.row for query in groups.queries], groups.rows_NK).astype(np.int64)
            return HeldOut([query.text for query in groups.queries], groups.rows_NK, levels_GK, source)
        if teacher == "self":
            groups = self._made_part(slice(max(self.args.sizes), None))
        else:
            groups = traffic_groups(self.shop, self.retrievers, held_out, split, DEV_SEED)
        kept = self._kept("dev.npz", groups)
        levels_GK = np.where(np.isnan(kept.probs_GK4[..., 0]), -1, np.nan_to_num(kept.probs_GK4).argmax(-1))
        return HeldOut(kept.texts, kept.rows_GK, levels_GK, f"verdicts of {teacher}")

    def _made_part(self, part: slice) -> Groups:
        """self: some of the made queries, in their order; those after the largest size are held out."""
        made = self._made[1]
        if len(made) <= max(self.args.sizes):
            raise ConfigError(
                f"{self.shop!r} gives {len(made)} queries of its own: smaller --sizes leave some to fit on"
            )
        return Groups(made.queries[part], made.rows_NK[part])

    def _kept(self, name: str, groups: Groups | None = None) -> Pool:
        """The teacher's verdicts on lists, from the folder or asked for."""
        path = self.args.out / name
        if not path.is_file():
            groups = groups or self._pool_groups()
            graded = grade_sample(self.teacher, groups.queries, groups.rows_NK, progress=True)
            texts = [query.text for query in groups.queries]
            Pool(texts, groups.rows_NK, graded.probs_QK4).write(path)
        return Pool.read(path)

    def _pool_groups(self) -> Groups:
        if self.args.teacher == "self":
            return self._made_part(slice(max(self.args.sizes)))
        return traffic_groups(self.shop, self.retrievers, max(self.args.sizes), "train", POOL_SEED)

    def lines(self) -> dict[str, dict[str, float]]:
        """Figures of the teacher and of the embedding judge on the test lists."""
        path = self.args.out / "lines.json"
        if not path.is_file():
            names = {"embedding": self.similarity} | ({} if self.args.teacher == "self" else {"teacher": self.teacher})
            found = {}
            for name, judge in names.items():
                graded = grade_sample(judge, self.exam.queries, self.exam.rows_QK, progress=True)
                found[name] = figures(graded.probs_QK4, self.exam)
            atomic_write(path, json.dumps(found, indent=2) + "\n")
        held: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
        return held

    def point(self, size: int, seed: int) -> dict[str, Any]:
        """One student: trained on `size` lists of the pool, drawn by `seed`; its figures on the test lists."""
        path = self.args.out / "points" / f"{size}-{seed}.json"
        if not path.is_file():
            keep = size == best_size(self.args) and seed == self.args.seeds[0]
            folder = self.args.out / ("student" if keep else "points/student")
            found = self._student(size, seed, folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, json.dumps(found, indent=2) + "\n")
            if not keep:
                shutil.rmtree(folder)
        held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return held

    def _student(self, size: int, seed: int, folder: Path) -> dict[str, Any]:
        from judges.cross_encoder.training import anchored

        pool = self._kept("pool.npz")
        chosen = np.random.default_rng(seed).permutation(len(pool.texts))[:size]
        part = Pool([pool.texts[g] for g in chosen.tolist()], pool.rows_GK[chosen], pool.probs_GK4[chosen])
        read = Calibration(fields=STUDENT_FIELDS, max_length=self.args.length)
        loss, settings, name = anchored(self.args.anchor), self._settings(seed), f"student {size}, seed {seed}"
        lesson = DistillationJob(
            part, loss, self.args.student, read, settings, self.args.teacher, name, self.args.layers
        )
        folder.parent.mkdir(parents=True, exist_ok=True)
        learn(lesson, self.shop, folder, self._held_out)
        judge = CrossEncoderJudge(folder)
        graded = grade_sample(self._fresh(judge), self.exam.queries, self.exam.rows_QK, progress=True)
        return {
            "size": size,
            "lists": len(chosen),
            "pairs": int((part.rows_GK >= 0).sum()),
            "seed": seed,
            "figures": figures(graded.probs_QK4, self.exam),
            "pairs_per_second": judge.stats()["pairs_per_second"],
        }

    def _fresh(self, judge: CrossEncoderJudge, shop: Shop | None = None) -> Judge:
        """Of a shop, past the store: a student that is thrown away leaves no verdicts."""
        from judges.verdict_store.stored import ShopJudge

        return ShopJudge(shop or self.shop, judge)

    def transfer(self) -> dict[str, Any]:
        """Student, and embedding judge, against the human labels of --report-shop."""
        from judges.factory import JudgeOptions, build_embedding
        from qr_env.shop.load import load_shop

        shop = load_shop(str(self.args.report_shop), data=self.args.report_data)
        sample = labelled_sample(shop, ("train", "dev", "test"), TRANSFER_PAIRS)
        students = {"student": CrossEncoderJudge(self.args.out / "student")}
        if self.args.teacher == "train":
            students["teacher"] = CrossEncoderJudge(self.args.out / "teacher")
        judges = {name: self._fresh(judge, shop) for name, judge in students.items()}
        judges |= {"embedding": build_embedding(shop, "", JudgeOptions(encoder=self.encoder))}
        asked = {
            name: grade_sample(judge, sample.queries, sample.rows_QK, progress=True) for name, judge in judges.items()
        }
        rows = {name: figures(found.probs_QK4, sample) for name, found in asked.items()}
        return {"shop": shop.name, "pairs": sample.pairs, "queries": len(sample.queries), "figures": rows}


def best_size(args: Args) -> int:
    """The size whose first student is kept."""
    return max(args.sizes)
