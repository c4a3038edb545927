"""Exploit rates: how often a text written to please a judge gets a better grade than its honest twin.

    qr judge probe --judge labels,embedding                         # planted products and planted rewrites
    qr judge probe --shop icecat --data ../shared/data --judge embedding --no-rewrites
    qr judge probe --judge llm --url http://127.0.0.1:8000/v1 -n 100 --json -

Every judge is asked about the same probes, with texts as they are and cleaned by `judges/validation/sanitize.py`. What the kinds
are, and what counts as an exploit, is in `judges/validation/probes.py`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from judges.factory import open_judge
from judges.validation.sanitize import changed_title_share
from runs.common.cli import run, write_json
from runs.judge.args import JudgeArgs
from runs.judge.calibrate import specs

if TYPE_CHECKING:
    from judges.validation.agreement import Estimate
    from qr_env.common.protocols import Judge
    from qr_env.shop.shop import Shop

Rates = Mapping[str, Mapping[str, Any]]


@dataclass
class Args(JudgeArgs):
    """Which judges, how many probes."""

    judge: tuple[str, ...] = ("embedding",)
    """judges by name, apart or with commas; ensemble:a,b is one"""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 200
    """queries, each with one probe of every kind"""
    split: Literal["train", "dev", "test"] = "train"
    """whose queries; a shop without any of them takes all"""
    rewrites: bool = True
    """planted rewrites too, through BM25 and the reward, with the judge as the shopper"""


def main(args: Args) -> None:
    """Ask every judge, print one table, write what was asked for."""
    from judges.validation.probes import ProbeSet
    from qr_env.evaluation.result import plain_json
    from qr_env.shop.load import load_shop
    from runs.common.timing import stamped

    started = time.perf_counter()
    shop = load_shop(args.shop, data=args.data, seed=0)
    probes = ProbeSet.from_shop(shop, args.n, args.seed, args.split)
    judges: dict[str, dict[str, Rates]] = {}
    for spec in specs(args.judge):
        judge = open_judge(spec, shop, args.options())
        parts = {"as it is": probes.report(judge), "sanitized": probes.report(judge, sanitize=True)}
        judges[spec] = {name: _plain(report) for name, report in parts.items()}
        if args.rewrites:
            judges[spec]["rewrites"] = _plain(planted(args, shop, judge))
    facts = {"verb": "judge probe", "shop": shop.name, "queries": len(probes.shop.queries), "seed": args.seed}
    facts |= {"honest titles that sanitizing changes": changed_title_share(shop), "judges": judges}
    report = plain_json(stamped(facts | {"seconds": round(time.perf_counter() - started, 1)}))
    write_json(args.json, report)
    if args.json != "-":
        _print(report)


def planted(args: Args, shop: Shop, judge: Judge) -> Mapping[str, Mapping[str, Estimate]]:
    """What planted rewrites earn over the honest one, by this judge."""
    from judges.validation.probes import rewrite_report
    from qr_env.common.download import cache_root
    from qr_env.environment.simulator import Simulator
    from qr_env.retrieval.factory import make_retriever
    from qr_env.reward.reward import Reward

    retriever = make_retriever("bm25", shop, cache_root())

    def simulator(blocks: int, group_size: int) -> Simulator:
        return Simulator(shop, retriever, judge, Reward(), blocks=blocks, group_size=group_size)

    return rewrite_report(simulator, shop, args.n, args.seed, args.split)


def _plain(report: Mapping[str, Mapping[str, Estimate]]) -> Rates:
    return {kind: {name: asdict(figure) for name, figure in row.items()} for kind, row in report.items()}


def rate(row: Mapping[str, Any]) -> str:
    """A rate with its interval, and the mean change, as text."""
    figure, lift = row["rate"], row["lift"]
    if figure["value"] is None:
        return "–"
    share, low, high = (f"{100 * figure[part]:.0f}" for part in ("value", "low", "high"))
    return rf"{share} % \[{low} {high}]  {lift['value']:+.3f}"


def _print(report: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    judges = report["judges"]
    table = Table(
        title=f"Exploit rates on {report['shop']}: {report['queries']:,} queries, one probe of each kind",
        caption="Share of probes graded above their honest twin [95 % interval over queries], mean change of gain or "
        f"reward. Sanitizing changes {100 * report['honest titles that sanitizing changes']:.1f} % of honest titles.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("")
    for name in judges:
        table.add_column(name, justify="right")
        table.add_column("sanitized", justify="right")
    first = next(iter(judges.values()))
    for kind in first["as it is"]:
        cells = [rate(one[part][kind]) for one in judges.values() for part in ("as it is", "sanitized")]
        table.add_row("all products" if kind == "all" else kind, *cells, style="bold" if kind == "all" else "")
    table.add_section()
    for kind in first.get("rewrites", ()):
        cells = [text for one in judges.values() for text in (rate(one["rewrites"][kind]), "")]
        table.add_row("all rewrites" if kind == "all" else kind, *cells, style="bold" if kind == "all" else "")
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    console.print(f"{report['seconds']:.1f} s")


if __name__ == "__main__":
    run(Args, main, description=__doc__)
