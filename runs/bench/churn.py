"""Check search while products come and go: every list of a running environment against a brute-force search of it.

    python -m runs.bench.churn generated --results 1000000 --json churn.json      # or: qr bench churn
    qr online generated --drift churn --check-hits                                # the same while a student learns

The vectorised environment runs on the shop's traffic while a tenth of what is on sale is replaced in eight deliveries,
spread over the run. Rewrites are what a learner may try: the oracle's words, another query's, a mistyped one, the query
itself. What is compared with what, and what counts as wrong: qr_env/environment/brute_force_check.py.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from qr_env.common.types import Query
from qr_env.environment.brute_force_check import ERRORS
from runs.common.cli import run, write_json


@dataclass
class Args:
    """What to check."""

    shop: Annotated[str, tyro.conf.arg(name="shop"), tyro.conf.Positional] = "generated"
    """generated, icecat, esci, wands, or a folder of your own"""
    data: str | None = None
    """folder with the data of icecat, esci or wands"""
    results: int = 1_000_000
    """hits to check"""
    share: float = 0.1
    """share of the products that is replaced"""
    prompts: int = 64
    """queries a step"""
    group_size: int = 8
    """rewrites a query"""
    seed: int = 0
    """of everything"""
    json: str | None = None
    """write the counts to this JSON file, "-" for standard output"""


def main(args: Args) -> None:
    """Run, print, write; exit code 1 where anything was wrong."""
    from qr_env.shop.load import load_shop

    counts = check(args, load_shop(args.shop, args.data))
    if args.json != "-":
        print("  ".join(f"{name} {value:,}" for name, value in counts.items()))
    write_json(args.json, counts)
    if any(counts[name] for name in ERRORS):
        sys.exit(1)


def check(args: Args, shop: Any) -> dict[str, int]:
    """The counts of `BruteForceCheck`: results, lists, epochs seen, products replaced, and what was wrong."""
    from tqdm import tqdm

    from judges.simple.labels import LabelsJudge
    from qr_env.environment.brute_force_check import BruteForceCheck
    from qr_env.environment.vector_env import QueryRewriteVectorEnv
    from qr_env.retrieval.bm25 import BM25
    from qr_env.retrieval.live_catalogue import LiveRetriever
    from qr_env.traffic.drift import Drift
    from qr_env.traffic.drift_plan import Event, Plan
    from qr_env.traffic.stream import QueryStream

    lists = args.prompts * (args.group_size + 1)
    queries = max(args.results // (10 * lists), 1) * args.prompts
    plan = Plan((Event("churn", queries // 10, queries * 8 // 10, args.share),), reserve=args.share, seed=args.seed)
    drift, engine = Drift(shop, plan), BM25.build(shop)
    stream = QueryStream(drift.queries, seed=args.seed, frequency_exponent=0.25, drift=drift)
    envs = QueryRewriteVectorEnv(
        *(shop, LiveRetriever(engine, drift.assortment), LabelsJudge(shop)),
        num_envs=args.prompts * args.group_size, group_size=args.group_size, stream=stream,
    )  # fmt: skip
    checked, draw = BruteForceCheck(envs), random.Random(args.seed)
    checked.reset(seed=args.seed)
    counts = checked.counts
    with tqdm(total=args.results, desc="check", unit="hit", mininterval=1.0) as bar:
        while counts["results"] < args.results:
            rewrites = [attempt(query, drift.queries, shop.oracle, draw) for query in checked.simulator.queries_N]
            checked.step(rewrites)
            bar.update(counts["results"] - bar.n)
    return counts


def attempt(query: Query, others: Sequence[Query], oracle: dict[str, str], draw: random.Random) -> str:
    """A rewrite such as a learner tries."""
    from qr_env.synthetic.typos import typo_variant

    way = draw.randrange(4)
    if way == 0:
        return oracle.get(query.id, query.text)
    return ("", typo_variant(query.text, draw), draw.choice(others).text)[way - 1]


if __name__ == "__main__":
    run(Args, main, description=__doc__)
