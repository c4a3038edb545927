"""Settings of `qr judge distill`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from qr_env.common.errors import ConfigError
from runs.common.judge_server import JudgeServerArgs
from runs.common.reading import ReadArgs

# Settings that a resumed run may change: they do not affect what is trained.
FREE = ("out", "resume", "on_bad_row", "encoding", "report_shop", "report_data", "json", "judge_url", "judge_timeout")


@dataclass
class DistillArgs(JudgeServerArgs, ReadArgs):
    """Train the fast cross-encoder judge from a slow one, and measure how its quality grows with the graded lists.

    qr judge distill --shop generated --out out/distill                           # teacher fine-tuned on labels
    qr judge distill --shop my_folder --teacher llm --judge-url http://gpu:8000   # any judge as teacher
    qr judge distill --shop icecat --data ../shared/data --teacher self           # neither labels nor an LLM
    qr judge distill --shop icecat --data ../shared/data --teacher self --student out/distill/student   # adapt it
    qr judge distill --sizes 50 100 200 400 800 --seeds 0 1 2                     # the curve; 25 minutes on two cores
    qr judge distill --resume …                                                   # continue a stopped run

    Stages, each stored in the folder and done once:

    teacher/                a trained teacher
    pool.npz                unlabeled lists with the teacher's verdicts
    lines.json              figures of the teacher and of the embedding judge on the result lists of test queries
    points/                 figures of one student for each size and seed
    student/                the student of the largest size and first seed: --judge cross-encoder:OUT/student
    curve.json, curve.svg   all figures, by size

    The recipe is Walmart's (arXiv 2505.07105); see judges/cross_encoder/training.py and augment.py.
    """

    shop: Annotated[str, tyro.conf.arg(aliases=["--source"])] = "generated"
    """generated, icecat, esci, wands, or a folder of your own"""
    out: Path = Path("out/distill")
    """folder of the run"""
    resume: bool = False
    """continue the run in --out"""
    teacher: str = "train"
    """train: a cross-encoder fine-tuned on the shop's training labels. self: the catalogue, without labels. Or a judge:
    labels, embedding, llm, cross-encoder:FOLDER, ensemble:a,b"""
    teacher_queries: int = 100
    """train: labeled queries that the teacher is trained on"""
    teacher_base: str = "minilm-l6"
    """train: initial weights, minilm-l6, a Hugging Face id or a folder; encoders and causal LMs"""
    teacher_length: int = 64
    """train: tokens of a pair; the teacher reads the description, the student does not"""
    student: str = "minilm-l6"
    """initial weights of the student"""
    layers: int = 0
    """keep only the first layers of the student: half of them serve twice as fast; 0 keeps all"""
    length: int = 48
    """tokens of a pair that the student reads"""
    retrievers: tuple[Literal["bm25", "dense", "hybrid"], ...] = ("bm25", "dense")
    """engines that lists are drawn from; test lists are the ten best products of the first one"""
    sizes: tuple[int, ...] = (800,)
    """lists that students are trained on, 8 products each; several make the curve: 50 100 200 400 800"""
    seeds: tuple[int, ...] = (0,)
    """one student for each: the seed draws the lists, their order and the new head"""
    epochs: int = 2
    """passes over the lists; small sets are repeated until there are enough steps"""
    lr: float = 3e-4
    """learning rate of teacher and student"""
    anchor: float = 0.1
    """weight of the pointwise error in addition to the margins; it fixes the level of the scores"""
    held_out: int = 200
    """dev queries for the map from scores to grades, and test queries to report on"""
    calibrate_on: Literal["auto", "labels", "teacher"] = "auto"
    """source of the grades that this map is fitted on; auto: labels where the teacher was trained on labels"""
    store: Path | None = None
    """folder of the verdict store; default OUT/store"""
    report_shop: str | None = None
    """also report on the human labels of another shop: icecat, …"""
    report_data: str | None = None
    """data folder of that shop"""
    json: str | None = None
    """also write the report to this file, "-" for standard output"""

    def check(self) -> None:
        """Raise ConfigError for settings that cannot be run."""
        if not self.sizes or not self.seeds or min(self.sizes) < 1:
            raise ConfigError(f"--sizes {self.sizes} --seeds {self.seeds}: at least one of each, sizes of 1 or more")

    def fixed(self) -> dict[str, str]:
        """The settings that a resumed run must not change."""
        return {name: str(value) for name, value in asdict(self).items() if name not in FREE}

    @property
    def store_folder(self) -> Path:
        """Folder of the verdict store."""
        return self.store or self.out / "store"

    @property
    def kept_student(self) -> tuple[int, int]:
        """(size, seed) of the student that stays in OUT/student."""
        return max(self.sizes), self.seeds[0]
