"""`qr judge calibrate`: how far judges agree with human grades; settings: `runs/judge/args.py`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from judges.base import judge_for_shop
from judges.factory import COMPOSED, open_judge
from judges.validation.calibrate import calibrate
from judges.validation.graded_pairs import read_graded_pairs
from judges.validation.samples import Sample, labelled_sample
from judges.validation.sanitize import sanitized_shop
from qr_env.common.download import cache_root
from qr_env.evaluation.result import plain_json
from qr_env.retrieval.factory import default_encoder, make_retriever, retriever_uses_encoder
from qr_env.shop import load_shop
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.shop import Shop
from runs.common.checks import check_output
from runs.common.output import write_json
from runs.common.timing import stamped
from runs.judge.args import CalibrateArgs
from runs.judge.checks import check_judges
from runs.judge.page import ROWS, cell, gate_decision, write_judge_page


def main(args: CalibrateArgs) -> None:
    """Grade the sample with every judge, print the table, write the page."""
    started = time.perf_counter()
    check_output("page", args.page)
    check_judges(args, judge_specs(args.judge))
    shop = load_shop(args.shop, args.data, options=args.read_options())
    split, sample = draw_sample(args, shop)
    reports = judge_reports(args, shop, sample)
    facts = {"verb": "judge calibrate", "shop": shop.name, "split": split, "seed": args.seed}
    facts |= {"pairs": sample.pairs, "queries": len(sample.queries), "min_kappa": args.min_kappa}
    seconds = round(time.perf_counter() - started, 1)
    report = plain_json(stamped(facts | {"seconds": seconds, "judges": reports}))
    page = write_judge_page(args.page or Path("out/judges") / f"calibrate-{Path(args.shop).name}.html", report)
    write_json(args.json, report)
    if args.json != "-":
        _print_report(report, page)


def judge_specs(texts: Sequence[str]) -> list[str]:
    """The judges' names, each once, split at commas; the members of a composed judge (`ensemble:a,b`) stay together."""
    parts = [[text] if text.partition(":")[0] in COMPOSED and ":" in text else text.split(",") for text in texts]
    return list(dict.fromkeys(name.strip() for part in parts for name in part if name.strip()))


def draw_sample(args: CalibrateArgs, shop: Shop) -> tuple[str, Sample]:
    """The split whose labels are used, or the file, and the graded pairs."""
    if args.labels is not None:
        labels = LoadReport(args.read_options())
        sample = read_graded_pairs(args.labels, shop, labels)
        labels.warn(str(args.labels))
        return f"labels of {args.labels.name}", sample
    split = args.split
    if split == "auto":
        labelled = shop.qrels_complete or any(shop.qrels[query.row].nnz for query in shop.split("dev"))
        split = "dev" if labelled and shop.split("dev") else "test"
    retriever = None
    if shop.qrels_complete:
        encoder = default_encoder() if retriever_uses_encoder(args.retriever) else None
        retriever = make_retriever(args.retriever, shop, cache_root(), encoder)
    return split, labelled_sample(shop, (split,), args.pairs, args.seed, retriever, args.k)


def judge_reports(args: CalibrateArgs, shop: Shop, sample: Sample) -> dict[str, dict[str, Any]]:
    """Each judge's report, by its name on the command line."""
    clean = sanitized_shop(shop) if args.sanitize else None
    reports = {}
    for spec in judge_specs(args.judge):
        judge = open_judge(spec, shop, args.options())
        reports[spec] = calibrate(judge, shop, sample, args.seed, progress=True)
        if clean is not None and spec != "labels":
            judge = judge_for_shop(judge, clean)
            reports[f"{spec}, sanitized"] = calibrate(judge, clean, sample, args.seed, progress=True)
    return reports


def _print_report(report: dict[str, Any], page: Path) -> None:
    title = f"{report['shop']}, {report['split']}: {report['pairs']:,} graded pairs of {report['queries']:,} queries"
    caption = (
        "In brackets: 95 % interval over queries. Calibrators: fitted on half of the queries, reported on the rest."
    )
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for heading in ("", *report["judges"]):
        table.add_column(heading, justify="right" if heading else "left")
    judges = list(report["judges"].values())
    for name, (path, _) in ROWS.items():
        table.add_row(name, *(_figure_text(one, path) for one in judges))
    if report["min_kappa"]:
        decisions = (gate_decision(one, report["min_kappa"]) for one in judges)
        table.add_row(f"gate, κ ≥ {report['min_kappa']:g}", *decisions)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for name, one in report["judges"].items():
        if kinds := one["missing"]["kinds"]:
            console.print(f"{name}, missing: {', '.join(f'{kind} {n:,.0f}' for kind, n in kinds.items())}")
    console.print(f"{report['seconds']:.1f} s; page: {page.resolve()}")


def _figure_text(report: dict[str, Any], path: Sequence[str]) -> str:
    """A figure with its interval in brackets; the backslash keeps rich from reading them as markup."""
    figure = cell(report, path)
    return rf"{figure.text} \[{figure.small.replace(' …', '')}]" if figure.small else figure.text
