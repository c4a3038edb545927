"""The main job: a student warm-starts from the shop's past and keeps learning from its query stream.

    qr online generated --out out/quickstart                        # the embedded default, minutes on two cores
    qr online my_shop/ --judge embedding --out out/mine             # products.csv and queries.csv are enough
    qr online generated --student smollm2-135m --out out/smollm     # a student that knows words the shop never wrote
    qr online generated --out out/quickstart --resume               # go on after Ctrl-C
    qr online generated --promotion on --forever                    # until told to stop; serves only what is proven

Stages: read the shop → index → (tiny: pretrain on the shop's text) → warm start on pairs that engine and judge like →
GRPO, PPO or DPO on the stream → evaluation on held-out queries → report.html. All of it lands in --out.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tqdm import tqdm

from qr_env.errors import ConfigError
from qr_env.paper_rewards import Pay
from qr_env.reward import Weights
from runs.cli import run
from runs.stream import OUTCOMES, StreamFlags, Watched
from runs.world import JudgeFlags, World

if TYPE_CHECKING:
    from agents.base import Agent
    from agents.learner import Learner
    from agents.promotion import Promotion
    from agents.student import Student
    from qr_env.shop import Shop


@dataclass(frozen=True)
class LearningFlags:
    """How the online stage learns."""

    optimizer: Literal["grpo", "ppo", "dpo"] = "grpo"
    """grpo: the group's mean reward is the baseline. ppo: a value head predicts it, token by token. dpo: a group's best
    rewrite is preferred to its worst."""
    epochs: int | None = None
    """Passes over a rollout; None is 1 for grpo and dpo, 2 for ppo."""
    ratio: Literal["token", "sequence"] = "token"
    """grpo: what is clipped, the probability ratio of each token or of the whole rewrite (GSPO)."""
    leave_one_out: bool = False
    """grpo: compare a rewrite with the others of its group only (RLOO)."""
    kl_target: float = 0.0
    """ppo: nats a token that the price of KL is steered to; 0 leaves it at kl_coef."""
    dpo_beta: float = 0.1
    """dpo: price of leaving the warm start; reference-free it wants 1 and more."""
    dpo_margin: float = 0.0
    """dpo: rewrites make a pair when their rewards differ by as much; ties never do."""
    dpo_all_pairs: bool = False
    """dpo: every pair of a group instead of its best and worst."""
    reference_free: bool = False
    """dpo: mean log-probabilities a token (SimPO) instead of ratios to the warm start."""
    kl_coef: float = 0.001
    """grpo, ppo: price of leaving the warm start; 0 saves the reference pass."""
    normalize_std: bool = True
    """Divide advantages by their group's deviation: faster with a judge that can be trusted, easier to exploit else."""
    policy_coef: float = 1.0
    """Weight of the reinforcement loss; 0 is the anchor alone, to see what either adds."""
    anchor_coef: float = 1.0
    """Weight of the supervised loss on rewrites that the log suggests for the streaming queries; 0 is GRPO alone."""
    pay: Literal["weights", Pay] = "weights"
    """weights: ours, by --reward.*. Else another system's reward, as it is (qr_env/paper_rewards.py)."""
    max_turns: int = 1
    """Rewrites of a query, one after the other: on later turns the student sees what it wrote and what was found, and
    is paid for what the new one adds. An update is a turn. grpo and ppo."""
    temper: float = 0.25
    """Traffic is drawn by frequency to this power: 1 as it is, 0 every query alike."""


@dataclass(frozen=True)
class PromotionFlags:
    """What serves while the student learns, and for how long."""

    promotion: Literal["off", "on"] = "off"
    """on: a policy of its own serves the stream, and a copy of the student takes its place only when a paired
    sequential test has proven it better; an alarm rolls back. checkpoints/serving, promotions.jsonl."""
    canary: float = 0.1
    """Share of the traffic that a candidate serves once half of the evidence is there."""
    promotion_alpha: float = 0.05
    """Bound on promoting a candidate that is not better, however often one looks."""
    promotion_spend: bool = False
    """The bound is for all candidates of the run together; else it is for each."""
    promotion_queries: int = 4_096
    """Queries after which a candidate that is not proven better is given up; the first ones get an eighth of it."""
    forever: bool = False
    """Learn until Ctrl-C or SIGTERM, whatever --updates says; then --resume goes on."""


@dataclass
class Args:
    shop: Annotated[str, tyro.conf.arg(name="shop"), tyro.conf.Positional] = "generated"
    """Where products and queries come from: generated, icecat, esci, wands, or a folder of your own files."""
    out: Path = Path("out/quickstart")
    """The run's folder; never overwritten, continued with --resume."""
    data: str | None = None
    """Local folder of a named source (else it is downloaded)."""
    student: str = "tiny"
    """tiny, smollm2-135m, or any causal LM: a Hugging Face id or a local folder."""
    retriever: Literal["bm25", "dense", "hybrid"] = "bm25"
    """The engine that searches."""
    judge: str = "auto"
    """Who grades while learning: labels (the shop's own grades or known truth), embedding (needs no labels), llm (a
    server), cross-encoder[:MODEL] (`qr judge distill`), replay, ensemble:A,B. auto takes labels where the shop knows
    its whole truth (generated), else embedding."""
    combine: Literal["expand", "replace", "union"] = "expand"
    """How a rewrite meets its original: added to its words, instead of them, or both lists merged."""
    weight: float = 1.0
    """Weight of the original's words in "expand"; the rewrite's is 1. Heavier is safer and gains less."""
    pretrain: int = 16_000
    """Sequences of the shop's own text that `tiny` reads first."""
    warm_queries: int = 1_500
    """Queries of the past for the warm start, the most frequent first; 0 skips it."""
    updates: int = 600
    """Online updates."""
    prompts: int = 32
    """Queries an update."""
    group_size: int = 8
    """Rewrites a query."""
    learning_rate: float | None = None
    """Of warm start and online stage; None is 1e-3 for tiny, 4e-5 for a pretrained student."""
    lora_rank: int = 0
    """0 trains all weights; else LoRA adapters of this rank."""
    max_new_tokens: int = 10
    """Longest rewrite, in tokens."""
    evaluate_every: int = 25
    """Updates between evaluations on the dev split; checkpoints are written as often."""
    on_bad_row: Literal["stop", "skip"] = "stop"
    """What to do with a dirty row of the shop's files."""
    tracker: tuple[Literal["wandb", "trackio", "tensorboard", "none"], ...] = ("none",)
    """Where figures, samples, events and the evaluation go besides the run folder, one or several
    (WANDB_MODE=offline needs no account)."""
    resume: bool = False
    """Go on exactly where the run in --out stopped."""
    seed: int = 0
    """Of everything."""
    learning: Annotated[LearningFlags, tyro.conf.arg(name="")] = field(default_factory=LearningFlags)
    judging: Annotated[JudgeFlags, tyro.conf.arg(name="")] = field(default_factory=JudgeFlags)
    serving: Annotated[PromotionFlags, tyro.conf.arg(name="")] = field(default_factory=PromotionFlags)
    streaming: Annotated[StreamFlags, tyro.conf.arg(name="")] = field(default_factory=StreamFlags)
    reward: Weights = field(default_factory=Weights)
    """Weights of the reward's terms (qr_env/reward.py)."""


def main(args: Args) -> None:
    """Run every stage that is not done yet, alone in the run folder."""
    from runs.folder import only_one

    with only_one(args.out):
        run_stages(args)


def run_stages(args: Args) -> None:
    """Read the shop, warm start, learn, evaluate and report."""
    import torch

    from agents.checkpoint import save_student
    from agents.prompt import TEMPLATE

    torch.manual_seed(args.seed)
    shop = read_shop(args)
    if args.judge == "auto":
        args = replace(args, judge="labels" if shop.qrels_complete else "embedding")
    facts = {"shop": shop.hash, "template": TEMPLATE} | {name: getattr(args, name) for name in FACTS}
    from runs.folder import open_run

    if args.learning.max_turns > 1:
        if args.learning.optimizer == "dpo":
            raise ConfigError("--max-turns > 1 with --optimizer dpo: on a later turn no two rewrites answer one prompt")
        facts |= {"max_turns": args.learning.max_turns}
    open_run(args.out, args, facts, args.resume)
    _say(f"{shop!r}; run folder {args.out}")
    if is_finished(args):
        print(f"finished already (raise --updates to go on); report: {(args.out / 'report.html').resolve()}")
        return
    world = World.make(args, shop)
    warm_folder = args.out / "checkpoints" / "warm"
    if not (warm_folder / "student.json").is_file():
        student, pairs = warm_start(args, world)
        (args.out / "warm_pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
        save_student(warm_folder, student)
    if learn_online(args, world, warm_folder):
        _say(f"stopped; go on with: qr online {args.shop} --out {args.out} --resume")
        if args.serving.forever:  # its only end: what can be told without an hour of evaluation
            from runs.report import write_report

            print(f"report: {write_report(args.out).resolve()}")
        return
    finish(args, world)


def is_finished(args: Args) -> bool:
    """All updates done, evaluated and reported."""
    if args.serving.forever:
        return False
    last = args.out / "checkpoints" / f"update-{args.updates:06d}"
    return all(path.exists() for path in (last, args.out / "eval.json", args.out / "report.html"))


def read_shop(args: Args) -> Shop:
    """The shop; one without train purchases gets queries made from its catalogue, since nothing else can teach."""
    from qr_env.shops import load_shop

    return with_past(load_shop(args.shop, data=args.data, seed=0, on_bad_row=args.on_bad_row), args.seed)


def with_past(shop: Shop, seed: int) -> Shop:
    """The shop, with queries made from its catalogue if nothing was bought for its train queries."""
    train = {query.id for query in shop.split("train")}
    if any(name in train for name in shop.purchases["query_id"].to_pylist()):
        return shop
    from qr_env.catalogue_queries import with_catalogue_queries

    made = with_catalogue_queries(shop, CATALOGUE_QUERIES, seed)
    _say(f"no purchases to learn from: {len(made.queries) - len(shop.queries):,} queries made from the catalogue")
    return made


CATALOGUE_QUERIES = 8_000
WARM_EPOCHS = 2.0
# A resumed run must have the same.
FACTS = ("seed", "student", "retriever", "judge", "combine", "weight", "prompts", "group_size")


def learning_rate(args: Args) -> float:
    """A model from noise can take large steps; a pretrained one would forget what it knows."""
    return args.learning_rate or (1e-3 if args.student == "tiny" else 4e-5)


def warm_start(args: Args, world: World) -> tuple[Student, list[tuple[str, str]]]:
    """A student that has read the shop's text (tiny) and imitates rewrites that engine and judge like."""
    from agents.sft import fine_tune, response_sequences

    student = replace(new_student(args, world.shop), combine=args.combine, weight=args.weight)
    pairs = warm_pairs(args, world)
    if pairs:
        sequences = response_sequences(student.tokenizer, pairs)
        result = fine_tune(
            student.model, student.tokenizer, sequences, learning_rate=learning_rate(args),
            batch_size=32, epochs=WARM_EPOCHS, seed=args.seed, description="warm start",
        )  # fmt: skip
        _say(f"warm start: loss {result['train_loss']:.2f}, {result['train_runtime']:.0f} s")
    return student, pairs


def new_student(args: Args, shop: Shop) -> Student:
    """`tiny`, pretrained on this shop, or a pretrained causal LM."""
    from agents.student import Student, pretrained_student

    if args.student != "tiny":
        return pretrained_student(args.student, args.max_new_tokens, args.lora_rank)
    from agents.tiny import pretrain_tiny

    model, tokenizer, result = pretrain_tiny(shop, args.pretrain, args.seed)
    _say(
        f"tiny: {model.num_parameters():,} parameters, loss {result['train_loss']:.2f}, {result['train_runtime']:.0f} s"
    )
    return Student(model, tokenizer, "tiny", args.max_new_tokens)


def warm_pairs(args: Args, world: World) -> list[tuple[str, str]]:
    """Pairs from the most frequent queries of the past, by rejection sampling."""
    from agents.pairs import candidates, rejection_sample, simulator_scorer, word_model

    past = sorted(world.shop.split("train"), key=lambda query: -query.frequency)[: args.warm_queries]
    if not past:
        return []
    options = candidates(word_model(world.shop, past), past)
    if args.combine != "expand":
        options = [[f"{query.text} {text}" for text in texts] for query, texts in zip(past, options, strict=True)]
    found = rejection_sample(past, options, simulator_scorer(world.simulator))
    _say(f"warm pairs: {found.tried:,} candidates, {found.kept:,} queries rewritten, {found.alone:,} left alone")
    return found.pairs


def learn_online(args: Args, world: World, warm_folder: Path) -> bool:
    """The online stage, from the warm start or the newest checkpoint; True when it was interrupted."""
    import torch
    from accelerate import Accelerator

    from agents.alarms import Alarms
    from agents.checkpoint import checkpoints, load_checkpoint, set_rng_state
    from agents.online import LoopConfig, Progress, learn
    from agents.student import Student
    from agents.tracking import make_tracker
    from runs.folder import resolved

    folder = args.out / "checkpoints"
    state: dict[str, Any] | None = None
    if args.resume and checkpoints(folder):
        student, state = load_checkpoint(folder)
    else:
        student = Student.load(warm_folder, trainable=True)
    student.keep_hidden = args.learning.optimizer == "ppo"
    reference = Student.load(warm_folder).model.requires_grad_(False) if needs_reference(args.learning) else None
    accelerator = Accelerator()
    if reference is not None:
        reference.to(accelerator.device)
    optimizer = make_learner(args, student, accelerator, reference)
    envs: Any = world.envs()
    if world.drift is not None:
        policies = {"learning": student, "frozen": Student.load(warm_folder)}
        envs = Watched(envs, world.drift, policies, args.out / OUTCOMES)
    generator, progress = torch.Generator(accelerator.device).manual_seed(args.seed), Progress()
    hints = world.hints() if args.learning.anchor_coef else None
    alarms = Alarms(max_length=args.max_new_tokens - 0.5)
    if state is None:
        observation, _ = envs.reset(seed=args.seed)
    else:
        optimizer.load_state_dict(state["optimizer"])
        observation = envs.load_state_dict(state["envs"])
        generator.set_state(state["generator"])
        progress = Progress(state["update"], **state["progress"])
        alarms.load_state_dict(state["alarms"])
        if hints:
            hints.load_state_dict(state["hints"])
        set_rng_state(state["rng"])
    promotion = make_promotion(args)
    if promotion and state and state.get("promotion"):
        promotion.load_state_dict(state["promotion"], student)
    resume_from = None if state is None else progress.update
    tracker = make_tracker(args.tracker, args.out, resolved(args.out, args), resume_from, world.shop.titles)
    loop = LoopConfig(math.inf if args.serving.forever else args.updates, args.evaluate_every, args.evaluate_every)
    try:
        learn(
            student, optimizer, envs, loop, score=world.held_out_score(), observation=observation, tracker=tracker,
            folder=args.out, generator=generator, progress=progress, alarms=alarms, hints=hints,
            promotion=promotion,
        )  # fmt: skip
    finally:
        tracker.close()
    return progress.stopped


def make_promotion(args: Args) -> Promotion | None:
    """What guards the serving policy, or None."""
    from agents.promotion import Promotion, PromotionConfig

    flags = args.serving
    if flags.promotion == "off":
        return None
    config = PromotionConfig(
        flags.canary, flags.promotion_alpha, flags.promotion_queries, flags.promotion_spend, args.evaluate_every
    )
    return Promotion(config, args.out / "checkpoints", args.seed)


def needs_reference(flags: LearningFlags) -> bool:
    """Whether the optimiser reads the warm start as its reference policy."""
    return not flags.reference_free if flags.optimizer == "dpo" else bool(flags.kl_coef)


def make_learner(args: Args, student: Student, accelerator: Any, reference: Any) -> Learner:
    """PPO, DPO or GRPO, by the settings."""
    from agents.dpo import DPO, DPOConfig
    from agents.grpo import GRPO, GRPOConfig
    from agents.ppo import PPO, PPOConfig

    flags = args.learning
    common: dict[str, Any] = {
        "learning_rate": learning_rate(args),
        # The rate falls to a tenth by the end; where the shop changes there is no end at which all is learned.
        "updates": 0 if args.serving.forever or args.streaming.drift else args.updates,
        "kl_coef": flags.kl_coef,
        "policy_coef": flags.policy_coef,
        "anchor_coef": flags.anchor_coef,
    }
    parts = student.model, student.tokenizer
    if flags.optimizer == "ppo":
        return PPO(
            *parts, PPOConfig(epochs=flags.epochs or 2, kl_target=flags.kl_target, **common), accelerator, reference
        )
    if flags.optimizer == "dpo":
        pairs = DPOConfig(
            epochs=flags.epochs or 1, beta=flags.dpo_beta, margin=flags.dpo_margin, all_pairs=flags.dpo_all_pairs,
            reference_free=flags.reference_free, **common,
        )  # fmt: skip
        return DPO(*parts, pairs, accelerator, reference)
    config = GRPOConfig(
        epochs=flags.epochs or 1, normalize_std=flags.normalize_std, leave_one_out=flags.leave_one_out,
        ratio=flags.ratio, aggregation=flags.ratio, **common,
    )  # fmt: skip
    return GRPO(*parts, config, accelerator, reference)


def finish(args: Args, world: World) -> None:
    """Evaluate on the test split, by labels where there are any or by another judge, and write the report."""
    from rich.console import Console

    from agents.baselines import RM3, Identity, Oracle, Spell
    from agents.student import Student
    from agents.tracking import send_evaluation
    from qr_env.tables import comparison
    from runs.folder import resolved
    from runs.report import write_eval, write_report

    shop, folder = world.shop, args.out / "checkpoints"
    split = "test" if shop.split("test") else "dev"  # a log of a few queries may hash none of them to test
    exam = world.exam(split, world.report_judge(split))
    agents: list[Agent] = [Identity(), Spell(shop), RM3(shop, world.retriever)]
    students = {"warm start": folder / "warm", "online": folder / "best"}
    if args.serving.promotion == "on":
        students["serving"] = folder / "serving"
    agents += [replace(Student.load(path), name=name) for name, path in students.items()]
    agents += [Oracle(shop)] if shop.oracle else []
    evaluations = {agent.name: exam.mark(agent) for agent in tqdm(agents, desc="evaluate", unit="agent")}
    write_eval(args.out, evaluations, shop, agent="online", seed=args.seed, exam=exam)
    send_evaluation(args.tracker, args.out, resolved(args.out, args), args.updates, evaluations)
    report = write_report(args.out)
    Console(width=None if sys.stdout.isatty() else 160).print(comparison(evaluations))
    print(f"report: {report.resolve()}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(Args, main, description=__doc__)
