"""What `qr play` does; its settings, and the commands, are in `runs/play/args.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runs.common.cli import write_json
from runs.play.args import Args

if TYPE_CHECKING:
    from rich.console import Console

    from qr_env.common.types import Query
    from qr_env.environment.env import QueryRewriteEnv

HELP = ":next a query from the stream · :new another query of yours · :quit · anything else: a rewrite (empty keeps)"
SHORT = ("I", "C", "S", "E")


def main(args: Args) -> None:
    """Set the shop up, then play until the input ends."""
    from rich.console import Console

    console = Console(stderr=args.json == "-", highlight=False, width=None if sys.stdout.isatty() else 120)
    env = set_up(args)
    played = play(env, console)
    write_json(args.json, {"shop": env.shop.name, "combine": args.combine, "played": played})


def set_up(args: Args) -> QueryRewriteEnv:
    """The environment that the flags describe."""
    from qr_env.common.download import cache_root
    from qr_env.environment.env import QueryRewriteEnv
    from qr_env.retrieval.factory import make_retriever
    from qr_env.shop.load import load_shop
    from qr_env.traffic.stream import QueryStream
    from judges.factory import JudgeOptions, open_judge

    shop = load_shop(args.source, data=args.data, seed=args.seed)
    cache = Path(args.cache).expanduser() if args.cache else cache_root()
    encoder: Any = None
    if args.retriever != "bm25" or "embedding" in args.judge:
        from qr_env.models.hub import resolve
        from qr_env.retrieval.encoder import Encoder

        encoder = Encoder(resolve(args.encoder), cache_dir=cache)
    retriever = make_retriever(args.retriever, shop, cache, encoder=encoder)
    queries = shop.all_queries if args.split == "all" else shop.split(args.split)
    stream = QueryStream(queries or shop.all_queries, args.seed)
    settings: dict[str, Any] = {"combine": args.combine, "k": args.k, "original_weight": args.weight, "stream": stream}
    return QueryRewriteEnv(shop, retriever, open_judge(args.judge, shop, JudgeOptions(encoder=encoder)), **settings)


def play(env: QueryRewriteEnv, console: Console) -> list[dict[str, Any]]:
    """Read lines until the input ends; every rewrite is an episode. Returns what was played."""
    known = {query.text.casefold(): query for query in env.shop.all_queries}
    console.print(f"{env.shop!r} · {env.simulator.retriever.name} · {env.simulator.judge.name}\n{HELP}", markup=False)
    query: Query | str | None = None
    played: list[dict[str, Any]] = []
    while (line := _read(console, "query" if query is None else "rewrite")) is not None:
        command = line.strip()
        if command in (":quit", ":q"):
            break
        if command == ":new":
            query = None
        elif command == ":next":
            query = env.stream.take(1)[0]
            _show_query(env, query, console)
        elif command.startswith(":"):
            console.print(f"no command {command}. {HELP}", markup=False)
        elif query is None:
            if command:
                query = known.get(command.casefold(), command)
                _show_query(env, query, console)
        else:
            played.append(_show_rewrite(env, query, line, console))
    return played


def _read(console: Console, what: str) -> str | None:
    """The next line, None at the end of the input. A pipe's lines are echoed, so that a transcript reads well."""
    prompt = f"\n{what}> "
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


def _show_query(env: QueryRewriteEnv, query: Query | str, console: Console) -> None:
    """What the query finds by itself."""
    _, info = env.reset(options={"query": query})
    where = f"query {info['query_id']} of the shop" if info["query_id"] else "not a query of the shop"
    console.print(f"{info['query']}  ({where})", markup=False, style="bold")
    console.print(_table(env, info, ("before",)))
    if not len(info["hits_before"]):
        console.print("It finds nothing.")
    _say_missing(env, info["grades_before"], console)


def _show_rewrite(env: QueryRewriteEnv, query: Query | str, rewrite: str, console: Console) -> dict[str, Any]:
    """Play one rewrite; both lists side by side, then the reward."""
    env.reset(options={"query": query})
    _, reward, _, _, info = env.step(rewrite)
    console.print(_table(env, info, ("before", "after")))
    if info["feedback"]["kept"]:
        console.print("The original is kept: nothing changes, and the reward is exactly 0.")
    _say_missing(env, info["grades_after"], console)
    terms = "  ".join(f"{name} {value:+.3f}" for name, value in info["reward_terms"].items())
    console.print(f"reward {reward:+.3f}  =  {terms}", markup=False, style="bold")
    figures = ("relevance", "increment", "hitrate", "coverage", "diversity")
    console.print("  ".join(f"{name} {info['feedback'][name]:.3f}" for name in figures), markup=False)
    said = {name: info[name] for name in ("query", "query_id", "ids_before", "ids_after")}
    said |= {name: {key: _known(value) for key, value in info[name].items()} for name in ("feedback", "reward_terms")}
    return said | {"rewrite": rewrite, "reward": _known(reward)}


def _known(value: float) -> float | None:
    """JSON has no NaN: what is missing is null."""
    return None if np.isnan(value) else value


def _table(env: QueryRewriteEnv, info: dict[str, Any], lists: tuple[str, ...]) -> Any:
    """Result lists side by side: rank, grade, title."""
    from rich.table import Table
    from rich.text import Text

    from qr_env.environment.original_results import clean

    table = Table()
    table.add_column("#", min_width=2)
    for when in lists:
        table.add_column("grade", min_width=7)
        table.add_column(when, no_wrap=True, overflow="ellipsis", ratio=1)
    for rank in range(max((len(info[f"hits_{when}"]) for when in lists), default=0)):
        cells = [str(rank + 1)]
        for when in lists:
            rows, probs = info[f"hits_{when}"], info[f"grades_{when}"]
            here = rank < len(rows)
            cells += [_grade(probs[rank]), clean(env.shop.titles[rows[rank]], 200)] if here else ["", ""]
        table.add_row(*map(Text, cells))
    return table


def _grade(probs_4: np.ndarray) -> str:
    """Most likely level and its probability, "missing" without a verdict."""
    if np.isnan(probs_4).any():
        return "missing"
    return f"{SHORT[int(probs_4.argmax())]} {probs_4.max():.0%}"


def _say_missing(env: QueryRewriteEnv, probs_K4: np.ndarray, console: Console) -> None:
    """Say plainly why a grade, and so the reward, is missing."""
    missing = int(np.isnan(probs_K4).any(axis=1).sum())
    if missing:
        console.print(
            f"{missing} of {len(probs_K4)} grades are missing: the {env.simulator.judge.name} judge knows nothing of "
            "these pairs. Where one decides the gain, the reward is missing too (nan). --judge embedding grades any.",
            markup=False,
        )
