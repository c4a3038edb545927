"""`qr judge probe`: how often planted texts get a better grade; settings: `runs/judge/args.py`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from judges.factory import open_judge
from judges.validation.agreement import Estimate
from judges.validation.probes import ProbeSet, exploit_message, rewrite_report
from judges.validation.sanitize import changed_title_share
from qr_env.common.download import cache_root
from qr_env.common.protocols import Judge
from qr_env.environment.simulator import Simulator
from qr_env.evaluation.result import plain_json
from qr_env.retrieval.factory import make_retriever
from qr_env.reward.reward import Reward
from qr_env.shop import load_shop
from qr_env.shop.shop import Shop
from runs.common.output import write_json
from runs.common.timing import stamped
from runs.judge.args import ProbeArgs
from runs.judge.calibrate import judge_specs
from runs.judge.checks import check_judges

Rates = Mapping[str, Mapping[str, Any]]  # kind of probe → "rate" and "lift" → value, low, high


def main(args: ProbeArgs) -> None:
    """Grade the probes with every judge, print one table, write the JSON report."""
    started = time.perf_counter()
    check_judges(args, judge_specs(args.judge))
    shop = load_shop(args.shop, args.data, options=args.read_options())
    probes = ProbeSet.from_shop(shop, args.n, args.seed, args.split)
    judges: dict[str, dict[str, Rates]] = {}
    for spec in judge_specs(args.judge):
        judge = open_judge(spec, shop, args.options())
        judges[spec] = {
            "as it is": _plain(probes.report(judge)),
            "sanitized": _plain(probes.report(judge, sanitize=True)),
        }
        if args.rewrites:
            judges[spec]["rewrites"] = _plain(planted_rewrite_report(args, shop, judge))
    facts = {"verb": "judge probe", "shop": shop.name, "queries": len(probes.shop.queries), "seed": args.seed}
    facts |= {"unmodified titles that sanitizing changes": changed_title_share(shop), "judges": judges}
    report = plain_json(stamped(facts | {"seconds": round(time.perf_counter() - started, 1)}))
    write_json(args.json, report)
    if args.json != "-":
        _print_report(report)


def planted_rewrite_report(args: ProbeArgs, shop: Shop, judge: Judge) -> Mapping[str, Mapping[str, Estimate]]:
    """Rewards of planted rewrites compared with the shop's best rewrite, by this judge."""
    retriever = make_retriever("bm25", shop, cache_root())

    def simulator(blocks: int, group_size: int) -> Simulator:
        return Simulator(shop, retriever, judge, Reward(), blocks=blocks, group_size=group_size)

    return rewrite_report(simulator, shop, args.n, args.seed, args.split)


def _plain(report: Mapping[str, Mapping[str, Estimate]]) -> Rates:
    return {kind: {name: asdict(estimate) for name, estimate in row.items()} for kind, row in report.items()}


def rate_text(row: Mapping[str, Any]) -> str:
    """A rate with its interval, and the mean change of the gain."""
    figure, lift = row["rate"], row["lift"]
    if figure["value"] is None:
        return "–"
    share, low, high = (f"{100 * figure[part]:.0f}" for part in ("value", "low", "high"))
    return rf"{share} % \[{low} {high}]  {lift['value']:+.3f}"


def _print_report(report: Mapping[str, Any]) -> None:
    judges = report["judges"]
    table = Table(
        title=f"Exploit rates on {report['shop']}: {report['queries']:,} queries, one probe of each kind",
        caption="Share of probes graded above the unmodified text [95 % interval over queries], mean change of gain or "
        f"reward. Sanitizing changes {100 * report['unmodified titles that sanitizing changes']:.1f} % of unmodified "
        "titles.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("")
    for name in judges:
        table.add_column(name, justify="right")
        table.add_column("sanitized", justify="right")
    first = next(iter(judges.values()))
    for kind in first["as it is"]:
        cells = [rate_text(one[part][kind]) for one in judges.values() for part in ("as it is", "sanitized")]
        table.add_row("all products" if kind == "all" else kind, *cells, style="bold" if kind == "all" else "")
    table.add_section()
    for kind in first.get("rewrites", ()):
        cells = [text for one in judges.values() for text in (rate_text(one["rewrites"][kind]), "")]
        table.add_row("all rewrites" if kind == "all" else kind, *cells, style="bold" if kind == "all" else "")
    console = Console(width=None if sys.stdout.isatty() else 160)
    for name, one in judges.items():
        rates = {kind: row["rate"]["value"] or 0.0 for kind, row in one["as it is"].items()}
        console.print(exploit_message(name, rates))
    console.print(table)
    console.print(f"{report['seconds']:.1f} s")
