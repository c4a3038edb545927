"""`qr bench churn`: every list of a running environment against brute force; settings: `runs/bench/args.py`."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence

from tqdm import tqdm

from judges.simple.labels import LabelsJudge
from qr_env.common.types import Query
from qr_env.environment.brute_force_check import ERRORS, BruteForceCheck
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.live_catalogue import LiveRetriever
from qr_env.shop import load_shop
from qr_env.shop.shop import Shop
from qr_env.synthetic.typos import typo_variant
from qr_env.traffic.drift import Drift
from qr_env.traffic.drift_plan import Event, Plan
from qr_env.traffic.stream import QueryStream
from runs.bench.args import ChurnArgs
from runs.bench.output import named_values, publish


def main(args: ChurnArgs) -> None:
    """Check, print, write; exit code 1 where there was an error."""
    counts = check(args, load_shop(args.shop, args.data, options=args.read_options()))
    errors = {name: counts.pop(name) for name in ERRORS}
    measured = {"ratios": {}, "errors": errors, "sizes": counts}
    publish(measured, [named_values(errors, ",")], args.json)
    if any(errors.values()):
        sys.exit(1)


def check(args: ChurnArgs, shop: Shop) -> dict[str, int]:
    """The counts of `BruteForceCheck`: results, lists, assortments seen, products replaced, and errors."""
    lists = args.prompts * (args.group_size + 1)
    queries = max(args.results // (10 * lists), 1) * args.prompts
    plan = Plan((Event("churn", queries // 10, queries * 8 // 10, args.share),), reserve=args.share, seed=args.seed)
    drift, engine = Drift(shop, plan), BM25.build(shop)
    stream = QueryStream(drift.queries, seed=args.seed, frequency_exponent=0.25, drift=drift)
    envs = QueryRewriteVectorEnv(
        shop,
        LiveRetriever(engine, drift.assortment),
        LabelsJudge(shop),
        num_envs=args.prompts * args.group_size,
        group_size=args.group_size,
        stream=stream,
    )
    checked, draw = BruteForceCheck(envs), random.Random(args.seed)
    checked.reset(seed=args.seed)
    counts = checked.counts
    with tqdm(total=args.results, desc="check", unit="hit", mininterval=1.0) as bar:
        while counts["results"] < args.results:
            rewrites = [
                sample_rewrite(query, drift.queries, shop.oracle, draw) for query in checked.simulator.queries_N
            ]
            checked.step(rewrites)
            bar.update(counts["results"] - bar.n)
    return counts


def sample_rewrite(query: Query, others: Sequence[Query], oracle: dict[str, str], draw: random.Random) -> str:
    """A rewrite like those of a learner: the oracle's, the query itself (""), a typo variant, or another query."""
    kind = draw.randrange(4)
    if kind == 0:
        return oracle.get(query.id, query.text)
    return ("", typo_variant(query.text, draw), draw.choice(others).text)[kind - 1]
