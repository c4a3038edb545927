"""`qr shoppers`: what each rewriter sells to simulated shoppers. Its flags are in `runs/shoppers/args.py`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agents.serving.exploration import Explorer
from judges.checks import check_judge
from judges.factory import auto_judge, needs_encoder, open_judge
from judges.shoppers.click_models import MODELS
from judges.shoppers.model import PROFILES
from judges.shoppers.sessions.metrics import METRICS, CommerceTable, commerce, compare_commerce
from judges.shoppers.sessions.needs import Needs
from judges.shoppers.sessions.simulator import Searcher, SessionSimulator, Visits
from judges.shoppers.sessions.ubi import write_ubi
from qr_env.common.atomic_io import atomic_write
from qr_env.common.errors import ConfigError
from qr_env.common.messages import print_message
from qr_env.common.types import JsonDict
from qr_env.retrieval.factory import default_encoder
from qr_env.shop.load import load_shop
from qr_env.shop.shop import Shop
from runs.common.checks import about, check_folder, check_output
from runs.common.output import write_json
from runs.common.serving.args import RewriterArgs
from runs.common.serving.rewriter import open_rewriter, plan_rewriter
from runs.common.timing import stamped
from runs.report.run_files import SHOPPERS_FILE
from runs.report.sections.shoppers import figure_text
from runs.shoppers.args import Args
from runs.shoppers.searchers import AgentSearcher
from runs.shoppers.service import ServiceSearcher


def main(args: Args) -> None:
    """Simulate, print the A/B table, write what was asked for."""
    check_inputs(args)
    started = time.perf_counter()
    shop = load_shop(args.shop, args.data, options=args.read_options())
    simulator = open_simulator(args, shop)
    tables: dict[str, CommerceTable] = {}
    visits: Visits | None = None
    for name in [args.url] if args.url else dict.fromkeys(args.agent):
        searcher = open_searcher(args, name, shop)
        visits = simulator.run(searcher, args.users, args.days, args.seed)
        tables[column_name(name, tables)] = commerce(visits)
        if isinstance(searcher, ServiceSearcher):
            searcher.close()
    assert visits is not None
    figures = compare_commerce(tables, seed=args.seed)
    report = facts(args, shop, simulator, figures, visits, time.perf_counter() - started)
    write_json(args.json, report)
    if args.out is not None:
        write_ubi(visits, shop, args.out, time.time() - 86_400 * args.days)
        atomic_write(args.out / SHOPPERS_FILE, json.dumps(report, indent=1, ensure_ascii=False, default=str) + "\n")
    if args.json != "-":
        print_table(report)


def check_inputs(args: Args) -> None:
    """Raise what is wrong with the flags, before the shop is read."""
    for name, least in (("users", 1), ("days", 1), ("concurrency", 1)):
        if getattr(args, name) < least:
            raise ConfigError(f"{name}={getattr(args, name)}: must be {least} or more")
    if not 0 <= args.explore <= 1:
        raise ConfigError(f"explore={args.explore}: must be between 0 and 1")
    check_output("json", args.json)
    check_folder("out", args.out)
    check_folder("cache", args.cache)
    if not args.url:
        if not args.agent:
            raise ConfigError("agent: name a rewriter, or a service with url")
        for name in args.agent:
            plan_rewriter(name, rewriter_args(args))
    elif not args.url.startswith(("http://", "https://")):
        raise ConfigError(f"url={args.url!r}: must begin with http:// or https://")
    if args.judge != "auto":
        with about("judge", args.judge):
            check_judge(args.judge, args.judge_options())


def rewriter_args(args: Args) -> RewriterArgs:
    """The flags of a rewriter."""
    reading = asdict(args.read_options())
    return RewriterArgs(shop=args.shop, data=args.data, retriever=args.retriever, cache=args.cache, **reading)


def open_simulator(args: Args, shop: Shop) -> SessionSimulator:
    """Shoppers of this shop; what decides their behaviour is said."""
    spec = auto_judge(shop) if args.judge == "auto" else args.judge
    encoder = default_encoder() if needs_encoder(spec) else None
    judge = open_judge(spec, shop, args.judge_options(encoder))
    if spec != "labels":
        print_message(f"note: the grades of judge {spec!r} decide what shoppers like, not people's")
    needs = Needs(shop, shop.split(args.split), args.sessions.zipf)
    return SessionSimulator(shop, judge, needs, args.sessions, PROFILES, MODELS[args.click_model])


def open_searcher(args: Args, name: str, shop: Shop) -> Searcher:
    """What is visited: the service of `url`, or a rewriter on its engine."""
    if args.url:
        token = args.token or os.environ.get("QR_SERVE_TOKEN", "")
        run = f"{args.seed}-{time.time_ns():x}"
        return ServiceSearcher(args.url, shop, run, token, args.concurrency, args.rps)
    opened = open_rewriter(name, rewriter_args(args), shop)
    explorer = Explorer(opened.agent, args.explore) if args.explore else None
    return AgentSearcher(name, opened.agent, opened.retriever, opened.combine, opened.weight, explorer)


def column_name(name: str, taken: Mapping[str, CommerceTable]) -> str:
    """A checkpoint's last folders; a repeated name gets a number."""
    short = "/".join(Path(name).parts[-2:]) if "/" in name and "://" not in name else name
    return short if short not in taken else f"{short} ({len(taken) + 1})"


def facts(
    args: Args, shop: Shop, simulator: SessionSimulator, figures: JsonDict, visits: Visits, seconds: float
) -> JsonDict:
    """The figures with what they are of, as JSON values."""
    settings = {name: value for name, value in asdict(args).items() if name != "token"}
    return stamped(
        {
            "verb": "shoppers", "args": settings, "shop": shop.name, "judge": simulator.judge.name,
            "users": visits.users, "searches of the last": len(visits), "seconds": round(seconds, 1),
            "figures": figures,
        }
    )  # fmt: skip


def print_table(report: JsonDict) -> None:
    """The A/B table: a row a metric, a column a rewriter."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    figures, args = report["figures"], report["args"]
    title = f"{report['users']:,} simulated users, {args['days']} days, {report['shop']}, grades by {report['judge']}"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in figures:
        table.add_column(name, justify="right")
    first = next(iter(figures))
    for metric in METRICS:
        if figures[first][metric]["value"] or metric != "unpriced":
            table.add_row(metric, *(figure_text(metric, figures[name][metric], name == first) for name in figures))
    console.print(table)
    if len(figures) > 1:
        console.print(f"In brackets: 95 % interval over users of the change to {first}, the same users under all.")
    console.print(f"{report['seconds']:.1f} s")
