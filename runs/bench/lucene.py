"""`qr bench lucene`: rewriters on a real Lucene, beside the embedded BM25; settings: `runs/bench/args.py`.

Agents are built on the embedded BM25, as `qr online` and `qr evaluate` build them, and rewrite every query once. The
same rewrites are then searched with Lucene as boosted query strings: whether what was learned on the embedded engine
helps the one that Solr, Elasticsearch and OpenSearch are made of.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.factory import reads_query_log
from qr_env.common.errors import ConfigError
from qr_env.common.messages import print_message
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.result import Evaluation
from qr_env.evaluation.tables import interval_text
from qr_env.retrieval.bm25 import BM25Settings
from qr_env.shop.load import load_shop
from qr_env.shop.shop import Shop
from qr_env.shop.trec import write_run
from runs.bench.args import LuceneArgs
from runs.bench.lucene_index import LuceneIndex, missing, version
from runs.bench.output import publish
from runs.common.query_log import with_query_log
from runs.evaluate import args as evaluate_args
from runs.evaluate.job import evaluate_agents, open_evaluator, resolve_combine

FIRST = 10
FIGURES = ("nDCG@10 (judged only)", "R@100", "better", "worse")  # beside the headline figure
Tables = Mapping[str, Mapping[str, Evaluation]]
"""Engine → column of the agent → evaluation."""


class SameRewrites:
    """The rewrites of an earlier evaluation, as an agent for another engine."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.name = evaluation.agent
        self._rewrites = {
            query.text: rewrite for query, rewrite in zip(evaluation.queries, evaluation.rewrites, strict=True)
        }

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The one rewrite of each query."""
        return [[self._rewrites[query]] for query in queries]


def main(args: LuceneArgs) -> None:
    """Evaluate with both engines, print, write."""
    if reason := missing():
        raise ConfigError(reason)
    fields = field_counts(args.fields)
    with tempfile.TemporaryDirectory() as folder:
        measured, tables = bench(args, fields, Path(folder) / "index")
    publish(measured, lines(measured, tables), args.json)


def bench(
    args: LuceneArgs, fields: Sequence[tuple[str, int]], folder: Path
) -> tuple[dict[str, Any], dict[str, dict[str, Evaluation]]]:
    """The figures as JSON values, and the evaluations by engine and agent. folder: a new one, for Lucene's index."""
    settings = evaluate_args.Args(
        shop=args.shop, data=args.data, agent=args.agent, split=args.split, combine=args.combine, weight=args.weight,
        judge=args.judge, limit=args.limit, seed=args.seed, encoder=args.encoder, judge_url=args.judge_url,
        judge_model=args.judge_model, judge_prompt=args.judge_prompt, judge_timeout=args.judge_timeout,
        store=args.store,
    )  # fmt: skip
    combine, weight = resolve_combine(settings)
    shop = load_shop(args.shop, args.data, options=args.read_options())
    index, indexing = timed_index(shop, folder, fields)
    embedded = open_evaluator(settings, shop, "bm25", combine, weight)
    lucene = HeldOutEvaluator(
        shop, index, args.split, combine, weight, embedded.judge, embedded.k, args.limit, args.seed
    )
    log_shop = with_query_log(shop) if any(map(reads_query_log, args.agent)) else shop
    on_bm25 = evaluate_agents(settings, embedded, log_shop)
    on_lucene = {name: lucene.evaluate(SameRewrites(evaluation)) for name, evaluation in on_bm25.items()}
    tables = {"bm25": on_bm25, "lucene": on_lucene}
    measured = {
        "ratios": {},
        "lucene": version(),
        "fields": dict(fields),
        "seconds to index": indexing,
        "ms/query": index.ms_per_query,
        "agents": json_by_agent(tables),
        "sizes": {"shop": shop.name, "products": len(shop.products), "queries": len(embedded.queries)},
    }
    measured["first tens"] = {
        name: first_tens(embedded, lucene, evaluation.rewrites) for name, evaluation in on_bm25.items()
    }
    if args.run_out is not None:
        write_runs(args.run_out, {"bm25": embedded, "lucene": lucene}, tables)
    return measured, tables


def first_tens(embedded: HeldOutEvaluator, lucene: HeldOutEvaluator, rewrites: Sequence[str]) -> dict[str, float]:
    """Shares of the queries whose first ten are the same list, and the same products, with both engines; and the mean
    share of the embedded engine's first ten that are in Lucene's.

    They differ where scores are close: Lucene keeps a product's length in one byte (its norm), so that products of
    similar length tie, and ties go to the lower row in both.
    """
    lists = [engine.search(rewrites).rows_NK[:, :FIRST] for engine in (embedded, lucene)]
    same_list_N = (lists[0] == lists[1]).all(axis=1)
    pairs = [({*one.tolist()}, {*other.tolist()}) for one, other in zip(*lists, strict=True)]
    return {
        "same list": float(same_list_N.mean()),
        "same products": float(np.mean([one == other for one, other in pairs])),
        "shared products": float(np.mean([len(one & other) / len(one) for one, other in pairs])),
    }


def timed_index(shop: Shop, folder: Path, fields: Sequence[tuple[str, int]]) -> tuple[LuceneIndex, float]:
    """Lucene's index of the shop, and the seconds that it took, Java's start included."""
    print_message(f"Lucene {version()} indexes {len(shop.products):,} products")
    start = time.perf_counter()
    return LuceneIndex.build(shop, folder, fields), time.perf_counter() - start


def json_by_agent(tables: Tables) -> dict[str, Any]:
    """ "AGENT @ ENGINE" → the evaluation's figures as JSON values."""
    return {
        f"{name} @ {engine}": evaluation.to_json()
        for engine, evaluations in tables.items()
        for name, evaluation in evaluations.items()
    }


def field_counts(texts: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """(column, count) of each "NAME" or "NAME:COUNT"; those of the embedded BM25 for none. ConfigError if invalid."""
    if not texts:
        return BM25Settings().fields
    pairs = [text.partition(":") for text in texts]
    wrong = [f"{name}:{count}" for name, colon, count in pairs if colon and not count.isdigit()]
    if wrong:
        raise ConfigError(f"--fields {' '.join(wrong)}: write NAME or NAME:COUNT, such as title:5")
    return BM25Settings(fields=tuple((name, int(count or 1)) for name, _, count in pairs)).fields


def write_runs(folder: Path, evaluators: Mapping[str, HeldOutEvaluator], tables: Tables) -> None:
    """Write the result lists of each agent with each engine as TREC run files ENGINE-AGENT.trec."""
    for engine, evaluator in evaluators.items():
        for name, evaluation in tables[engine].items():
            hits = evaluator.search(evaluation.rewrites)
            file = re.sub(r"[^\w.-]+", "_", f"{engine}-{name}.trec")
            write_run(folder / file, evaluator.shop, evaluator.queries, hits, tag=f"{engine}-{name}")


def lines(measured: Mapping[str, Any], tables: Tables) -> list[str]:
    """Figures as text: one line an engine and agent, with the interval of the difference to identity."""
    found = [f"Lucene {measured['lucene']}: {measured['ms/query']:.2f} ms a query"]
    for engine, evaluations in tables.items():
        for name, evaluation in evaluations.items():
            metrics = evaluation.summary["all"]["metrics"]
            names = [figure for figure in (evaluation.main, *FIGURES) if figure in metrics]
            figures = "  ".join(f"{figure} {interval_text(metrics[figure], figure)}" for figure in names)
            found.append(f"{engine:6}  {name:20}  {figures}")
    for name, shares in measured["first tens"].items():
        text = ", ".join(f"{what} {share:.1%}" for what, share in shares.items())
        found.append(f"first ten of both engines, {name}: {text}")
    return found
