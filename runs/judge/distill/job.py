"""`qr judge distill`: train the fast judge from a slow one; settings: `runs/judge/distill/args.py`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from judges.checks import check_judge
from qr_env.common.packages import require
from qr_env.models.hub import resolve
from qr_env.shop import load_shop
from qr_env.shop.shop import Shop
from runs.common.checks import about, check_output, check_run_folder
from runs.common.folder import open_run, run_lock
from runs.common.output import write_json
from runs.common.provenance import environment
from runs.judge.distill.args import DistillArgs
from runs.judge.distill.report import by_size, curves_svg, print_tables
from runs.judge.distill.stages import DistillRun


def main(args: DistillArgs) -> None:
    """Read the shop and train the judge."""
    args.check()
    check_inputs(args)
    distill_judge(args, load_shop(args.shop, args.data, options=args.read_options()))


def check_inputs(args: DistillArgs) -> None:
    """Raise what is wrong with folder, teacher, weights and packages, before the shop is read."""
    check_run_folder(args.out, args.resume)
    check_output("json", args.json)
    require("torch", "transformers", what="qr judge distill")
    for name in ("teacher_base", "student") if args.teacher == "train" else ("student",):
        with about(name, getattr(args, name)):
            resolve(getattr(args, name))
    if args.teacher not in ("train", "self"):
        with about("teacher", args.teacher):
            check_judge(args.teacher, replace(args.judge_options(), store=args.store_folder))


def distill_judge(args: DistillArgs, shop: Shop) -> None:
    """Run every stage that is not done yet in the run folder; write and print the report.

    Raises ConfigError for settings that cannot be run.
    """
    args.check()
    with run_lock(args.out):
        open_run(args.out, args, args.fixed() | {"shop": shop.hash}, args.resume)
        with DistillRun.open(args, shop) as run:
            report = distill_report(run)
        write_report(args, report)


def distill_report(run: DistillRun) -> dict[str, Any]:
    """Run every stage that is not done yet: reference judges, students, labels of another shop."""
    args = run.args
    lines = run.reference_figures()
    points = [run.student_point(size, seed) for size in sorted(set(args.sizes)) for seed in args.seeds]
    report = {"shop": run.shop.name, "teacher": args.teacher, "lines": lines, "points": points}
    report |= {"curve": by_size(points), **environment()}
    if args.report_shop:
        report["transfer"] = run.transfer_figures()
    size, seed = args.kept_student
    return report | {"kept": {"size": size, "seed": seed}}


def write_report(args: DistillArgs, report: dict[str, Any]) -> None:
    """Write curve.json and curve.svg, and print the tables."""
    write_json(str(args.out / "curve.json"), report)
    (args.out / "curve.svg").write_text(curves_svg(report), encoding="utf-8")
    write_json(args.json, report)
    if args.json != "-":
        print_tables(report)
        print(f"{args.out}/student is trained: --judge cross-encoder:{args.out}/student; curve: {args.out}/curve.svg")
