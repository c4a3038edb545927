"""What `qr evaluate` does; its settings, and the commands, are in `runs/evaluate/args.py`."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qr_env.common.errors import ConfigError
from qr_env.retrieval.combine import ORIGINAL_WEIGHT
from runs.common.cli import write_json
from runs.evaluate.args import Args

if TYPE_CHECKING:
    from agents.factory import AgentOptions
    from qr_env.common.protocols import Agent
    from qr_env.evaluation.evaluator import HeldOutEvaluator
    from qr_env.evaluation.result import Evaluation
    from qr_env.shop.shop import Shop

KIND = re.compile(r"best-of-\d+:|(?:prompted|few-shot|query2doc|synonyms):")


def main(args: Args) -> None:
    """Score every agent, print one table, write what was asked for."""
    from qr_env.shop.load import load_shop
    from runs.common.query_log import with_past

    if not args.agent and not args.run_in:
        raise ConfigError("nothing to score: name an --agent, or a TREC file with --run-in")
    if args.run_out and not args.agent:
        raise ConfigError("--run-out writes an agent's lists: name an --agent")
    if (args.run_in or args.run_out) and len(args.retriever) > 1:
        raise ConfigError(f"a run file is of one engine: name one --retriever, not {', '.join(args.retriever)}")
    serving(args)  # checkpoints that cannot stand in one table are told before anything is read
    started = time.perf_counter()
    shop = load_shop(args.shop, data=args.data, seed=0)  # the generated shop that `qr online` trains on
    past = cache(lambda: with_past(shop))  # made once for all engines, and only where an agent reads it
    tables = [_table(replace(args, retriever=(kind,)), shop, past) for kind in dict.fromkeys(args.retriever)]
    seconds = time.perf_counter() - started
    write_json(args.json, report(args, tables, seconds))
    if args.json != "-":
        _print(tables, seconds)


def _table(args: Args, shop: Shop, past: Callable[[], Shop]) -> dict[str, Evaluation]:
    """All agents through one engine. past: the shop, with made-up queries where nothing was bought."""
    exam = set_up(args, shop)
    options = agent_options(args, shop, exam)
    evaluations: dict[str, Evaluation] = {}
    for spec in args.agent:
        evaluation = exam.evaluate(_agent(spec, past, options))
        evaluations[_column(spec, evaluations)] = evaluation
    if args.run_in:
        evaluations[Path(args.run_in).name] = _score_run(args.run_in, shop, exam)
    if args.run_out:
        _write_run(args.run_out, _agent(args.agent[-1], past, options), shop, exam)
    return evaluations


def serving(args: Args) -> tuple[str, float]:
    """`combine` and `weight`: the flags, else what the checkpoints among the agents were trained with, else defaults.

    Raises:
        ConfigError: a flag is left open and the checkpoints differ in it: one table compares one way of serving.
    """
    trained = _trained(args.agent)
    chosen: list[Any] = []
    for name, default in (("combine", "expand"), ("weight", ORIGINAL_WEIGHT)):
        flag, own = getattr(args, name), {spec: notes.get(name, default) for spec, notes in trained.items()}
        if flag is None and len(set(own.values())) > 1:
            raise ConfigError(f"checkpoints differ in {name}: {own}; name one --{name} for all, or score them apart")
        chosen.append(flag if flag is not None else next(iter(own.values()), default))
    return chosen[0], chosen[1]


def _trained(specs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What each checkpoint among the agents notes of itself."""
    from agents.factory import checkpoint_folder

    folders = [folder for spec in specs if (folder := checkpoint_folder(spec)) is not None]
    if not folders:
        return {}  # no need of torch
    from agents.policy.student import saved_settings

    return {str(folder): saved_settings(folder) for folder in folders}


def set_up(args: Args, shop: Shop) -> HeldOutEvaluator:
    """The exam that the flags describe."""
    from judges.factory import JudgeOptions, open_judge
    from qr_env.evaluation.evaluator import HeldOutEvaluator
    from qr_env.retrieval.factory import make_retriever

    combine, weight = serving(args)
    needs_encoder = args.retriever[0] != "bm25" or "embedding" in args.judge
    encoder = _encoder(args.encoder, _cache(args)) if needs_encoder else None
    retriever = make_retriever(args.retriever[0], shop, _cache(args), encoder=encoder)
    options = JudgeOptions(args.judge_url, store=args.store, encoder=encoder)
    judge = None if args.judge == "labels" else open_judge(args.judge, shop, options)
    return HeldOutEvaluator(shop, retriever, args.split, combine, weight, judge, args.k, args.limit, args.seed)


def _cache(args: Args) -> Path:
    from qr_env.common.download import cache_root

    return Path(args.cache).expanduser() if args.cache else cache_root()


@cache
def _encoder(name: str, cache: Path) -> Any:
    from qr_env.models.hub import resolve
    from qr_env.retrieval.encoder import Encoder

    return Encoder(resolve(name), cache_dir=cache)


def agent_options(args: Args, shop: Shop, exam: HeldOutEvaluator) -> AgentOptions:
    """What the agents get; the encoder, the selecting judge and servers only when one asks for them."""
    from agents.factory import AgentOptions
    from judges.factory import JudgeOptions, open_judge

    def encoder() -> Any:
        return _encoder(args.encoder, _cache(args))

    def judge() -> Any:
        embeds = "embedding" in args.select_judge
        options = JudgeOptions(args.judge_url, store=args.store, encoder=encoder() if embeds else None)
        return open_judge(args.select_judge, shop, options)

    store = args.store or _cache(args)
    serving = (exam.combine, exam.weight)
    return AgentOptions(shop, exam.retriever, *serving, encoder, judge, store=store, seed=args.seed)


def _agent(spec: str, past: Callable[[], Shop], options: AgentOptions) -> Agent:
    """One that reads a log gets the past that students get: queries made from the catalogue if nothing was bought."""
    from agents.factory import make_agent, reads_query_log

    return make_agent(spec, replace(options, shop=past()) if reads_query_log(spec) else options)


def _column(spec: str, taken: dict[str, Evaluation]) -> str:
    """A checkpoint's last two folders name it; a second one of the same name gets a number."""
    kind, name = "", spec
    while found := KIND.match(name):
        kind, name = kind + found[0], name[found.end() :]
    name = kind + "/".join(Path(name).parts[-2:])
    return name if name not in taken else f"{name} ({len(taken) + 1})"


def _score_run(path: str, shop: Shop, exam: HeldOutEvaluator) -> Evaluation:
    from qr_env.shop.trec import read_run

    hits, tag = read_run(path, shop, exam.queries, exam.k)
    return exam.evaluate_run(hits, tag)


def _write_run(path: str, agent: Agent, shop: Shop, exam: HeldOutEvaluator) -> None:
    from qr_env.shop.trec import write_run

    write_run(path, shop, exam.queries, exam.search(exam.rewrites(agent)), tag=Path(agent.name).name)


def report(args: Args, tables: Sequence[dict[str, Evaluation]], seconds: float) -> dict[str, Any]:
    """What `--json` holds: records by agent, with several engines by "AGENT @ ENGINE"; `timing` apart from them, since
    only it differs from run to run."""
    several = len(tables) > 1
    flat = {
        f"{name} @ {evaluation.retriever}" if several else name: evaluation
        for evaluations in tables
        for name, evaluation in evaluations.items()
    }
    agents = {name: evaluation.to_json(args.per_query) for name, evaluation in flat.items()}
    timing = {name: evaluation.timing for name, evaluation in flat.items()}
    return {"verb": "evaluate", "args": vars(args), "seconds": round(seconds, 2), "timing": timing, "agents": agents}


def _print(tables: Sequence[dict[str, Evaluation]], seconds: float) -> None:
    from rich.console import Console

    from qr_env.evaluation.tables import comparison

    # A pipe or a file has no width to fit: nothing is cut there.
    console = Console(width=None if sys.stdout.isatty() else 160)
    for evaluations in tables:
        console.print(comparison(evaluations))
    console.print(f"{seconds:.1f} s")
