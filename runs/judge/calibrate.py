"""How far a judge can be trusted: agreement with human grades, calibration, biases, speed; with intervals and a page.

    qr judge calibrate --shop generated --judge labels,embedding
    qr judge calibrate --shop icecat --data ../shared/data --judge embedding --sanitize --json -
    qr judge calibrate --shop icecat --judge llm --url http://127.0.0.1:8000/v1 --min-kappa 0.2

Several judges are asked about the same pairs. On the generated shop these are products found and products at random,
graded by its truth; elsewhere the pairs that people graded. Figures are explained on the page and in
`judges/validation/calibrate.py`. Figures of speed count a store's answers when --store names one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from judges.factory import open_judge
from judges.validation.sanitize import sanitized_shop
from runs.common.cli import run, write_json
from runs.judge.args import JudgeArgs

if TYPE_CHECKING:
    from judges.validation.samples import Sample
    from qr_env.shop.shop import Shop


@dataclass
class Args(JudgeArgs):
    """Which judges, on which graded pairs."""

    judge: tuple[str, ...] = ("embedding",)
    """judges by name, apart or with commas; ensemble:a,b is one"""
    split: Literal["auto", "train", "dev", "test"] = "auto"
    """whose labels; auto takes dev where it has any, else test"""
    pairs: int = 2_000
    """graded pairs at most, drawn by the seed"""
    k: int = 10
    """generated: products found, and products at random, for each query"""
    retriever: Literal["bm25", "dense", "hybrid"] = "bm25"
    """generated: what finds them"""
    sanitize: bool = False
    """each judge a second time, reading texts cleaned by judges/validation/sanitize.py: what sanitizing costs in agreement"""
    min_kappa: float = 0.0
    """say which judges a gate of this κ would refuse"""
    page: Path | None = None
    """where the page goes (default: out/judges/calibrate-SHOP.html)"""


def main(args: Args) -> None:
    """Ask every judge, print the table, write the page."""
    from qr_env.evaluation.result import plain_json
    from qr_env.shop.load import load_shop
    from runs.common.timing import stamped
    from runs.judge.page import write_page

    started = time.perf_counter()
    shop = load_shop(args.shop, data=args.data, seed=0)
    split, sample = draw(args, shop)
    reports = ask_all(args, shop, sample)
    facts = {"verb": "judge calibrate", "shop": shop.name, "split": split, "seed": args.seed}
    facts |= {"pairs": sample.pairs, "queries": len(sample.queries), "min_kappa": args.min_kappa}
    seconds = round(time.perf_counter() - started, 1)
    report = plain_json(stamped(facts | {"seconds": seconds, "judges": reports}))
    page = write_page(args.page or Path("out/judges") / f"calibrate-{Path(args.shop).name}.html", report)
    write_json(args.json, report)
    if args.json != "-":
        _print(report, page)


def specs(texts: Sequence[str]) -> list[str]:
    """Judges' names, taken apart at commas; an ensemble's members stay together. Each once."""
    parts = [[text] if text.startswith("ensemble:") else text.split(",") for text in texts]
    return list(dict.fromkeys(name.strip() for part in parts for name in part if name.strip()))


def draw(args: Args, shop: Shop) -> tuple[str, Sample]:
    """The split whose labels are used, and the graded pairs."""
    from judges.validation.samples import labelled_sample

    split = args.split
    if split == "auto":
        labelled = shop.qrels_complete or any(shop.qrels[query.row].nnz for query in shop.split("dev"))
        split = "dev" if labelled and shop.split("dev") else "test"
    retriever = None
    if shop.qrels_complete:
        from qr_env.common.download import cache_root
        from qr_env.models.hub import resolve
        from qr_env.retrieval.encoder import Encoder
        from qr_env.retrieval.factory import make_retriever

        encoder = None if args.retriever == "bm25" else Encoder(resolve("minilm-l6"), cache_dir=cache_root())
        retriever = make_retriever(args.retriever, shop, cache_root(), encoder)
    return split, labelled_sample(shop, (split,), args.pairs, args.seed, retriever, args.k)


def ask_all(args: Args, shop: Shop, sample: Sample) -> dict[str, dict[str, Any]]:
    """Each judge's report, by its name on the command line."""
    from judges.validation.calibrate import calibrate
    from judges.validation.probes import judge_for_shop

    clean = sanitized_shop(shop) if args.sanitize else None
    reports = {}
    for spec in specs(args.judge):
        judge = open_judge(spec, shop, args.options())
        reports[spec] = calibrate(judge, shop, sample, args.seed, progress=True)
        if clean is not None and spec != "labels":
            judge = judge_for_shop(judge, clean)
            reports[f"{spec}, sanitized"] = calibrate(judge, clean, sample, args.seed, progress=True)
    return reports


def _print(report: dict[str, Any], page: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from runs.judge.page import ROWS, cell, gate

    title = f"{report['shop']}, {report['split']}: {report['pairs']:,} graded pairs of {report['queries']:,} queries"
    caption = (
        "In brackets: 95 % interval over queries. After a map: fitted on half the queries, told of the other half."
    )
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for heading in ("", *report["judges"]):
        table.add_column(heading, justify="right" if heading else "left")
    judges = list(report["judges"].values())
    for name, (path, _) in ROWS.items():
        table.add_row(name, *(" ".join(filter(None, _brackets(*cell(one, path)))) for one in judges))
    if report["min_kappa"]:
        table.add_row(f"gate, κ ≥ {report['min_kappa']:g}", *(gate(one, report["min_kappa"]) for one in judges))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for name, one in report["judges"].items():
        if kinds := one["missing"]["kinds"]:
            console.print(f"{name}, missing: {', '.join(f'{kind} {n:,.0f}' for kind, n in kinds.items())}")
    console.print(f"{report['seconds']:.1f} s; page: {page.resolve()}")


def _brackets(value: str, interval: str) -> tuple[str, str]:
    return value, interval and rf"\[{interval.replace(' …', '')}]"


if __name__ == "__main__":
    run(Args, main, description=__doc__)
