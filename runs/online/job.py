"""What `qr online` does; its settings, and the commands, are in `runs/online/args.py`."""

from __future__ import annotations

import math
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from agents.rl.processes import SINGLE_PROCESS, Processes, process_group
from qr_env.common.messages import print_message
from runs.common.query_log import read_shop
from runs.online.args import FREE, Args
from runs.online.learners import check, check_processes, make_learner, make_promotion, needs_reference
from runs.online.setup import TrainingSetup
from runs.online.warm_start import save_warm_start
from runs.stream.job import OUTCOMES, OutcomeLogger, tell_hits

if TYPE_CHECKING:
    from agents.policy.student import Student
    from agents.tracking.base import Trackers
    from qr_env.common.protocols import Agent


def main(args: Args) -> None:
    """Run every stage that is not done yet, alone in the run folder."""
    from runs.common.folder import only_one

    with process_group() as processes, ExitStack() as held:
        processes.main_only(lambda: held.enter_context(only_one(args.out)))
        run_stages(args, processes)


def run_stages(args: Args, processes: Processes = SINGLE_PROCESS) -> None:
    """Read the shop, warm start, learn, evaluate and report."""
    import torch

    from agents.policy.prompt import TEMPLATE
    from runs.common.folder import open_run

    check(args)
    check_processes(args, processes.count)
    torch.manual_seed(args.seed)
    shop = processes.main_first(lambda: read_shop(args))
    if args.judge == "auto":
        args = replace(args, judge="labels" if shop.qrels_complete else "embedding")
    facts = {"shop": shop.hash, "template": TEMPLATE}
    processes.main_only(lambda: open_run(args.out, args, facts, args.resume, FREE))
    processes.main_only(lambda: print_message(f"{shop!r}; run folder {args.out}"))
    if processes.broadcast(lambda: is_finished(args)):
        report = (args.out / "report.html").resolve()
        processes.main_only(lambda: print(f"finished already (raise --updates to go on); report: {report}"))
        return
    world = processes.main_first(lambda: TrainingSetup.make(args, shop))
    processes.main_only(lambda: warm_up(args, world, processes))
    stopped = learn_online(args, world, processes)
    processes.main_only(lambda: part_for_now(args) if stopped else finish(args, world))


def warm_up(args: Args, world: TrainingSetup, processes: Processes) -> None:
    """Make the warm start if there is none yet."""
    if (args.out / "checkpoints" / "warm" / "student.json").is_file():
        return
    if processes.count == 1:
        save_warm_start(args, world)
    else:
        processes.run_in_subprocess(save_warm_start, args)


def part_for_now(args: Args) -> None:
    """What is said of a run that was told to stop."""
    print_message(f"stopped; go on with: qr online {args.shop} --out {args.out} --resume")
    if args.serving.forever:  # its only end: what can be told without an hour of evaluation
        from runs.report.job import write_report

        print(f"report: {write_report(args.out).resolve()}")


def is_finished(args: Args) -> bool:
    """All updates done, evaluated and reported."""
    if args.serving.forever:
        return False
    last = args.out / "checkpoints" / f"update-{args.updates:06d}"
    return all(path.exists() for path in (last, args.out / "eval.json", args.out / "report.html"))


def learn_online(args: Args, world: TrainingSetup, processes: Processes = SINGLE_PROCESS) -> bool:
    """The online stage, from the warm start or the newest checkpoint; True when it was interrupted."""
    import torch
    from accelerate import Accelerator

    from agents.policy.checkpoint import checkpoints, load_checkpoint
    from agents.policy.student import Student
    from agents.rl.alarms import Alarms
    from agents.rl.loop import Loop, LoopConfig

    folder, warm_folder = args.out / "checkpoints", args.out / "checkpoints" / "warm"
    state: dict[str, Any] | None = None
    if args.resume and processes.broadcast(lambda: bool(checkpoints(folder))):
        student, state = load_checkpoint(folder)
        state = processes.own_state(state)
    else:
        student = Student.load(warm_folder, trainable=True)
    student.keep_hidden = args.learning.optimizer == "ppo"
    reference = Student.load(warm_folder).model.requires_grad_(False) if needs_reference(args.learning) else None
    accelerator = Accelerator()
    if reference is not None:
        reference.to(accelerator.device)
    optimizer = make_learner(args, student, accelerator, reference)
    envs = open_envs(args, world, student, processes)
    generator = torch.Generator(accelerator.device).manual_seed(processes.seed(args.seed))
    hints = world.hints() if args.learning.anchor_coef else None
    alarms = Alarms(max_length=args.max_new_tokens - 0.5)
    tracker = open_tracker(args, world, None if state is None else state["update"], processes)
    config = LoopConfig(math.inf if args.serving.forever else args.updates, args.evaluate_every, args.evaluate_every)
    loop = Loop(
        student, optimizer, envs, config, evaluate=world.held_out_score(), tracker=tracker, folder=args.out,
        generator=generator, alarms=alarms, anchor_pairs=hints, promotion=make_promotion(args), processes=processes,
    )  # fmt: skip
    try:
        if state is None:
            loop.reset(args.seed)
        else:
            loop.restore(state)
        progress = loop.run()
    finally:
        tracker.close()
    if args.streaming.check_hits:
        tell_hits(args.out, envs.counts)
    return progress.stopped


def open_envs(args: Args, world: TrainingSetup, student: Student, processes: Processes) -> Any:
    """The environment of this process's share; where asked for, with every list checked, and with a log of how the
    student and its warm start would have rewritten each query."""
    from agents.policy.student import Student
    from qr_env.environment.brute_force_check import BruteForceCheck

    envs: Any = processes.main_first(lambda: world.envs(processes.rank, processes.count))
    if args.streaming.check_hits:
        envs = BruteForceCheck(envs)
    if world.drift is None:
        return envs
    policies = {"learning": student, "frozen": Student.load(args.out / "checkpoints" / "warm")}
    return OutcomeLogger(envs, world.drift, policies, args.out / OUTCOMES)


def open_tracker(args: Args, world: TrainingSetup, resume_from: int | None, processes: Processes) -> Trackers:
    """The main process's, once the figures of an earlier end are gone; the others tell nobody."""
    from agents.tracking.base import Trackers, make_tracker
    from runs.common.folder import resolved

    def begin() -> Trackers:
        config = resolved(args.out, args)
        made = make_tracker(args.tracker, args.out, config, resume_from, world.shop.titles)
        (args.out / "eval.json").unlink(missing_ok=True)  # `is_finished` would take it for this end's
        return made

    return processes.main_only(begin) or Trackers([])


def finish(args: Args, world: TrainingSetup) -> None:
    """Evaluate on the test split, by labels where there are any or by another judge, and write the report."""
    from rich.console import Console

    from agents.baselines.classic import RM3, Identity, Oracle, Spell
    from agents.policy.student import Student
    from agents.tracking.base import send_evaluation
    from qr_env.evaluation.tables import comparison_table
    from runs.common.folder import resolved
    from runs.report.job import write_report
    from runs.report.run_files import write_eval

    shop, folder = world.shop, args.out / "checkpoints"
    split = "test" if shop.split("test") else "dev"  # a log of a few queries may hash none of them to test
    exam = world.exam(split, world.report_judge(split))
    agents: list[Agent] = [Identity(), Spell(shop), RM3(shop, world.retriever)]
    students = {"warm start": folder / "warm", "online": folder / "best"}
    if args.serving.promotion == "on":
        students["serving"] = folder / "serving"
    agents += [replace(Student.load(path), name=name) for name, path in students.items()]
    agents += [Oracle(exam.shop)] if exam.shop.oracle else []  # under --drift its texts are not those of `shop`
    evaluations = {agent.name: exam.evaluate(agent) for agent in tqdm(agents, desc="evaluate", unit="agent")}
    write_eval(args.out, evaluations, shop, agent="online", seed=args.seed, evaluator=exam)
    send_evaluation(args.tracker, args.out, resolved(args.out, args), args.updates, evaluations)
    report = write_report(args.out)
    Console(width=None if sys.stdout.isatty() else 160).print(comparison_table(evaluations))
    print(f"report: {report.resolve()}")
