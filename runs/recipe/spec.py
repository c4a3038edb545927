"""A recipe as data: the settings that all stages share, the stages, the students to compare, and the paper's claims.

    stages:
      base:  {kind: base, model: tiny, pretrain: 16000}
      pairs: {kind: pairs, sources: [log, graph], tasks: [rewrite, title]}
      multi: {kind: sft, start: base, examples: [pairs], tasks: {rewrite: 1.0, title: 0.3}}
      pro:   {kind: pro, start: multi, rank_by: increment}
      live:  {kind: online, start: pro, updates: 300}

`start`, `teacher`, `tokenizer` and `examples` name earlier stages; "@NAME" in the name of a judge is the folder of
stage NAME. A teacher may also be the URL of an OpenAI-compatible server, http://127.0.0.1:8000/v1
(agents/supervised/distill_http.py). `runs/recipe/load.py` reads a YAML file into a `Recipe`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Metrics = dict[str, object]
"""Metrics of a stage or a student by name, as JSON values."""
Task = Literal["rewrite", "quality", "title", "thought", "tagging"]
STAGE_REFERENCE = re.compile(r"@([^/,]+)")  # "@NAME" in the name of a judge


@dataclass(frozen=True)
class Settings:
    """Settings that all stages share."""

    retriever: Literal["bm25", "dense", "hybrid", "splade"] = "bm25"
    """search engine"""
    judge: str = "auto"
    """judge that rewards rewrites during training; the comparison is graded by labels where there are any"""
    combine: Literal["expand", "replace", "union"] = "expand"
    """how a rewrite is combined with the original query"""
    weight: float = 1.0
    """weight of the original's words in "expand"; the rewrite's is 1"""
    max_new_tokens: int = 10
    """maximum length of a rewrite, tokens"""
    purchases: bool = True
    """whether the shop's own purchases are known; if not, it is a shop that has none and learns from feedback"""


@dataclass(frozen=True)
class BaseStage:
    """The initial student: `tiny`, pretrained on the shop's own text, or any causal LM."""

    model: str = "tiny"
    """tiny, a Hugging Face id or a folder"""
    pretrain: int = 16_000
    """tiny: sequences of the shop's text to pretrain on"""
    hidden: int = 128
    """tiny: hidden size"""
    layers: int = 2
    """tiny: number of layers"""
    tokenizer: str = ""
    """tiny: stage whose tokenizer it shares, so that teacher and student have the same vocabulary; "" trains one"""
    lora_rank: int = 0
    """other models: rank of the LoRA adapters; 0 trains all weights"""


@dataclass(frozen=True)
class PairsStage:
    """Training examples from the shop, as `qr pairs` makes them (flags of the same names)."""

    sources: tuple[str, ...] = ("log",)
    """sources of rewrites"""
    tasks: tuple[Task, ...] = ("rewrite",)
    """tasks to make examples for"""
    agent: tuple[str, ...] = ("log",)
    """agents that write the candidates of source `engine` and task `quality`"""
    queries: int = 1_500
    """number of train queries, the most frequent first; 0 takes all"""
    confirm: str = "engine"
    """filter of rewrites from the graph, files and teachers: engine, llm:LM or none"""


@dataclass(frozen=True)
class SFTStage:
    """Supervised fine-tuning on a mixture of tasks.

    An epoch is one pass over the first task's examples; the other tasks are added on top, so that students with and
    without auxiliary tasks see the same rewrites equally often.
    """

    start: str
    """stage of the initial student"""
    examples: tuple[str, ...]
    """stages whose examples are used"""
    tasks: dict[str, float] = field(default_factory=lambda: {"rewrite": 1.0})
    """task → sampling weight"""
    learning_rate: float = 1e-3
    """peak learning rate"""
    epochs: float = 2.0
    """passes over the first task's examples"""
    batch_size: int = 32
    """examples a step"""
    packing: bool = False
    """pack several examples into one sequence"""


@dataclass(frozen=True)
class DistillStage:
    """Token-level distillation: reverse KL (beta 1) or forward KL (beta 0) from teacher to student."""

    start: str
    """stage of the initial student"""
    teacher: str
    """stage of the teacher, or the URL of a server"""
    queries: int = 1_500
    """number of train queries, the most frequent first"""
    beta: float = 1.0
    """interpolation between forward KL (0) and reverse KL (1)"""
    on_policy: bool = True
    """True trains on the student's own samples, False on the teacher's"""
    learning_rate: float = 3e-4
    """peak learning rate"""
    epochs: float = 2.0
    """passes over the queries"""
    batch_size: int = 32
    """queries a step"""


@dataclass(frozen=True)
class ImitateStage:
    """Sequence-level distillation: the teacher's own rewrites become training examples."""

    teacher: str
    """stage of the teacher, or the URL of a server"""
    queries: int = 1_500
    """number of train queries, the most frequent first"""


@dataclass(frozen=True)
class PROStage:
    """Preference ranking optimization (BEQUE): the student learns to rank its own candidates as the engine does."""

    start: str
    """stage of the initial student"""
    rank_by: Literal["reward", "relevance", "increment", "hitrate"] = "increment"
    """the score that orders the candidates: our reward, or one of BEQUE's metrics"""
    queries: int = 1_500
    """number of train queries, the most frequent first"""
    samples: int = 8
    """candidates sampled for each query"""
    contrast: int = 4
    """candidates in one ranked list"""
    strength: float = 1.0
    """weight of the ranking loss relative to the supervised loss (λ)"""
    gold: Literal["all", "best"] = "all"
    """targets of the supervised loss: every candidate of a list (BEQUE), or only the best one"""
    learning_rate: float = 3e-4
    """peak learning rate"""
    epochs: int = 2
    """passes over the ranked lists"""


@dataclass(frozen=True)
class OnlineStage:
    """Reinforcement learning on the query stream, as `qr online` does."""

    start: str
    """stage of the initial student"""
    optimizer: Literal["grpo", "ppo", "dpo"] = "grpo"
    """policy optimizer"""
    updates: int = 300
    """number of updates"""
    judge: str = ""
    """judge of this stage, "" for the recipe's; "cross-encoder:@fast/student" is the one distilled by stage `fast`"""
    reward: dict[str, float] = field(default_factory=dict)
    """weights of the reward's terms; terms not named keep their default"""
    shopper: Literal["none", "model"] = "none"
    """user model that clicks and buys"""
    learning_rate: float = 1e-3
    """peak learning rate"""
    anchor_coef: float = 1.0
    """weight of the supervised loss on rewrites taken from the query log"""
    kl_coef: float = 0.001
    """coefficient of the KL penalty against the initial student"""
    promotion: Literal["off", "on"] = "off"
    """whether a candidate must pass the paired sequential test before it serves"""
    feedback: tuple[str, ...] = ()
    """stages `visits` whose logged clicks and purchases are learned from (`qr online --feedback`)"""


@dataclass(frozen=True)
class JudgeStage:
    """A distilled judge, as `qr judge distill` trains it (Walmart); its folder is "@NAME/student"."""

    teacher: str = "train"
    """train, self, or the name of a judge (`qr judge distill --teacher`)"""
    teacher_queries: int = 100
    """train: number of labeled queries that the teacher is fine-tuned on"""
    sizes: tuple[int, ...] = (160,)
    """numbers of teacher-graded lists to train students on; the largest one's student is kept"""
    layers: int = 3
    """number of the student's layers to keep; 0 keeps all"""
    held_out: int = 120
    """dev queries for calibration and test queries for the report"""


@dataclass(frozen=True)
class VisitsStage:
    """Simulated shoppers visit the shop, and what they did is logged (runs/recipe/circle/visits.py)."""

    agent: str
    """stage of the student that serves, or identity"""
    before: str = ""
    """stage of the student that served before, and goes on where `agent` is judged worse on dev queries"""
    users: int = 3_000
    """users"""
    days: int = 1
    """days"""
    first_day: int = 0
    """number of the first day, for the times of the log"""
    visits_a_week: float = 2.0
    """mean rate of a user's visits"""
    explore: float = 0.0
    """share of the answers that are drawn among the student's candidates, with known probabilities"""
    split: Literal["train", "dev", "test"] = "train"
    """split of the queries that shoppers type"""
    flatten: float = 0.5
    """0 draws needs by the shop's frequencies; 1 draws all queries evenly"""
    draw: int = 0
    """another number draws other shoppers"""


Stage = (
    BaseStage | PairsStage | SFTStage | DistillStage | ImitateStage | PROStage | OnlineStage | JudgeStage | VisitsStage
)
STAGE_KINDS: Mapping[str, type[Stage]] = {
    "base": BaseStage, "pairs": PairsStage, "sft": SFTStage, "distill": DistillStage, "imitate": ImitateStage,
    "pro": PROStage, "online": OnlineStage, "judge": JudgeStage, "visits": VisitsStage,
}  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A result that the paper reports: student `better` scores higher than student `than` on `metric`."""

    text: str
    """the claim in words"""
    better: str
    """name of the student or baseline that scores higher"""
    than: str
    """name of the one that it is compared with"""
    metric: str = "nDCG@10"
    """metric of the comparison"""
    paper: str = ""
    """the paper's numbers, for the report"""
    slack: float = 0.0
    """non-inferiority margin: the claim is that `better` is at most this much worse than `than`"""


@dataclass(frozen=True)
class Curve:
    """A part of the page that shows what a student gains by the quality of the judge that rewards it."""

    arms: dict[str, tuple[str, ...]]
    """name → compared online stages that differ in their judge alone"""


@dataclass(frozen=True)
class Recipe:
    """A published system: its stages, the students to compare and the claims to check."""

    about: str
    """one paragraph for the report"""
    stages: dict[str, Stage]
    """name → stage, in the order in which they run"""
    compare: tuple[str, ...]
    """names of the stages whose students are compared"""
    settings: Settings = field(default_factory=Settings)
    """settings that all stages share"""
    baselines: tuple[str, ...] = ("identity",)
    """agents of `qr evaluate` that are compared too"""
    claims: tuple[Claim, ...] = ()
    """results to check"""
    curve: Curve | None = None
    """the gain of online stages by the quality of their judge; None shows none"""
    held_out: str = ""
    """pairs stage whose held-out rewrites give exact match, ROUGE-L and cross-entropy; "" computes none"""


def stage_inputs(stage: Stage) -> list[str]:
    """Names of the stages whose results a stage reads."""
    match stage:
        case BaseStage():
            return [stage.tokenizer] if stage.tokenizer else []
        case SFTStage():
            return [stage.start, *stage.examples]
        case DistillStage():
            return [stage.start] if is_url(stage.teacher) else [stage.start, stage.teacher]
        case ImitateStage():
            return [] if is_url(stage.teacher) else [stage.teacher]
        case PROStage():
            return [stage.start]
        case OnlineStage():
            return [stage.start, *STAGE_REFERENCE.findall(stage.judge), *stage.feedback]
        case VisitsStage():
            return [name for name in (stage.agent, stage.before) if name and name != "identity"]
        case PairsStage() | JudgeStage():
            return []


def is_url(name: str) -> bool:
    """Whether a teacher is served over HTTP instead of being the result of a stage."""
    return name.startswith(("http://", "https://"))
