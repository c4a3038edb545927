"""`qr pairs`: make training pairs and print what every filter dropped. Its flags are in `runs/pairs/args.py`."""

from __future__ import annotations

import math
import random
import sys
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agents.examples.tasks import Example, write_examples
from judges.checks import check_judge
from qr_env.shop.load import load_shop
from runs.common.checks import about, check_output
from runs.common.output import write_json
from runs.common.query_log import with_query_log
from runs.pairs.args import Args
from runs.pairs.checks import check_pair_config
from runs.pairs.stages import PairSet, make_pairs


def main(args: Args) -> None:
    """Read the shop, make the pairs, write and print them."""
    check_inputs(args)
    shop = with_query_log(load_shop(args.shop, args.data, options=args.read_options()))
    pairs = make_pairs(args, shop, args.read_options())
    write_examples(args.out, pairs.examples)
    samples = sample(pairs.examples, args.samples, args.seed)
    report = {
        "verb": "pairs",
        "shop": shop.hash,
        "counts": pairs.counts,
        "examples": pairs.task_sizes(),
        "samples": [asdict(example) for example in samples],
    }
    write_json(args.json, report)
    if args.json != "-":
        print_pairs(pairs, samples, str(args.out))


def check_inputs(args: Args) -> None:
    """Raise what is wrong with the judge, the agents, the sources and the files to write, before the shop is read."""
    check_output("out", args.out)
    check_output("json", args.json)
    check_pair_config(args)
    if args.judge != "auto":
        with about("judge", args.judge):
            check_judge(args.judge, args.judge_options())


def sample(examples: list[Example], count: int, seed: int) -> list[Example]:
    """`count` random examples, equally many of each task as far as it has them, ordered by task."""
    rng = random.Random(seed)
    of_task: dict[str, list[Example]] = {}
    for example in examples:
        of_task.setdefault(example.task, []).append(example)
    drawn = [rng.sample(rows, min(len(rows), count)) for rows in of_task.values()]
    in_turns = [rows[turn] for turn in range(count) for rows in drawn if turn < len(rows)][:count]
    tasks = list(of_task)
    return sorted(in_turns, key=lambda example: tasks.index(example.task))


def print_pairs(pairs: PairSet, samples: list[Example], title: str) -> None:
    """Print the counts of the filters, the sizes of the tasks and the samples."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(_counts_table(pairs))
    console.print(_sizes_table(pairs, title))
    console.print(_samples_table(samples))


def _counts_table(pairs: PairSet) -> Table:
    table = Table("source", "filter", "", title="Pairs", title_justify="left")
    for part, filters in pairs.counts.items():
        for position, (name, count) in enumerate(filters.items()):
            style = "bold" if name.startswith(("kept", "approved")) else ""
            table.add_row("" if position else escape(part), escape(name), f"{count:,}", style=style)
        table.add_section()
    table.columns[2].justify = "right"
    return table


def _sizes_table(pairs: PairSet, title: str) -> Table:
    table = Table("task", "train", "held out", "keep the original", title=title, title_justify="left")
    for task, size in pairs.task_sizes().items():
        kept = f"{size['keep the original']:,}" if task == "rewrite" else ""
        table.add_row(task, f"{size['train']:,}", f"{size['held out']:,}", kept)
    return table


def _samples_table(samples: list[Example]) -> Table:
    table = Table("task", "source", "query", "rewrite", "response", "reward", title="Samples", title_justify="left")
    for example in samples:
        texts = (example.task, example.source, example.query, example.rewrite, example.response)
        reward = "" if math.isnan(example.reward) else f"{example.reward:+.2f}"
        table.add_row(*(escape(text) for text in texts), reward)
    return table
