"""`qr suggest`: choose the constants of `suggest` for a shop. Its flags are in `runs/suggest/args.py`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from agents.factory import AgentOptions, make_suggest
from agents.suggestions.choice import Trial, agreement, choose, differences, grid, label_means, tried
from agents.suggestions.settings import GATE_DEPTH, SuggestSettings
from judges.checks import check_judge
from judges.factory import open_judge
from qr_env.common.download import cache_root
from qr_env.common.errors import ConfigError
from qr_env.common.messages import print_message
from qr_env.common.types import JsonDict, Query
from qr_env.evaluation.made_up import typed_queries
from qr_env.evaluation.result import plain_json
from qr_env.evaluation.tables import number
from qr_env.retrieval.factory import make_retriever
from qr_env.shop.load import load_shop
from qr_env.shop.shop import Shop
from runs.common.checks import about, check_output
from runs.common.timing import stamped
from runs.evaluate.job import open_encoder
from runs.suggest.args import Args

ENOUGH = 500  # queries from which on a mean tells settings apart
SHOWN = 12  # best settings in the printed table


def main(args: Args) -> None:
    """Try every setting, choose, compare with labels where there are any; write the file and print the table."""
    started = time.perf_counter()
    check_inputs(args)
    shop = load_shop(args.source, args.data, options=args.read_options())
    queries = choosing_queries(shop, args)
    cache = Path(args.cache).expanduser() if args.cache else cache_root()
    encoder = partial(open_encoder, args.encoder, cache)
    retriever = make_retriever(args.retriever, shop, cache, encoder=encoder())
    judge = open_judge(args.judge, shop, args.judge_options(encoder()))
    default = SuggestSettings(titles=args.titles)
    agent = make_suggest(AgentOptions(shop, retriever, args.combine, args.weight, encoder=encoder), default)
    trials = tried(agent, retriever, queries, grid(default), judge)
    typed = typed_queries(shop, shop.split(args.label_split))
    labelled = drawn([query for query in typed if shop.qrels[query.row].nnz], args)
    labels = label_means(agent, retriever, shop, labelled, [trial.settings for trial in trials]) if labelled else []
    rows = table_rows(trials, labels, args.seed)
    facts = {"verb": "suggest", "args": vars(args), "shop": shop.name, "judge": judge.name, "queries": len(queries)}
    facts |= {"labelled queries": len(labelled), "agreement": agreement(trials, labels) if labels else {}}
    facts |= {"trials": rows, "seconds": round(time.perf_counter() - started, 1)}
    chosen = choose(trials, args.seed)
    write_choice(args.out, chosen, facts)
    print_choice(facts, rows[trials.index(chosen)], args.out)


def check_inputs(args: Args) -> None:
    """Raise what is wrong with the judge, the encoder and the file to write, before the shop is read."""
    check_output("out", args.out)
    if args.limit < 1:
        raise ConfigError(f"limit={args.limit}: must be 1 or more")
    cache = Path(args.cache).expanduser() if args.cache else cache_root()
    with about("encoder", args.encoder):
        encoder = open_encoder(args.encoder, cache)
    with about("judge", args.judge):
        check_judge(args.judge, args.judge_options(encoder))


def choosing_queries(shop: Shop, args: Args) -> list[Query]:
    """At most `limit` queries of the splits; a message where they are few.

    Raises:
        ConfigError: there is none.
    """
    queries = drawn([query for query in shop.all_queries if query.split in args.split], args)
    if not queries:
        raise ConfigError(
            f"{shop!r} has no query in --split {' '.join(args.split)} to choose settings by; without a log use the "
            "defaults: --agent suggest"
        )
    if len(queries) < ENOUGH:
        print_message(f"note: only {len(queries)} queries; intervals are wide below {ENOUGH}")
    return queries


def drawn(queries: Sequence[Query], args: Args) -> list[Query]:
    """At most `limit` of the queries, drawn by the seed, in their order."""
    places = np.sort(np.random.default_rng(args.seed).permutation(len(queries))[: args.limit])
    return [queries[at] for at in places]


def table_rows(trials: Sequence[Trial], labels: Sequence[dict[str, float]], seed: int) -> list[JsonDict]:
    """One row a setting, in the order of the trials: what it is, the judge's mean and its difference to the default's
    with interval, the share of changed queries, and the labels' means."""
    gains = differences(trials, seed)
    rows = []
    for at, (trial, (gain, low, high)) in enumerate(zip(trials, gains, strict=True)):
        judged = {"judge nDCG@10": trial.mean, "difference": gain, "low": low, "high": high, "changed": trial.changed}
        rows.append({"settings": asdict(trial.settings), **judged, "labels": labels[at] if labels else {}})
    return rows


def write_choice(path: Path, chosen: Trial, facts: JsonDict) -> None:
    """Write the settings that `--agent suggest:FILE` reads, with all that they were chosen by."""
    path.parent.mkdir(parents=True, exist_ok=True)
    described = plain_json(stamped(facts))
    described["args"] = {
        name: str(value) if isinstance(value, Path) else value for name, value in facts["args"].items()
    }
    chosen.settings.write(path, **described)


def print_choice(facts: JsonDict, chosen: JsonDict, path: Path) -> None:
    """Print the default, repair alone and the best settings as a table, the choice, and its agreement with labels."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(choice_table(facts))
    default = facts["trials"][0]
    if chosen is default:
        console.print("Chosen: the default; no setting is better beyond its interval.")
    else:
        interval = f"{chosen['low']:+.4f} {chosen['high']:+.4f}"
        console.print(f"Chosen: {in_words(chosen)}; {chosen['difference']:+.4f} [{interval}] over the default.")
    for name, correlation in facts["agreement"].items():
        console.print(
            f"Ranking of the settings, judge and labels ({name}, {facts['labelled queries']:,} queries): "
            f"Spearman {number(correlation)}"
        )
    console.print(f"Written: {path.resolve()}   {facts['seconds']:.1f} s")


def choice_table(facts: JsonDict) -> Table:
    """The default, repair alone, then the best settings by the judge's mean."""
    names = list(facts["trials"][0]["labels"])
    table = Table(
        title=f"suggest on {facts['shop']}, judge {facts['judge']}, {facts['queries']:,} queries", title_justify="left"
    )
    table.add_column("setting")
    for heading in ("judge nDCG@10", "to the default", "queries changed", *(f"labels {name}" for name in names)):
        table.add_column(heading, justify="right")
    first, others = facts["trials"][:2], facts["trials"][2:]
    ranked = sorted(others, key=_mean_or_lowest, reverse=True)[:SHOWN]
    for row in (*first, *ranked):
        gain = f"{row['difference']:+.4f} [{row['low']:+.4f} {row['high']:+.4f}]" if row is not first[0] else ""
        cells = (number(row["judge nDCG@10"]), gain, number(row["changed"], "same"))
        name = f"default: {in_words(row)}" if row is first[0] else in_words(row)
        table.add_row(name, *cells, *(number(row["labels"][label]) for label in names), end_section=row is first[-1])
    return table


def _mean_or_lowest(row: JsonDict) -> float:
    return -np.inf if np.isnan(row["judge nDCG@10"]) else row["judge nDCG@10"]


def in_words(row: JsonDict) -> str:
    """A row's settings for people."""
    settings = SuggestSettings(**row["settings"])
    if settings.words == 0:
        return "repair alone"
    where = f"full matches < {settings.full_matches}" if settings.full_matches <= GATE_DEPTH else "all queries"
    return f"{settings.words} words, ratio {settings.ratio:g}, {where}"
