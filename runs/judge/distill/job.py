"""Train the fast judge from a slow one, and draw how its quality grows with the lists that the teacher graded.

qr judge distill --shop generated --out out/distill                           # teacher fine-tuned on the shop's labels
qr judge distill --shop my_folder --teacher llm --judge-url http://gpu:8000   # any judge as teacher
qr judge distill --shop icecat --data ../shared/data --teacher self           # without labels and without an LLM
qr judge distill --shop icecat --data ../shared/data --teacher self --student out/distill/student   # travels, adapts
qr judge distill --sizes 50 100 200 400 800 --seeds 0 1 2                     # the curve; 25 minutes on two cores
qr judge distill --resume …                                                   # goes on where it was stopped

Stages, each kept in the folder and done once: `teacher/` → `pool.npz`, unlabelled lists with the teacher's verdicts →
`lines.json`, teacher and embedding judge on the test queries' result lists → `points/`, one student a size and seed →
`student/`, that of the largest size and first seed, for `--judge cross-encoder:OUT/student` → `curve.json`,
`curve.svg`.
The recipe is Walmart's (arXiv 2505.07105), see `judges/cross_encoder/training.py` and `judges/cross_encoder/augment.py`.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from runs.common.cli import run, write_json

if TYPE_CHECKING:
    from qr_env.shop.shop import Shop
    from runs.judge.distill.stages import DistillRun

# What a resumed run may have otherwise: where it is, and what is only reported.
FREE = ("out", "resume", "report_shop", "report_data", "json", "judge_url")


@dataclass
class Args:
    """Which shop, which teacher, which student, how much data."""

    shop: Annotated[str, tyro.conf.arg(aliases=["--source"])] = "generated"
    """generated, icecat, esci, wands, or a folder of your own"""
    data: str | None = None
    """folder with the data of icecat, esci or wands (default: $QR_DATA, else download)"""
    out: Path = Path("out/distill")
    """folder of the run"""
    resume: bool = False
    """go on with the run in --out"""
    teacher: str = "train"
    """train: a cross-encoder fine-tuned on the shop's training labels. self: the catalogue, without labels. Or a judge:
    labels, embedding, llm, cross-encoder:FOLDER, ensemble:a,b"""
    teacher_queries: int = 100
    """train: labelled queries that the teacher learns from"""
    teacher_base: str = "minilm-l6"
    """train: weights it starts from, minilm-l6, a Hugging Face id or a folder; encoders and causal LMs"""
    teacher_length: int = 64
    """train: tokens of a pair; it reads the description, the student does not"""
    student: str = "minilm-l6"
    """weights that the student starts from"""
    layers: int = 0
    """keep the first so many layers of the student: half of them serve twice as fast; 0 keeps all"""
    length: int = 48
    """tokens of a pair that the student reads"""
    retrievers: tuple[Literal["bm25", "dense", "hybrid"], ...] = ("bm25", "dense")
    """engines that lists are drawn from; test lists are the first one's ten best"""
    sizes: tuple[int, ...] = (800,)
    """lists that students learn from, 8 products each; several make the curve: 50 100 200 400 800"""
    seeds: tuple[int, ...] = (0,)
    """a student each: which lists, their order, the fresh head"""
    epochs: int = 2
    """passes over the lists; small sets are repeated until there are enough steps"""
    lr: float = 3e-4
    """learning rate of teacher and student"""
    anchor: float = 0.1
    """weight of the pointwise error beside the margins, which holds the level of the scores"""
    held_out: int = 200
    """dev queries to fit the grades on, and test queries to report"""
    calibrate_on: Literal["auto", "labels", "teacher"] = "auto"
    """whose grades the map from score to grades is fitted on; auto: labels where the teacher learnt from labels"""
    judge_url: tuple[str, ...] = ()
    """llm: base URLs of servers"""
    judge_model: str | None = None
    """llm: name of the model at the server"""
    store: Path | None = None
    """folder of the verdict store; default OUT/store"""
    report_shop: str | None = None
    """also report on the human labels of another shop: icecat, …"""
    report_data: str | None = None
    """its data folder"""
    json: str | None = None
    """write the report here as well, "-" for standard output"""


def main(args: Args) -> None:
    """Run every stage that is not done yet; print the table."""
    from qr_env.common.errors import ConfigError
    from qr_env.shop.load import load_shop
    from runs.common.folder import only_one, open_run

    if not args.sizes or not args.seeds or min(args.sizes) < 1:
        raise ConfigError(f"--sizes {args.sizes} --seeds {args.seeds}: at least one of each, sizes of 1 or more")
    shop = load_shop(args.shop, data=args.data)
    with only_one(args.out):
        open_run(args.out, args, facts(args, shop), args.resume)
        distil(args, shop)


def distil(args: Args, shop: Shop) -> None:
    """Every stage in a folder that is open."""
    from runs.judge.distill.stages import DistillRun, best_size

    with DistillRun.open(args, shop) as opened:
        report = curve(opened)
        if args.report_shop:
            report["transfer"] = opened.transfer()
    finish(args, report | {"kept": {"size": best_size(args), "seed": args.seeds[0]}})


def facts(args: Args, shop: Shop) -> dict[str, str]:
    """What a resumed run must share."""
    fixed = {name: str(value) for name, value in asdict(args).items() if name not in FREE}
    return fixed | {"shop": shop.hash}


def curve(opened: DistillRun) -> dict[str, Any]:
    """Lines and points."""
    from runs.common.provenance import environment
    from runs.judge.distill.report import by_size

    lines = opened.lines()
    points = [opened.point(size, seed) for size in sorted(set(opened.args.sizes)) for seed in opened.args.seeds]
    return {
        "shop": opened.shop.name,
        "teacher": opened.args.teacher,
        "lines": lines,
        "points": points,
        "curve": by_size(points),
        **environment(),
    }


def finish(args: Args, report: dict[str, Any]) -> None:
    """Files and the table."""
    from runs.judge.distill.report import picture

    write_json(str(args.out / "curve.json"), report)
    (args.out / "curve.svg").write_text(picture(report), encoding="utf-8")
    write_json(args.json, report)
    if args.json != "-":
        show(report)
        print(f"{args.out}/student serves: --judge cross-encoder:{args.out}/student; curve: {args.out}/curve.svg")


def show(report: dict[str, Any]) -> None:
    """Tables for the terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    tables = {"test queries' result lists": dict(report["lines"])}
    tables["test queries' result lists"] |= {f"student, {row['size']:,} lists": row["mean"] for row in report["curve"]}
    if "transfer" in report:
        tables[f"human labels of {report['transfer']['shop']}"] = report["transfer"]["figures"]
    for title, rows in tables.items():
        names = list(next(iter(rows.values())))
        table = Table("judge", *names, title=title, title_justify="left")
        for name, figures in rows.items():
            table.add_row(name, *(f"{figures[key]:.3f}" for key in names))
        console.print(table)


if __name__ == "__main__":
    run(Args, main, description=__doc__)
