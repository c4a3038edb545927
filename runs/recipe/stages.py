"""What each kind of stage does in its folder: one function a kind, the specs are in `runs/recipe/spec.py`.

A stage reads earlier results through the `StageContext`, writes its own into `folder`, and returns metrics as JSON
values for `stage.json`, which `runs/recipe/pipeline.py` writes last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from agents.examples.scoring import FeedbackScorer
from agents.examples.tasks import write_examples
from agents.policy.student import Student, pretrained_student
from agents.supervised.distill import distill, sequence_kd
from agents.supervised.distill_http import ServedTeacher
from agents.supervised.multitask import fine_tune_tasks
from agents.supervised.pro import PROConfig, align, sample_candidates
from agents.supervised.retention import measure_retention
from agents.supervised.tiny import pretrain_tiny
from qr_env.common.types import FloatArray, Query
from qr_env.llm.capabilities import served_model
from qr_env.llm.client import Client
from runs.judge.distill.args import DistillArgs
from runs.judge.distill.job import distill_judge
from runs.online.job import learn_in_recipe
from runs.pairs.args import PairConfig
from runs.pairs.stages import make_pairs
from runs.recipe.circle.visits import run_visits
from runs.recipe.context import PAIRS_FILE, StageContext
from runs.recipe.spec import (
    BaseStage,
    DistillStage,
    ImitateStage,
    JudgeStage,
    Metrics,
    OnlineStage,
    PairsStage,
    PROStage,
    SFTStage,
    Stage,
    VisitsStage,
    is_url,
)  # fmt: skip
from runs.report.job import write_report


def run_stage(stage: Stage, context: StageContext, folder: Path) -> Metrics:
    """Run a stage in its folder and return its metrics."""
    match stage:
        case BaseStage():
            return run_base(stage, context, folder)
        case PairsStage():
            return run_pairs(stage, context, folder)
        case SFTStage():
            return run_sft(stage, context, folder)
        case DistillStage():
            return run_distill(stage, context, folder)
        case ImitateStage():
            return run_imitate(stage, context, folder)
        case PROStage():
            return run_pro(stage, context, folder)
        case OnlineStage():
            return run_online(stage, context, folder)
        case JudgeStage():
            return run_judge(stage, context, folder)
        case VisitsStage():
            return run_visits(stage, context, folder)


def run_base(stage: BaseStage, context: StageContext, folder: Path) -> Metrics:
    """Pretrain `tiny` on the shop's text, or load a causal LM; save it as a student."""
    length = context.settings.max_new_tokens
    if stage.model != "tiny":
        student = pretrained_student(stage.model, length, stage.lora_rank)
        context.save_student(student, folder)
        return {"parameters": student.model.num_parameters()}
    tokenizer = context.student(stage.tokenizer).tokenizer if stage.tokenizer else None
    model, tokenizer, metrics = pretrain_tiny(
        context.shop, stage.pretrain, context.seed, hidden=stage.hidden, layers=stage.layers, tokenizer=tokenizer
    )
    context.save_student(Student(model, tokenizer, "tiny", length), folder)
    return {**metrics, "parameters": model.num_parameters()}


def run_pairs(stage: PairsStage, context: StageContext, folder: Path) -> Metrics:
    """Write `pairs.parquet`; the metrics are the counts of every filter and of the examples a task."""
    settings = context.settings
    config = PairConfig(
        sources=stage.sources, tasks=stage.tasks, agent=stage.agent, queries=stage.queries, confirm=stage.confirm,
        combine=settings.combine, weight=settings.weight, retriever=settings.retriever, judge=context.judge_spec(),
        seed=context.seed,
    )  # fmt: skip
    pairs = make_pairs(config, context.shop, context.reading)
    write_examples(folder / PAIRS_FILE, pairs.examples)
    return pairs.metrics()


def run_sft(stage: SFTStage, context: StageContext, folder: Path) -> Metrics:
    """Fine-tune a copy of `start`; the metrics are each task's held-out loss and accuracy before and after."""
    student, examples = context.student(stage.start, trainable=True), context.examples(*stage.examples)
    first_task = next(iter(stage.tasks))
    of_first_task = sum(example.task == first_task and not example.held_out for example in examples)
    report = fine_tune_tasks(
        student, examples, weights=stage.tasks, learning_rate=stage.learning_rate, epochs=stage.epochs,
        batch_size=stage.batch_size, seed=context.seed, packing=stage.packing,
        size=round(of_first_task * sum(stage.tasks.values()) / stage.tasks[first_task]),
    )  # fmt: skip
    context.save_student(student, folder)
    return asdict(report)


def run_distill(stage: DistillStage, context: StageContext, folder: Path) -> Metrics:
    """Distill into a copy of `start`; the metrics hold the share of the teacher's gain that it keeps on dev queries,
    and the latency of both."""
    student = context.student(stage.start, trainable=True)
    queries = [query.text for query in context.train_queries(stage.queries)]
    with open_teacher(stage.teacher, context, student.tokenizer) as teacher:
        metrics = distill(
            student, teacher, queries, beta=stage.beta, on_policy=stage.on_policy, learning_rate=stage.learning_rate,
            epochs=stage.epochs, batch_size=stage.batch_size, seed=context.seed,
        )  # fmt: skip
        context.save_student(student, folder)
        return metrics | asdict(measure_retention(student, teacher, context.dev_evaluator))


def run_imitate(stage: ImitateStage, context: StageContext, folder: Path) -> Metrics:
    """Write the teacher's rewrites of train queries as `pairs.parquet`."""
    queries = [query.text for query in context.train_queries(stage.queries)]
    with open_teacher(stage.teacher, context) as teacher:
        examples = sequence_kd(teacher, queries, seed=context.seed)
    write_examples(folder / PAIRS_FILE, examples)
    return {"examples": len(examples)}


@dataclass(frozen=True)
class MetricScorer:
    """A `Scorer` by one of the metrics of `FeedbackScorer`."""

    scorer: FeedbackScorer
    """scores candidates by all metrics"""
    metric: str
    """reward, relevance, increment or hitrate"""

    def __call__(self, queries: Sequence[Query], options: Sequence[Sequence[str]], /) -> FloatArray:
        """(P, G) scores of up to G candidates for each of P queries."""
        return self.scorer(queries, options)[self.metric]


def run_pro(stage: PROStage, context: StageContext, folder: Path) -> Metrics:
    """Sample candidates from a copy of `start`, score them with the engine, train on their ranking."""
    student = context.student(stage.start, trainable=True)
    scorer = MetricScorer(FeedbackScorer(context.setup.simulator), stage.rank_by)
    queries = context.train_queries(stage.queries)
    candidates = sample_candidates(student, queries, stage.samples, scorer, seed=context.seed)
    config = PROConfig(
        contrast=stage.contrast, strength=stage.strength, gold=stage.gold, learning_rate=stage.learning_rate,
        epochs=stage.epochs,
    )  # fmt: skip
    metrics = align(student, candidates, config, seed=context.seed)
    context.save_student(student, folder)
    return dict(metrics)


def run_online(stage: OnlineStage, context: StageContext, folder: Path) -> Metrics:
    """Continue from `start` on the query stream; an interrupted stage resumes from its last checkpoint."""
    warm = folder / "checkpoints" / "warm"
    if not (warm / "student.json").is_file():
        context.save_student(context.student(stage.start), warm)
    args = context.online_args(folder, stage.judge)
    args = replace(
        args, updates=stage.updates, learning_rate=stage.learning_rate, resume=(folder / "config.json").is_file(),
        optimizer=stage.optimizer, shopper=stage.shopper, promotion=stage.promotion,
        learning=replace(args.learning, anchor_coef=stage.anchor_coef, kl_coef=stage.kl_coef),
        reward=replace(args.reward, **stage.reward), feedback=tuple(context.folder / name for name in stage.feedback),
    )  # fmt: skip
    if learn_in_recipe(args, context.shop):
        raise KeyboardInterrupt  # the user stopped the online run, so the recipe stops too
    write_report(folder)
    return {"updates": stage.updates}


def run_judge(stage: JudgeStage, context: StageContext, folder: Path) -> Metrics:
    """Distill a judge; an interrupted stage resumes."""
    args = DistillArgs(
        shop=context.shop_name, data=context.data, out=folder, resume=(folder / "config.json").is_file(),
        teacher=stage.teacher, teacher_queries=stage.teacher_queries, sizes=stage.sizes, seeds=(context.seed,),
        layers=stage.layers, held_out=stage.held_out, json=str(folder / "judge.json"),
    )  # fmt: skip
    distill_judge(args, context.loaded_shop)
    return {"sizes": list(stage.sizes)}


@contextmanager
def open_teacher(
    name: str, context: StageContext, tokenizer: PreTrainedTokenizerBase | None = None
) -> Iterator[Student | ServedTeacher]:
    """The student of a stage, or the only model of the server at URL `name`.

    Args:
        tokenizer: the student's, whose token ids a served teacher must share; None if only texts are needed.
    """
    if not is_url(name):
        yield context.student(name)
        return
    with Client(name) as client:
        yield ServedTeacher(client, served_model(client), tokenizer, context.settings.max_new_tokens)
