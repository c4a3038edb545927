"""The stages that a recipe is made of: each a few settings, and what it does in a folder of its own.

    stages:
      base:  {do: base, model: tiny, pretrain: 16000}
      pairs: {do: pairs, sources: [log, graph], tasks: [rewrite, title]}
      multi: {do: sft, start: base, examples: [pairs], tasks: {rewrite: 1.0, title: 0.3}}
      pro:   {do: pro, start: multi, pay: increment}
      live:  {do: online, start: pro, updates: 300}

`start`, `teacher`, `tokenizer`, `examples` name earlier stages; "@NAME" in a judge's name is the folder of stage NAME.
A teacher may also be the URL of an OpenAI-compatible server, http://127.0.0.1:8000/v1 (agents/supervised/distill_http.py).
A stage returns figures for `stage.json`, which is written last and says that it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qr_env.common.errors import ConfigError

if TYPE_CHECKING:
    from runs.recipe.pipeline import SeedRun

Figures = dict[str, Any]
Task = Literal["rewrite", "quality", "title", "thought", "tagging"]


@dataclass(frozen=True)
class Base:
    """A student to start from: `tiny`, pretrained on the shop's own text, or any causal LM."""

    model: str = "tiny"
    pretrain: int = 16_000
    hidden: int = 128
    layers: int = 2
    tokenizer: str = ""
    """tiny: the stage whose tokenizer it shares, for a teacher and a student that speak of the same tokens"""
    lora_rank: int = 0

    def run(self, road: SeedRun, folder: Path) -> Figures:
        """Pretrain or load, and save."""
        from agents.policy.student import Student, pretrained_student

        if self.model != "tiny":
            student = pretrained_student(self.model, road.settings.max_new_tokens, self.lora_rank)
            road.save(student, folder)
            return {"parameters": student.model.num_parameters()}
        from agents.supervised.tiny import pretrain_tiny

        shared = road.student(self.tokenizer).tokenizer if self.tokenizer else None
        model, tokenizer, figures = pretrain_tiny(
            road.shop, self.pretrain, road.seed, hidden=self.hidden, layers=self.layers, tokenizer=shared
        )
        road.save(Student(model, tokenizer, "tiny", road.settings.max_new_tokens), folder)
        return figures | {"parameters": model.num_parameters()}


@dataclass(frozen=True)
class Pairs:
    """Training examples from the shop, as `qr pairs` makes them."""

    sources: tuple[str, ...] = ("log",)
    tasks: tuple[Task, ...] = ("rewrite",)
    agent: tuple[str, ...] = ("log",)
    queries: int = 1_500
    confirm: str = "engine"

    def run(self, road: SeedRun, folder: Path) -> Figures:
        """Write `pairs.parquet`; figures are the counts of every filter."""
        from runs.pairs.job import make

        return make(road.pairs_args(self, folder), road.shop)


@dataclass(frozen=True)
class SFT:
    """Supervised fine-tuning on a mixture of tasks; the first task's examples come once an epoch, the others beside
    them, so that students with and without auxiliary tasks read the same rewrites as often."""

    start: str
    examples: tuple[str, ...]
    tasks: dict[str, float] = field(default_factory=lambda: {"rewrite": 1.0})
    learning_rate: float = 1e-3
    epochs: float = 2.0
    batch_size: int = 32
    packing: bool = False

    def run(self, road: SeedRun, folder: Path) -> Figures:
        """Train a copy of `start`; figures are each task's held-out loss and accuracy."""
        from agents.supervised.multitask import fine_tune_tasks

        student, examples = road.student(self.start, trainable=True), road.examples(*self.examples)
        first = next(iter(self.tasks))
        once = sum(example.task == first and not example.held_out for example in examples)
        report = fine_tune_tasks(
            student, examples, weights=self.tasks, learning_rate=self.learning_rate, epochs=self.epochs,
            batch_size=self.batch_size, seed=road.seed, packing=self.packing,
            size=round(once * sum(self.tasks.values()) / self.tasks[first]),
        )  # fmt: skip
        road.save(student, folder)
        return asdict(report)


@dataclass(frozen=True)
class Distill:
    """Teacher → student, by reverse KL on the student's own samples (beta 1) or forward KL (beta 0)."""

    start: str
    teacher: str
    queries: int = 1_500
    beta: float = 1.0
    on_policy: bool = True
    learning_rate: float = 3e-4
    epochs: float = 2.0
    batch_size: int = 32

    def run(self, road: SeedRun, folder: Path) -> Figures:
        """Train a copy of `start`; figures say what it keeps of its teacher's gain on dev queries, and how fast both
        are."""
        from agents.supervised.distill import distill
        from agents.supervised.retained import retained

        student = road.student(self.start, trainable=True)
        queries = [query.text for query in road.past(self.queries)]
        with road.teacher(self.teacher, student.tokenizer) as teacher:
            figures = distill(
                student, teacher, queries, beta=self.beta, on_policy=self.on_policy, learning_rate=self.learning_rate,
                epochs=self.epochs, batch_size=self.batch_size, seed=road.seed,
            )  # fmt: skip
            road.save(student, folder)
            return figures | asdict(retained(student, teacher, road.dev_exam))


@dataclass(frozen=True)
class Imitate:
    """Sequence-level distillation: the teacher's own rewrites become examples."""

    teacher: str
    queries: int = 1_500

    def run(self, road: SeedRun, folder: Path) -> Figures:
        """Write `pairs.parquet`."""
        from agents.examples.tasks import write_examples
        from agents.supervised.distill import sequence_kd

        queries = [query.text for query in road.past(self.queries)]
        with road.teacher(self.teacher) as teacher:
            examples = sequence_kd(teacher, queries, seed=road.seed)
        write_examples(folder / "pairs.parquet", examples)
        return {"examples": len(examples)}


@dataclass(frozen=True)
class PRO:
    """Preference ranking: the student's own candidates in the order that the engine pays them."""

    start: str
    pay: Literal["reward", "relevance", "increment", "hitrate"] = "increment"
    queries: int = 1_500
    samples: int = 8
    contrast: int = 4
    strength: float = 1.0
    """weight of the ranking loss beside the supervised one (λ)"""
    gold: Literal["all", "best"] = "all"
    """what the supervised loss imitates: every candidate of a list (BEQUE), or its best"""
    learning_rate: float = 3e-4
    epochs: int = 2

    def run(self, road: SeedRun, folder: Path) -> Figures:
        """Sample, score, align a copy of `start`."""
        from agents.supervised.pro import PROConfig, align, sample_candidates

        student = road.student(self.start, trainable=True)
        queries = road.past(self.queries)
        candidates = sample_candidates(student, queries, self.samples, road.scorer(self.pay), seed=road.seed)
        config = PROConfig(
            contrast=self.contrast, strength=self.strength, gold=self.gold, learning_rate=self.learning_rate,
            epochs=self.epochs,
        )  # fmt: skip
        figures = align(student, candidates, config, seed=road.seed)
        road.save(student, folder)
        return dict(figures)


@dataclass(frozen=True)
class Online:
    """Learning from the stream, as `qr online` does."""

    start: str
    optimizer: Literal["grpo", "ppo", "dpo"] = "grpo"
    updates: int = 300
    judge: str = ""
    """who grades here; "" is the recipe's judge. cross-encoder:@fast is the one that stage `fast` distilled"""
    reward: dict[str, float] = field(default_factory=dict)
    """weights of the reward's terms, the rest as they are"""
    shopper: Literal["none", "model"] = "none"
    learning_rate: float = 1e-3
    anchor_coef: float = 1.0
    kl_coef: float = 0.001
    promotion: Literal["off", "on"] = "off"

    def run(self, road: SeedRun, folder: Path) -> Figures:
        """Go on from `start`; an interrupted stage goes on where it stopped."""
        from runs.online.args import Args
        from runs.online.job import run_stages

        warm = folder / "checkpoints" / "warm"
        if not (warm / "student.json").is_file():
            road.save(road.student(self.start), warm)
        args = self._flags(road, folder)
        run_stages(replace(args, resume=(folder / "config.json").is_file()))
        if not (folder / "eval.json").is_file():
            raise KeyboardInterrupt  # stopped on request: the recipe stops too
        assert isinstance(args, Args)
        return {"updates": self.updates}

    def _flags(self, road: SeedRun, folder: Path) -> Any:
        args = road.flags(folder, self.judge)
        changed = {"optimizer": self.optimizer, "anchor_coef": self.anchor_coef, "kl_coef": self.kl_coef}
        return replace(
            args, updates=self.updates, learning_rate=self.learning_rate,
            learning=replace(args.learning, **changed),
            judging=replace(args.judging, shopper=self.shopper),
            serving=replace(args.serving, promotion=self.promotion),
            reward=replace(args.reward, **self.reward),
        )  # fmt: skip


@dataclass(frozen=True)
class Judge:
    """A distilled judge, as `qr judge distill` makes it (Walmart)."""

    teacher: str = "train"
    teacher_queries: int = 100
    sizes: tuple[int, ...] = (160,)
    layers: int = 3
    held_out: int = 120

    def run(self, road: SeedRun, folder: Path) -> Figures:
        """Teacher, lists, student; its folder is `@NAME/student`."""
        from runs.judge.distill.job import Args, main

        args = Args(
            shop=road.args.shop, data=road.args.data, out=folder, resume=(folder / "config.json").is_file(),
            teacher=self.teacher, teacher_queries=self.teacher_queries, sizes=self.sizes, seeds=(road.seed,),
            layers=self.layers, held_out=self.held_out, json=str(folder / "judge.json"),
        )  # fmt: skip
        main(args)
        return {"sizes": list(self.sizes)}


Stage = Base | Pairs | SFT | Distill | Imitate | PRO | Online | Judge
KINDS: Mapping[str, type[Stage]] = {
    "base": Base, "pairs": Pairs, "sft": SFT, "distill": Distill, "imitate": Imitate, "pro": PRO, "online": Online,
    "judge": Judge,
}  # fmt: skip
RESUMES = (Online, Judge)  # go on in a folder that was left half done; the others begin again


def inputs(stage: Stage) -> list[str]:
    """Names of the stages whose results this one reads."""
    named = [getattr(stage, name, "") for name in ("start", "teacher", "tokenizer")]
    named = [] if isinstance(stage, Judge) else [name for name in named if name and not is_url(name)]
    judge = getattr(stage, "judge", "")
    named += [part.split("/")[0] for part in judge.split("@")[1:]]
    return [*named, *getattr(stage, "examples", ())]


def is_url(name: str) -> bool:
    """Whether a teacher is behind a server instead of being a stage."""
    return name.startswith(("http://", "https://"))


def check(stages: Mapping[str, Stage]) -> None:
    """Raises ConfigError where a stage reads one that does not come before it."""
    before: set[str] = set()
    for name, stage in stages.items():
        for wanted in inputs(stage):
            if wanted not in before:
                raise ConfigError(f"stage {name!r} reads {wanted!r}, which is no stage before it: {sorted(before)}")
        before.add(name)
