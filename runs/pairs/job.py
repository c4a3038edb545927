"""Training pairs from a shop's past: what a student learns from before it meets the query stream.

    qr pairs generated --out out/pairs.parquet --sources log graph engine --tasks rewrite quality title thought tagging
    qr pairs icecat --data ../shared/data --sources log engine --agent log rm3 --json out/pairs.json
    qr pairs my_shop/ --sources graph rewrites.csv teacher:prompted:http://127.0.0.1:8000/v1

Sources: log (words of what was bought, the best paid candidate a query), graph (other queries for the same products,
MiniELM), engine (candidates of --agent that pass BEQUE's thresholds), a file of rewrites, or teacher:AGENT, any agent
of `qr evaluate`. A shop without purchases gets queries made from its catalogue first (source "log:catalogue"). The
table shows what every filter dropped. Columns of the file: `agents/examples/tasks.py`. Only the train split teaches.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from agents.examples.engine_pairs import EngineConfig
from agents.examples.graph_pairs import GraphConfig
from qr_env.reward.reward import Weights
from runs.common.cli import write_json

if TYPE_CHECKING:
    from agents.examples.tasks import Example
    from qr_env.shop.shop import Shop

Task = Literal["rewrite", "quality", "title", "thought", "tagging"]


@dataclass
class Args:
    """Which pairs, from what, and where they go."""

    shop: Annotated[str, tyro.conf.arg(name="shop"), tyro.conf.Positional] = "generated"
    """generated, icecat, esci, wands, or a folder of your own files"""
    out: Path = Path("out/pairs.parquet")
    """the Parquet file to write"""
    data: str | None = None
    """folder with the data of icecat, esci or wands (default: $QR_DATA, else download)"""
    sources: tuple[str, ...] = ("log", "graph", "engine")
    """log, graph, engine, teacher:AGENT, or files of rewrites (.parquet, .csv, .jsonl with columns query, rewrite)"""
    tasks: tuple[Task, ...] = ("rewrite",)
    """what is taught: rewrite, and beside it quality (is it a good rewrite?), title (of what was bought), thought (why,
    then the rewrite), tagging (do two texts mean the same?)"""
    agent: tuple[str, ...] = ("log",)
    """who writes the candidates of `engine` and `quality`: log, or agents of `qr evaluate`"""
    candidates: int = 4
    """rewrites that each agent is asked for; the log gives as many as it has"""
    queries: int = 1_500
    """train queries that log, engine and teachers are asked about, the most frequent first; 0 takes all"""
    edges: Literal["auto", "labels", "purchases"] = "auto"
    """what joins query and product in the graph; auto takes labels where the train split has any"""
    confirm: str = "engine"
    """who confirms rewrites of graph, files and teachers: engine (reward above --engine.min-reward), llm:LM (a model's
    name, a folder or a server's URL: does it mean the same?), or none"""
    combine: Literal["expand", "replace", "union"] = "expand"
    """how a rewrite meets its original: in expand it is the words to add, else the whole query"""
    weight: float = 1.0
    """weight of the original's words in "expand"; the rewrite's is 1"""
    retriever: Literal["bm25", "dense", "hybrid"] = "bm25"
    """the engine that searches"""
    judge: str = "auto"
    """who grades: labels, embedding, llm, cross-encoder[:MODEL], replay, ensemble:A,B; auto takes labels where the shop
    knows its whole truth (generated), else embedding"""
    judge_url: tuple[str, ...] = ()
    """llm: base URLs of its servers (default: $QR_JUDGE_URL)"""
    store: Path | None = None
    """folder of the stores of verdicts and of generated texts; what is there is not asked again"""
    held_out: float = 0.1
    """share of the queries whose examples only measure"""
    samples: int = 10
    """rows to show"""
    seed: int = 0
    """of every draw"""
    on_bad_row: Literal["stop", "skip"] = "stop"
    """what to do with a dirty row of the shop's files"""
    json: str | None = None
    """write all counts and the samples here as JSON ("-": standard output)"""
    graph: GraphConfig = field(default_factory=GraphConfig)
    """Queries for the same products."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    """What the engine must approve of."""
    reward: Weights = field(default_factory=Weights)
    """Weights of the reward's terms (qr_env/reward/reward.py)."""


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
