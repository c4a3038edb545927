"""Check search while products come and go: every list of a running environment against a brute-force search of it.

    python -m runs.bench_churn generated --results 1000000 --json churn.json      # or: qr bench churn

The vectorised environment runs on the shop's traffic while a tenth of the products is replaced in eight deliveries,
spread over the run. Rewrites are what a learner tries: the oracle's words, another query's, a mistyped one, the query
itself. Each hit of each list, before and after the rewrite, is compared with the scores of all products (one sparse
product of bm25s' own matrix, nothing of our search): a ghost is not on sale, a wrong hit does not have the score that
belongs at its rank, a hole is a place left empty though something on sale matches.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import tyro

from qr_env.types import Hits, Query, SearchText
from runs.cli import run, write_json

WRONG = ("ghosts", "wrong", "holes")
TOLERANCE = 1e-4  # of a BM25 score: float32 sums in another order


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
    from qr_env.shops import load_shop

    counts = check(args, load_shop(args.shop, args.data))
    if args.json != "-":
        print("  ".join(f"{name} {value:,}" for name, value in counts.items()))
    write_json(args.json, counts)
    if any(counts[name] for name in WRONG):
        sys.exit(1)


def check(args: Args, shop: Any) -> dict[str, int]:
    """Counts: results, lists, epochs seen, products replaced, and what was wrong: ghosts, wrong hits, holes."""
    from tqdm import tqdm

    from judges.labels import LabelsJudge
    from qr_env.bm25 import BM25
    from qr_env.churn import LiveRetriever
    from qr_env.drift import Drift
    from qr_env.drift_plan import Event, Plan
    from qr_env.stream import QueryStream
    from qr_env.vector_env import QueryRewriteVectorEnv

    lists = args.prompts * (args.group_size + 1)
    queries = max(args.results // (10 * lists), 1) * args.prompts
    plan = Plan((Event("churn", queries // 10, queries * 8 // 10, args.share),), reserve=args.share, seed=args.seed)
    drift, engine = Drift(shop, plan), BM25.build(shop)
    stream = QueryStream(drift.queries, seed=args.seed, temper=0.25, drift=drift)
    envs = QueryRewriteVectorEnv(
        *(shop, LiveRetriever(engine, drift.assortment), LabelsJudge(shop)),
        num_envs=args.prompts * args.group_size, group_size=args.group_size, stream=stream,
    )  # fmt: skip
    truth, draw = Truth(engine), random.Random(args.seed)
    counts = {"results": 0, "lists": 0, "epochs": 0, "replaced": 0, "ghosts": 0, "wrong": 0, "holes": 0}
    opening_P = drift.on_sale(0).copy()
    envs.reset(seed=args.seed)
    last_P = np.zeros(0, np.bool_)
    with tqdm(total=args.results, desc="check", unit="hit", mininterval=1.0) as bar:
        while counts["results"] < args.results:
            on_sale_P = envs.simulator.retriever.epoch.on_sale_P  # type: ignore[attr-defined]
            counts["epochs"] += int(not np.array_equal(on_sale_P, last_P))
            last_P, asked = on_sale_P, envs.simulator.queries_N
            rewrites = [attempt(query, drift.queries, shop.oracle, draw) for query in asked]
            *_, infos = envs.step(rewrites)
            first = slice(None, None, args.group_size)
            texts: list[SearchText] = [query.text for query in asked[first]]
            found = truth.compare(texts, infos["hits_before"][first], on_sale_P)
            both: list[SearchText] = [
                query.text if kept else ((query.text, 1.0), (rewrite, 1.0))
                for query, rewrite, kept in zip(asked, rewrites, infos["feedback"].kept.tolist(), strict=True)
            ]
            found += truth.compare(both, infos["hits_after"], on_sale_P)
            counts["lists"] += len(texts) + len(both)
            for name, value in zip(("results", "ghosts", "wrong", "holes"), found.tolist(), strict=True):
                counts[name] += value
            bar.update(int(found[0]))
    counts["replaced"] = int((opening_P & ~last_P).sum())
    return counts


def attempt(query: Query, others: Sequence[Query], oracle: dict[str, str], draw: random.Random) -> str:
    """A rewrite such as a learner tries."""
    from qr_env.misspell import slip

    way = draw.randrange(4)
    if way == 0:
        return oracle.get(query.id, query.text)
    return ("", slip(query.text, draw), draw.choice(others).text)[way - 1]


class Truth:
    """The scores of all products for any texts, from the index's matrix alone."""

    def __init__(self, engine: Any) -> None:
        scores = engine.engine.scores
        shape = (len(scores["indptr"]) - 1, engine.num_docs)
        self.engine = engine
        self.weights_T_P = sp.csr_matrix((scores["data"], scores["indices"], scores["indptr"]), shape=shape)

    def compare(self, texts: Sequence[SearchText], hits: Hits, on_sale_P: npt.NDArray[np.bool_]) -> npt.NDArray:
        """How many hits were checked, how many were ghosts, wrong, and how many holes there are; (4,)."""
        ids, weights, starts = self.engine._encode(texts)
        words = sp.csr_matrix((weights, ids, starts), shape=(len(texts), self.weights_T_P.shape[0]))
        scores_NP = (words @ self.weights_T_P).toarray()
        scores_NP[:, ~on_sale_P] = 0.0
        k = hits.rows_NK.shape[1]
        best_NK = -np.sort(-np.partition(scores_NP, -k, axis=1)[:, -k:], axis=1)
        rows_NK, found_NK = hits.rows_NK, hits.found_NK
        ghosts_NK = found_NK & ~on_sale_P[rows_NK]
        own_NK = np.take_along_axis(scores_NP, np.maximum(rows_NK, 0).astype(np.int64), axis=1)
        off_NK = (np.abs(own_NK - best_NK) > TOLERANCE) | (
            np.abs(np.where(found_NK, hits.scores_NK, 0) - own_NK) > TOLERANCE
        )
        twice_NK = np.diff(np.sort(np.where(found_NK, rows_NK, -1 - np.arange(k)), axis=1), axis=1) == 0
        wrong = int((found_NK & off_NK).sum()) + int(twice_NK.sum())
        return np.array([found_NK.sum(), ghosts_NK.sum(), wrong, (~found_NK & (best_NK > 0)).sum()])


if __name__ == "__main__":
    run(Args, main, description=__doc__)
