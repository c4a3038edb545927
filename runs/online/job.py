"""What `qr online` does; its settings and example commands are in `runs/online/args.py`."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator

from agents.policy.checkpoint import checkpoints, load_checkpoint
from agents.policy.prompt import SUGGESTED_TEMPLATE, TEMPLATE
from agents.policy.student import Student
from agents.rl.alarms import Alarms
from agents.rl.loop import Loop, LoopConfig
from agents.rl.processes import SINGLE_PROCESS, Processes, process_group
from agents.tracking.base import Trackers, make_tracker
from judges.factory import auto_judge
from qr_env.common.messages import print_message
from qr_env.common.protocols import Stream
from qr_env.environment.brute_force_check import BruteForceCheck
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.environment.wrapper import QueryRewriteWrapper
from qr_env.retrieval.factory import checked_retriever
from qr_env.shop.shop import Shop
from qr_env.traffic.stream import StreamShare
from runs.common.engine_check import brief_check
from runs.common.folder import check_run, open_run, run_config, run_lock
from runs.common.serving_choice import SERVE_FILE, read_serving_choice
from runs.online.args import FREE, Args
from runs.online.checks import check_inputs, check_processes, check_settings, check_shop
from runs.online.evaluation import TrainingEvaluation, print_exploits
from runs.online.final_evaluation import check_report_judge, evaluate_and_report
from runs.online.learners import make_optimizer, make_promotion, needs_reference
from runs.online.setup import TrainingSetup, build_setup, learned_from_feedback, load_shop_of
from runs.online.traffic import OutcomeLogger, make_stream, report_hit_counts
from runs.online.warm_start import write_warm_start, write_warm_start_in_subprocess
from runs.report.drift import OUTCOMES_FILE
from runs.report.job import write_report
from runs.report.run_files import EVAL_FILE, REPORT_FILE

Environment = QueryRewriteVectorEnv | QueryRewriteWrapper


def main(args: Args) -> None:
    """Run every stage that is not done yet, with exclusive use of the run folder."""
    with process_group() as processes, ExitStack() as locks:
        processes.main_only(locks.enter_context, run_lock(args.out))
        run_stages(args, processes)


def run_stages(args: Args, processes: Processes = SINGLE_PROCESS) -> None:
    """Read the shop, warm start, learn online, evaluate and report."""
    args = replace(args, retriever=checked_retriever(args.retriever))
    check_settings(args)
    check_processes(args, processes.count)
    finished = processes.broadcast(is_finished, args)
    if not finished:
        processes.main_only(check_inputs, args)
    torch.manual_seed(args.seed)
    shop = processes.main_first(load_shop_of, args)
    if args.judge == "auto":
        args = replace(args, judge=auto_judge(shop))
    facts = run_facts(shop)
    processes.main_only(check_run, args.out, args, facts, args.resume, FREE)
    if processes.is_main:
        print_message(f"{shop!r}; run folder {args.out}")
    if finished:
        processes.main_only(print_finished, args)
        return
    check_shop(args, shop)
    check_report_judge(args, shop)
    setup = processes.main_first(build_setup, args, shop)
    stream = processes.main_first(make_stream, args, shop, setup.drift)
    # Nothing before this line writes a run: a command that is refused leaves no folder.
    processes.main_only(open_run, args.out, args, facts, args.resume, FREE)
    processes.main_only(print_exploits, args, setup)
    processes.main_only(print_engine_check, args, setup)
    processes.main_only(make_warm_start, args, setup, processes)
    interrupted = learn_online(args, setup, stream, processes)
    processes.main_only(report_interruption if interrupted else evaluate_and_report, args, setup)


def learn_in_recipe(args: Args, shop: Shop) -> bool:
    """The online stage of a recipe, from OUT/checkpoints/warm; True when it was interrupted.

    No engine check, no final evaluation and nothing to serve: the recipe evaluates its students itself.
    """
    args = replace(args, retriever=checked_retriever(args.retriever))
    check_settings(args)
    torch.manual_seed(args.seed)
    shop = learned_from_feedback(args, shop)
    open_run(args.out, args, run_facts(shop), args.resume, FREE)
    setup = build_setup(args, shop)
    return learn_online(args, setup, make_stream(args, shop, setup.drift))


def run_facts(shop: Shop) -> dict[str, object]:
    """What a resumed run must have in common with the run that it continues, besides its settings."""
    return {"language of the shop": shop.language, "shop": shop.hash, "template": [TEMPLATE, SUGGESTED_TEMPLATE]}


def is_finished(args: Args) -> bool:
    """Whether all updates are done, evaluated and reported."""
    if args.forever:
        return False
    last = args.out / "checkpoints" / f"update-{args.updates:06d}"
    return last.exists() and all((args.out / name).exists() for name in (SERVE_FILE, EVAL_FILE, REPORT_FILE))


def print_finished(args: Args) -> None:
    """Print what a finished run says to serve, and where its report is."""
    print(read_serving_choice(args.out).reason)
    report = (args.out / REPORT_FILE).resolve()
    print(f"finished already (raise --updates to continue); report: {report}")


def print_engine_check(args: Args, setup: TrainingSetup) -> None:
    """Print which settings of BM25 are better than the chosen ones; nothing where none is, or on a resumed run."""
    if args.resume or not args.retriever.startswith("bm25"):
        return
    advice = brief_check(setup.shop, args.retriever)
    if advice:
        print_message(f"engine check: {advice}")


def make_warm_start(args: Args, setup: TrainingSetup, processes: Processes) -> None:
    """Make the warm start if the run folder has none yet."""
    if (args.out / "checkpoints" / "warm" / "student.json").is_file():
        return
    if processes.count == 1:
        write_warm_start(args, setup)
    else:
        processes.run_in_subprocess(write_warm_start_in_subprocess, args)


def learn_online(args: Args, setup: TrainingSetup, stream: Stream, processes: Processes = SINGLE_PROCESS) -> bool:
    """The online stage, from the warm start or the newest checkpoint; True when it was interrupted."""
    folder, warm_folder = args.out / "checkpoints", args.out / "checkpoints" / "warm"
    state = None
    if args.resume and processes.broadcast(has_checkpoint, folder):
        student, state = load_checkpoint(folder, setup.suggester)
        state = processes.own_state(state)
    else:
        student = Student.load(warm_folder, trainable=True, suggester=setup.suggester)
    student.keep_hidden = args.optimizer == "ppo"

    accelerator = Accelerator()
    reference = None
    if needs_reference(args.optimizer, args.learning):
        reference = Student.load(warm_folder).model.requires_grad_(False).to(accelerator.device)
    optimizer = make_optimizer(args, student, accelerator, reference)
    envs, hit_check = open_environment(args, setup, stream, student, processes)
    resume_from = None if state is None else state["update"]
    tracker = processes.main_only(open_tracker, args, setup, resume_from) or Trackers([])
    updates = math.inf if args.forever else args.updates
    loop = Loop(
        student,
        optimizer,
        envs,
        LoopConfig(updates, evaluate_every=args.evaluation.every, checkpoint_every=args.evaluation.every),
        evaluate=TrainingEvaluation(setup, args),
        tracker=tracker,
        folder=args.out,
        generator=torch.Generator(accelerator.device).manual_seed(processes.seed(args.seed)),
        alarms=Alarms(max_length=args.learning.max_new_tokens - 0.5),
        anchor_pairs=setup.anchor_pairs() if args.learning.anchor_coef else None,
        promotion=make_promotion(args),
        processes=processes,
    )
    try:
        if state is None:
            loop.reset(args.seed)
        else:
            loop.restore(state)
        progress = loop.run()
    finally:
        tracker.close()
    if hit_check:
        report_hit_counts(args.out, hit_check.counts)
    return progress.stopped


def has_checkpoint(folder: Path) -> bool:
    """Whether the online stage has written a checkpoint."""
    return bool(checkpoints(folder))


def open_environment(
    args: Args, setup: TrainingSetup, stream: Stream, student: Student, processes: Processes
) -> tuple[Environment, BruteForceCheck | None]:
    """The environment on this process's share of the stream, and the check of its result lists, if any.

    traffic.check_hits wraps it in a check of every result list, --drift in a log of what the student and its warm start
    gain on each query.
    """
    if processes.count > 1:
        stream = StreamShare(stream, processes.rank, processes.count)
    envs = setup.environment(stream, args.prompts // processes.count, args.group_size, args.max_turns)
    hit_check = BruteForceCheck(envs) if args.traffic.check_hits else None
    if setup.drift is None:
        return hit_check or envs, hit_check
    warm_folder = args.out / "checkpoints" / "warm"
    policies = {"learning": student, "frozen": Student.load(warm_folder, suggester=setup.suggester)}
    return OutcomeLogger(hit_check or envs, setup.drift, policies, args.out / OUTCOMES_FILE), hit_check


def open_tracker(args: Args, setup: TrainingSetup, resume_from: int | None) -> Trackers:
    """The trackers of the settings; metrics after update `resume_from`, which will be logged again, are removed."""
    config = run_config(args.out, args)
    tracker = make_tracker(args.tracker, args.out, config, resume_from, setup.shop.titles)
    for name in (SERVE_FILE, EVAL_FILE):  # of a shorter run that is continued; `is_finished` reads them
        (args.out / name).unlink(missing_ok=True)
    return tracker


def report_interruption(args: Args, setup: TrainingSetup) -> None:
    """Print how to continue; a run with --forever also gets its report, without a final evaluation."""
    print_message(f"stopped; continue with: qr online {args.shop} --out {args.out} --resume")
    if args.forever:
        print(f"report: {write_report(args.out).resolve()}")
