"""`qr play`: type rewrites by hand and see what they find. Its flags are in `runs/play/args.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from judges.factory import JudgeOptions, needs_encoder, open_judge
from qr_env.common.download import cache_root
from qr_env.common.types import FloatArray, Query
from qr_env.environment.env import QueryRewriteEnv
from qr_env.environment.original_results import clean
from qr_env.models.hub import resolve
from qr_env.retrieval.encoder import Encoder
from qr_env.retrieval.factory import make_retriever, retriever_uses_encoder
from qr_env.shop.load import load_shop
from qr_env.traffic.stream import QueryStream
from runs.common.output import write_json
from runs.play.args import Args

HELP = ":next a query from the stream · :new another query of yours · :quit · anything else: a rewrite (empty keeps)"
LEVEL_LETTERS = ("I", "C", "S", "E")  # irrelevant, complement, substitute, exact
MAX_TITLE = 200  # characters of a title

Side = Literal["before", "after"]
Info = dict[str, Any]
"""The environment's `info`, see its docstring."""


def main(args: Args) -> None:
    """Open the environment, then play until the input ends."""
    console = Console(stderr=args.json == "-", highlight=False, width=None if sys.stdout.isatty() else 120)
    env = open_environment(args)
    played = play(env, console)
    write_json(args.json, {"shop": env.shop.name, "combine": args.combine, "played": played})


def open_environment(args: Args) -> QueryRewriteEnv:
    """The environment that the flags describe."""
    shop = load_shop(args.source, args.data, args.seed, args.read_options())
    cache_folder = Path(args.cache).expanduser() if args.cache else cache_root()
    has_encoder = retriever_uses_encoder(args.retriever) or needs_encoder(args.judge)
    encoder = Encoder(resolve(args.encoder), cache_dir=cache_folder) if has_encoder else None
    queries = shop.all_queries if args.split == "all" else shop.split(args.split)
    return QueryRewriteEnv(
        shop,
        make_retriever(args.retriever, shop, cache_folder, encoder=encoder),
        open_judge(args.judge, shop, JudgeOptions(encoder=encoder)),
        combine=args.combine,
        k=args.k,
        original_weight=args.weight,
        stream=QueryStream(queries or shop.all_queries, args.seed),
    )


def play(env: QueryRewriteEnv, console: Console) -> list[dict[str, object]]:
    """Read lines until the input ends; every rewrite is an episode. Returns a record of each."""
    known = {query.text.casefold(): query for query in env.shop.all_queries}
    console.print(f"{env.shop!r} · {env.simulator.retriever.name} · {env.simulator.judge.name}\n{HELP}", markup=False)
    query: Query | str | None = None
    played: list[dict[str, object]] = []
    while (line := read_line(console, "query" if query is None else "rewrite")) is not None:
        command = line.strip()
        if command in (":quit", ":q"):
            break
        if command == ":new":
            query = None
        elif command == ":next":
            query = env.stream.take(1)[0]
            print_query(env, query, console)
        elif command.startswith(":"):
            console.print(f"no command {command}. {HELP}", markup=False)
        elif query is None:
            if command:
                query = known.get(command.casefold(), command)
                print_query(env, query, console)
        else:
            played.append(play_rewrite(env, query, line, console))
    return played


def read_line(console: Console, prompt: str) -> str | None:
    """The next line, None at the end of the input. Lines from a pipe are echoed, so that a transcript is readable."""
    prompt = f"\n{prompt}> "
    try:
        if sys.stdin.isatty():
            console.print(prompt, end="", markup=False)
            return input()
        line = sys.stdin.readline()
    except (EOFError, KeyboardInterrupt):
        return None
    if not line:
        return None
    console.print(prompt + line.rstrip("\n"), markup=False)
    return line.rstrip("\n")


def print_query(env: QueryRewriteEnv, query: Query | str, console: Console) -> None:
    """Print what the original query finds."""
    _, info = env.reset(options={"query": query})
    where = f"query {info['query_id']} of the shop" if info["query_id"] else "not a query of the shop"
    console.print(f"{info['query']}  ({where})", markup=False, style="bold")
    console.print(hits_table(env, info, ("before",)))
    if not info["ids_before"]:
        console.print("It finds nothing.")
    print_missing_grades(env, found_grades(info, "before"), console)


def play_rewrite(env: QueryRewriteEnv, query: Query | str, rewrite: str, console: Console) -> dict[str, object]:
    """Play one rewrite: print both result lists side by side and the reward, return the record as JSON values."""
    env.reset(options={"query": query})
    _, reward, _, _, info = env.step(rewrite)
    feedback, terms = info["feedback"], info["reward_terms"]
    console.print(hits_table(env, info, ("before", "after")))
    if feedback["kept"]:
        console.print("The original is kept: nothing changes, and the reward is exactly 0.")
    print_missing_grades(env, found_grades(info, "after"), console)
    term_texts = "  ".join(f"{name} {value:+.3f}" for name, value in terms.items())
    console.print(f"reward {reward:+.3f}  =  {term_texts}", markup=False, style="bold")
    metrics = ("relevance", "increment", "hitrate", "coverage", "diversity")
    console.print("  ".join(f"{name} {feedback[name]:.3f}" for name in metrics), markup=False)
    return {
        "query": info["query"],
        "query_id": info["query_id"],
        "ids_before": info["ids_before"],
        "ids_after": info["ids_after"],
        "feedback": {name: nan_to_none(value) for name, value in feedback.items()},
        "reward_terms": {name: nan_to_none(value) for name, value in terms.items()},
        "rewrite": rewrite,
        "reward": nan_to_none(reward),
    }


def nan_to_none(value: float) -> float | None:
    """A number as JSON, which has no NaN: a missing value is null."""
    return None if np.isnan(value) else value


def hits_table(env: QueryRewriteEnv, info: Info, sides: tuple[Side, ...]) -> Table:
    """Result lists side by side: rank, grade, title."""
    table = Table()
    table.add_column("#", min_width=2)
    for side in sides:
        table.add_column("grade", min_width=7)
        table.add_column(side, no_wrap=True, overflow="ellipsis", ratio=1)
    for rank in range(max((len(info[f"ids_{side}"]) for side in sides), default=0)):
        cells = [str(rank + 1)]
        for side in sides:
            rows_K, probs_K4 = info[f"hits_{side}"], info[f"grades_{side}"]
            if rank < len(info[f"ids_{side}"]):
                cells += [grade_text(probs_K4[rank]), clean(env.shop.titles[rows_K[rank]], MAX_TITLE)]
            else:
                cells += ["", ""]
        table.add_row(*map(Text, cells))
    return table


def found_grades(info: Info, side: Side) -> FloatArray:
    """(hits, 4) grades of the products found, without the list's padding."""
    grades: FloatArray = info[f"grades_{side}"][info[f"hits_{side}"] >= 0]
    return grades


def grade_text(probs: FloatArray) -> str:
    """Most likely of the four levels and its probability, "missing" without a verdict."""
    if np.isnan(probs).any():
        return "missing"
    return f"{LEVEL_LETTERS[int(probs.argmax())]} {probs.max():.0%}"


def print_missing_grades(env: QueryRewriteEnv, probs_K4: FloatArray, console: Console) -> None:
    """Explain why grades, and so the reward, are missing."""
    missing = int(np.isnan(probs_K4).any(axis=1).sum())
    if missing:
        console.print(
            f"{missing} of {len(probs_K4)} grades are missing: the {env.simulator.judge.name} judge has none for these "
            "pairs. Where a missing grade decides the gain, the reward is missing too (nan). --judge embedding grades "
            "every pair.",
            markup=False,
        )
