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
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from runs.cli import run
from runs.learners import check, make_learner, make_promotion, needs_reference
from runs.online_flags import FREE, Args
from runs.past import read_shop
from runs.stream import OUTCOMES, Watched, tell_hits
from runs.warm_start import warm_start
from runs.world import World

if TYPE_CHECKING:
    from agents.base import Agent


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
    from runs.folder import open_run

    check(args)
    torch.manual_seed(args.seed)
    shop = read_shop(args)
    if args.judge == "auto":
        args = replace(args, judge="labels" if shop.qrels_complete else "embedding")
    open_run(args.out, args, {"shop": shop.hash, "template": TEMPLATE}, args.resume, FREE)
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


def learn_online(args: Args, world: World, warm_folder: Path) -> bool:
    """The online stage, from the warm start or the newest checkpoint; True when it was interrupted."""
    import torch
    from accelerate import Accelerator

    from agents.alarms import Alarms
    from agents.checkpoint import checkpoints, load_checkpoint, set_rng_state
    from agents.online import Loop, LoopConfig, Progress
    from agents.student import Student
    from agents.tracking import make_tracker
    from qr_env.brute_force import Checked
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
    if args.streaming.check_hits:
        envs = Checked(envs)
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
    (args.out / "eval.json").unlink(missing_ok=True)  # of an earlier end; `is_finished` would take it for this one's
    try:
        Loop(
            student, optimizer, envs, loop, score=world.held_out_score(), observation=observation, tracker=tracker,
            folder=args.out, generator=generator, progress=progress, alarms=alarms, hints=hints, promotion=promotion,
        ).run()  # fmt: skip
    finally:
        tracker.close()
    if args.streaming.check_hits:
        tell_hits(args.out, envs.counts)
    return progress.stopped


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
    agents += [Oracle(exam.shop)] if exam.shop.oracle else []  # under --drift its texts are not those of `shop`
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
