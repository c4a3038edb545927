"""`qr evaluate`: score agents on held-out queries. Its flags are in `runs/evaluate/args.py`."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.checks import check_agent, is_best_of
from agents.factory import AgentOptions, checkpoint_folder, make_agent, reads_query_log
from agents.policy.saved_settings import saved_settings
from judges.checks import check_judge
from judges.factory import JudgeOptions, needs_encoder, open_judge
from qr_env.common.download import cache_root
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Agent, Judge, TextEncoder
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.result import Evaluation
from qr_env.evaluation.tables import comparison_table
from qr_env.models.hub import resolve
from qr_env.query_text.lucene import lucene_query
from qr_env.retrieval.combine import ORIGINAL_WEIGHT
from qr_env.retrieval.encoder import Encoder
from qr_env.retrieval.factory import checked_retriever, make_retriever, retriever_uses_encoder
from qr_env.shop.load import load_shop
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop
from qr_env.shop.trec import read_run, write_run, write_topics
from runs.common.checks import about, check_file, check_folder, check_output
from runs.common.folder import CONFIG_FILE
from runs.common.output import write_json
from runs.common.query_log import with_query_log
from runs.evaluate.args import DEFAULT_ENCODER, Args

AGENT_KIND = re.compile(r"best-of-\d+:|(?:prompted|few-shot|query2doc|synonyms|suggest):")

LEAST = {"k": 1, "limit": 1, "seed": 0}  # setting → its least value


def main(args: Args) -> None:
    """Evaluate every agent with every search engine; print one table an engine, write what was asked for."""
    check_outputs(args)
    check_inputs(args)
    combine, weight = resolve_combine(args)  # before anything is read: checkpoints may not fit in one table
    if args.lucene_out and combine == "union":
        raise ConfigError(
            "--lucene-out: union fuses two lists, which no query string does; --combine expand or replace"
        )
    started = time.perf_counter()
    options = replace(args.read_options(), language=args.language or language_of_runs(args.agent, args.shop))
    shop = load_shop(args.shop, args.data, options=options)  # the generated shop that `qr online` trains on
    log_shop = with_query_log(shop) if any(map(reads_query_log, args.agent)) else shop
    tables = []
    for retriever in dict.fromkeys(args.retriever):
        evaluator = open_evaluator(args, shop, retriever, combine, weight)
        tables.append(evaluate_agents(args, evaluator, log_shop))
    seconds = time.perf_counter() - started
    write_json(args.json, report(args, tables, seconds))
    if args.json != "-":
        print_tables(tables, seconds)


def check_outputs(args: Args) -> None:
    """Raise ConfigError if there is nothing to score, or if a file is to hold what is not one agent's, one engine's."""
    if not args.agent and not args.run_in:
        raise ConfigError("nothing to score: name an --agent, or a TREC file with --run-in")
    if (args.run_out or args.lucene_out) and not args.agent:
        raise ConfigError("--run-out and --lucene-out write what an agent does: name an --agent")
    if (args.run_in or args.run_out or args.lucene_out) and len(args.retriever) > 1:
        names = ", ".join(args.retriever)
        raise ConfigError(f"--run-in, --run-out and --lucene-out are of one engine: name one --retriever, not {names}")


def check_inputs(args: Args) -> None:
    """Raise what is wrong with the engines, agents, judges and files that the flags name, before the shop is read.

    Raises:
        QrError: of the kind that the part itself would raise, after minutes.
    """
    for name in ("json", "run_out", "lucene_out"):
        check_output(name, getattr(args, name))
    check_folder("cache", args.cache)
    check_folder("store", args.store)
    if args.run_in:
        check_file("run_in", args.run_in)
    for name, least in LEAST.items():
        value = getattr(args, name)
        if value is not None and value < least:
            raise ConfigError(f"{name}={value}: must be {least} or more")
    if args.weight is not None and not args.weight > 0:
        raise ConfigError(f"weight={args.weight:g}: must be above 0; the rewrite's is 1")
    for retriever in args.retriever:
        with about("retriever", retriever):
            checked_retriever(retriever)
    options = args.judge_options()
    specs = {"judge": args.judge} | ({"select_judge": args.select_judge} if any(map(is_best_of, args.agent)) else {})
    used = [*map(retriever_uses_encoder, args.retriever), *map(needs_encoder, specs.values())]
    if any(used):
        with about("encoder", args.encoder):
            options = replace(options, encoder=open_encoder(args.encoder, _cache_folder(args)))
    for name, spec in specs.items():
        with about(name, spec):
            check_judge(spec, options)
    for spec in args.agent:
        with about("agent", spec):
            check_agent(spec, args.read_options())


def resolve_combine(args: Args) -> tuple[str, float]:
    """`combine` and `weight`: the flags, else what the checkpoints among the agents were trained with, else defaults.

    Raises:
        ConfigError: a flag is not given and the checkpoints differ in it; one table compares agents in one mode.
    """
    saved = saved_settings_of(args.agent)
    combines = {spec: str(settings.get("combine", "expand")) for spec, settings in saved.items()}
    weights = {spec: float(settings.get("weight", ORIGINAL_WEIGHT)) for spec, settings in saved.items()}
    if args.combine is None and len(set(combines.values())) > 1:
        raise ConfigError(_differ("combine", combines))
    if args.weight is None and len(set(weights.values())) > 1:
        raise ConfigError(_differ("weight", weights))
    combine = next(iter(combines.values()), "expand") if args.combine is None else args.combine
    weight = next(iter(weights.values()), ORIGINAL_WEIGHT) if args.weight is None else args.weight
    return combine, weight


def _differ(name: str, values: Mapping[str, object]) -> str:
    return f"checkpoints differ in {name}: {dict(values)}; name one --{name} for all, or score them in separate runs"


def saved_settings_of(specs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Folder → settings saved in it, for each checkpoint among the agents."""
    folders = [folder for spec in specs if (folder := checkpoint_folder(spec)) is not None]
    if not folders:
        return {}
    return {str(folder): saved_settings(folder) for folder in folders}


def language_of_runs(specs: Sequence[str], shop: str) -> str:
    """The --language of the runs that trained the checkpoints among the agents on this shop; "" where none was given.

    Raises:
        ConfigError: they were given different ones.
    """
    given: dict[str, str] = {}
    for folder in filter(None, map(checkpoint_folder, specs)):
        config = next((path for parent in folder.resolve().parents if (path := parent / CONFIG_FILE).is_file()), None)
        args = json.loads(config.read_text(encoding="utf-8"))["args"] if config else {}
        if args.get("shop") == shop and args.get("language"):
            given[str(folder)] = args["language"]
    if len(set(given.values())) > 1:
        raise ConfigError(_differ("language", given))
    return next(iter(given.values()), "")


def open_evaluator(args: Args, shop: Shop, retriever: str, combine: str, weight: float) -> HeldOutEvaluator:
    """The evaluation with one search engine that the flags describe."""
    cache_folder = _cache_folder(args)
    has_encoder = retriever_uses_encoder(retriever) or needs_encoder(args.judge)
    encoder = open_encoder(args.encoder, cache_folder) if has_encoder else None
    engine = make_retriever(retriever, shop, cache_folder, encoder=encoder)
    options = args.judge_options(encoder)
    judge = None if args.judge == "labels" else open_judge(args.judge, shop, options)
    return HeldOutEvaluator(shop, engine, args.split, combine, weight, judge, args.k, args.limit, args.seed)


def _cache_folder(args: Args) -> Path:
    return Path(args.cache).expanduser() if args.cache else cache_root()


@cache
def open_encoder(name: str, cache_folder: Path) -> TextEncoder:
    """The sentence encoder, loaded once."""
    return Encoder(resolve(name), cache_dir=cache_folder)


def evaluate_agents(args: Args, evaluator: HeldOutEvaluator, log_shop: Shop) -> dict[str, Evaluation]:
    """Column name → evaluation, for every agent and run file, with one search engine.

    Args:
        log_shop: the shop for agents that read a query log: with generated train queries if it has no purchases.
    """
    options = agent_options(
        evaluator, encoder=args.encoder, cache_folder=_cache_folder(args), select_judge=args.select_judge,
        judge_options=args.judge_options(), seed=args.seed, reading=args.read_options(),
    )  # fmt: skip
    evaluations: dict[str, Evaluation] = {}
    for spec in args.agent:
        agent = open_agent(spec, log_shop, options)
        evaluations[column_name(spec, evaluations)] = last = evaluator.evaluate(agent)
    if args.run_in:
        hits, tag = read_run(args.run_in, evaluator.shop, evaluator.queries, evaluator.k, args.read_options())
        evaluations[Path(args.run_in).name] = evaluator.evaluate_run(hits, tag)
    if args.run_out:
        hits = evaluator.search(last.rewrites)
        write_run(args.run_out, evaluator.shop, evaluator.queries, hits, tag=Path(last.agent).name)
    if args.lucene_out:
        write_lucene_queries(args.lucene_out, last)
    return evaluations


def write_lucene_queries(path: str, evaluation: Evaluation) -> None:
    """Write the evaluated rewrites, combined with their queries as they were searched, as Lucene query strings."""
    strings = [
        lucene_query(query.text, rewrite, evaluation.weight, evaluation.combine)
        for query, rewrite in zip(evaluation.queries, evaluation.rewrites, strict=True)
    ]
    write_topics(path, evaluation.queries, strings)


def open_agent(spec: str, log_shop: Shop, options: AgentOptions) -> Agent:
    """The agent that `spec` names; one that reads a query log gets the same log that students are trained on."""
    return make_agent(spec, replace(options, shop=log_shop) if reads_query_log(spec) else options)


def agent_options(
    evaluator: HeldOutEvaluator,
    *,
    encoder: str = DEFAULT_ENCODER,
    cache_folder: Path | None = None,
    select_judge: str = "embedding",
    judge_options: JudgeOptions | None = None,
    seed: int = 0,
    reading: ReadOptions | None = None,
) -> AgentOptions:
    """What agents are built from; encoder, selecting judge and servers are opened only if an agent asks for them."""
    cache_folder, judge_options = cache_folder or cache_root(), judge_options or JudgeOptions()
    return AgentOptions(
        evaluator.shop,
        evaluator.retriever,
        evaluator.combine,
        evaluator.weight,
        encoder=partial(open_encoder, encoder, cache_folder),
        judge=partial(_open_select_judge, select_judge, evaluator.shop, encoder, cache_folder, judge_options),
        store=judge_options.store or cache_folder,
        cache_dir=cache_folder,
        seed=seed,
        reading=reading or ReadOptions(),
    )


def _open_select_judge(spec: str, shop: Shop, encoder: str, cache_folder: Path, options: JudgeOptions) -> Judge:
    loaded = open_encoder(encoder, cache_folder) if needs_encoder(spec) else None
    return open_judge(spec, shop, replace(options, encoder=loaded))


def column_name(spec: str, taken: Mapping[str, Evaluation]) -> str:
    """Name of an agent's column: a checkpoint is named by its last two folders; a repeated name gets a number."""
    kind, name = "", spec
    while found := AGENT_KIND.match(name):
        kind, name = kind + found[0], name[found.end() :]
    name = kind + "/".join(Path(name).parts[-2:])
    return name if name not in taken else f"{name} ({len(taken) + 1})"


def report(args: Args, tables: Sequence[Mapping[str, Evaluation]], seconds: float) -> dict[str, object]:
    """The JSON report: records by agent, or by "AGENT @ ENGINE" for several engines; `timing` is kept apart, because
    only it differs between runs."""
    several = len(tables) > 1
    flat = {
        f"{name} @ {evaluation.retriever}" if several else name: evaluation
        for evaluations in tables
        for name, evaluation in evaluations.items()
    }
    agents = {name: evaluation.to_json(args.per_query) for name, evaluation in flat.items()}
    timing = {name: evaluation.timing for name, evaluation in flat.items()}
    return {"verb": "evaluate", "args": vars(args), "seconds": round(seconds, 2), "timing": timing, "agents": agents}


def print_tables(tables: Sequence[Mapping[str, Evaluation]], seconds: float) -> None:
    """Print one table an engine."""
    # A pipe or a file has no terminal width: nothing is cut there.
    console = Console(width=None if sys.stdout.isatty() else 160)
    first = next(iter(tables[0].values()))
    if first.made_up_note:
        console.print(first.made_up_note, markup=False, soft_wrap=True)
    for evaluations in tables:
        console.print(comparison_table(evaluations))
    console.print(f"{seconds:.1f} s")
