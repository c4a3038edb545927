"""What `qr pairs` does; its settings, and the commands, are in `runs/pairs/args.py`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from runs.common.cli import write_json
from runs.pairs.args import Args

if TYPE_CHECKING:
    from agents.examples.tasks import Example
    from qr_env.shop.shop import Shop


def main(args: Args) -> None:
    """Read the shop, make the pairs, show them."""
    from qr_env.shop.load import load_shop
    from runs.common.query_log import with_past

    shop = load_shop(args.shop, data=args.data, seed=0, on_bad_row=args.on_bad_row)
    make(args, with_past(shop), show=True)


def make(args: Args, shop: Shop, show: bool = False) -> dict[str, float]:
    """Write `args.out`; the count of every filter, as "source/filter", and of examples, as "examples/task"."""
    from agents.examples.tasks import hold_out, write_examples
    from runs.pairs.stages import Maker

    maker = Maker(args, shop)
    examples = hold_out(maker.examples(), args.held_out, args.seed)
    write_examples(args.out, examples)
    sizes = task_sizes(examples)
    figures = {f"{part}/{name}": float(n) for part, counts in maker.counts.items() for name, n in counts.items()}
    figures |= {f"examples/{task}": float(size["train"] + size["held out"]) for task, size in sizes.items()}
    shown = sample(examples, args.samples, args.seed)
    report = {"verb": "pairs", "shop": shop.hash, "counts": maker.counts, "examples": sizes, "samples": shown}
    write_json(args.json, report)
    if show and args.json != "-":
        _print(args, maker.counts, sizes, shown)
    return figures


def task_sizes(examples: list[Example]) -> dict[str, dict[str, int]]:
    """Task → examples to train on and held out; of rewrites also how many leave the query alone, per task."""
    sizes: dict[str, dict[str, int]] = {}
    for example in examples:
        size = sizes.setdefault(example.task, {"train": 0, "held out": 0, "leave alone": 0})
        size["held out" if example.held_out else "train"] += 1
        size["leave alone"] += not example.response
    return sizes


def sample(examples: list[Example], n: int, seed: int) -> list[dict[str, Any]]:
    """`n` rows drawn by the seed, as many of each task as there is room for."""
    import random
    from dataclasses import asdict

    rng = random.Random(seed)
    of_task: dict[str, list[Example]] = {}
    for example in examples:
        of_task.setdefault(example.task, []).append(example)
    drawn = [rng.sample(rows, min(len(rows), n)) for rows in of_task.values()]
    turns = [rows[turn] for turn in range(n) for rows in drawn if turn < len(rows)][:n]
    rank = list(of_task)
    return [asdict(example) for example in sorted(turns, key=lambda example: rank.index(example.task))]


def _print(
    args: Args, counts: dict[str, dict[str, int]], sizes: dict[str, dict[str, int]], shown: list[dict[str, Any]]
) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table("source", "what every filter left out", "", title="Pairs", title_justify="left")
    for part, filters in counts.items():
        for at, (name, count) in enumerate(filters.items()):
            style = "bold" if name.startswith(("kept", "approved")) else ""
            table.add_row("" if at else escape(part), escape(name), f"{count:,}", style=style)
        table.add_section()
    table.columns[2].justify = "right"
    console.print(table)
    table = Table("task", "train", "held out", "leave alone", title=f"{args.out}", title_justify="left")
    for task, size in sizes.items():
        alone = f"{size['leave alone']:,}" if task == "rewrite" else ""
        table.add_row(task, f"{size['train']:,}", f"{size['held out']:,}", alone)
    console.print(table)
    columns = ("task", "source", "query", "rewrite", "response", "reward")
    table = Table(*columns, title="Samples", title_justify="left")
    for row in shown:
        reward = "" if row["reward"] != row["reward"] else f"{row['reward']:+.2f}"
        table.add_row(*(escape(str(row[name])) for name in columns[:-1]), reward)
    console.print(table)
