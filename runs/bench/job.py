"""Measure speed as ratios, each against the engines or the plain loop in the same run.

    qr bench retrieval --json bench.json
    qr bench env --shop icecat --data ../shared/data
    qr bench judge --json bench_judge.json
    qr bench online --student tiny smollm2-135m

retrieval: our search against bm25s and FAISS called directly (`runs/bench/retrieval.py`).
env: the vector environment against its engine and against a loop over the scalar one (`runs/bench/env.py`).
judge: label probabilities against JSON replies, on one vLLM server (`runs/bench/judge.py`).
online: one learning update against TRL's GRPOTrainer and against a counted floor (`runs/bench/online.py`).
promotion: how often a candidate that is no better is promoted (`runs/bench/promotion.py`).
churn: every hit of a running environment while products come and go, against brute force (`runs/bench/churn.py`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from runs.common.cli import write_json


@dataclass
class Args:
    """What to measure, on which shop."""

    what: tyro.conf.Positional[Literal["retrieval", "env", "judge", "online", "churn", "promotion"]]
    """retrieval: search. env: episodes. judge: verdicts of a language model. online: learning updates. No speed:
    churn, hits that are wrong or of products that are not on sale (exit code 1 where there is one); promotion, what
    becomes of candidates that are no better, worse, better."""
    shop: Annotated[str, tyro.conf.arg(aliases=["--source"])] = "generated"
    """generated, icecat, esci, wands, or a folder of your own"""
    data: str | None = None
    """folder with the data of icecat, esci or wands (default: $QR_DATA, else download)"""
    retriever: tuple[Literal["bm25", "dense", "hybrid"], ...] = ("bm25", "hybrid")
    """env: which engines below the environment"""
    encoder: str = "minilm-l6"
    """what embeds: minilm-l6, a Hugging Face id or a folder; "" leaves everything out that needs it"""
    queries: int = 4000
    """retrieval: queries in a batch, the shop's own, topped up with words of its titles"""
    k: int = 50
    """retrieval: hits a query"""
    rounds: int = 7
    """timed turns; the median counts. judge: 3 at most, a quarter of an hour each on two CPU cores"""
    pairs: int = 640
    """judge: (query, product) pairs a round, in lists of 20: 640 are 32 requests at once, as many as the others make"""
    url: str | None = None
    """judge: a server that runs; default starts vLLM with `model` and stops it"""
    model: str = "smollm2-135m"
    """judge: what it starts with"""
    threads: int = 0
    """retrieval: threads for both sides; 0 takes OMP_NUM_THREADS, else every core"""
    student: tuple[str, ...] = ("tiny",)
    """online: who learns: tiny, smollm2-135m, any causal LM, or a saved student's folder"""
    results: int = 1_000_000
    """churn: hits to check"""
    json: str | None = None
    """write the report to this JSON file, "-" for standard output"""


def main(args: Args) -> None:
    """Measure, print, write."""
    from qr_env.shop.load import load_shop
    from runs.common.timing import stamped

    shop = None if args.what == "promotion" else load_shop(args.shop, args.data)
    measures = {
        "retrieval": _retrieval, "env": _env, "judge": _judge, "online": _online, "churn": _churn,
        "promotion": _promotion,
    }  # fmt: skip
    report = stamped(measures[args.what](args, shop))
    if args.json != "-":
        _show(report)
    write_json(args.json, report)
    if any(report.get("wrong", {}).values()):
        sys.exit(1)


def _retrieval(args: Args, shop: Any) -> dict[str, Any]:
    from runs.bench.retrieval import bench

    encoder = _encoder(args, remember=0) if args.encoder else None
    return bench(shop, args.queries, args.k, args.rounds, args.threads, encoder)


def _env(args: Args, shop: Any) -> dict[str, Any]:
    from qr_env.common.download import cache_root
    from runs.bench.env import bench

    kinds = tuple(kind for kind in args.retriever if args.encoder or kind == "bm25")
    encoder = _encoder(args) if args.encoder and kinds != ("bm25",) else None
    return bench(shop, kinds, encoder, cache_root(), args.rounds)


def _judge(args: Args, shop: Any) -> dict[str, Any]:
    from qr_env.common.download import cache_root
    from qr_env.llm.server import VLLMServer
    from qr_env.models.hub import resolve
    from qr_env.retrieval.base import make_retriever
    from runs.bench.judge import bench

    retriever, rounds = make_retriever("bm25", shop, cache_root()), min(args.rounds, 3)
    if args.url:
        return bench(shop, retriever, args.url, args.pairs, rounds=rounds)
    with VLLMServer(resolve(args.model), name=args.model, wait=1_200) as server:
        return bench(shop, retriever, server.url, args.pairs, rounds=rounds, group=server.pid)


def _online(args: Args, shop: Any) -> dict[str, Any]:
    from qr_env.common.download import cache_root
    from qr_env.retrieval.base import make_retriever
    from runs.bench.online import bench

    return bench(shop, make_retriever("bm25", shop, cache_root()), args.student, args.rounds)


def _churn(args: Args, shop: Any) -> dict[str, Any]:
    from runs.bench.churn import WRONG, check
    from runs.bench.churn import Args as ChurnArgs

    counts = check(ChurnArgs(results=args.results), shop)
    wrong = {name: counts.pop(name) for name in WRONG}
    return {"ratios": {}, "wrong": wrong, "sizes": counts}


def _promotion(args: Args, shop: Any) -> dict[str, Any]:
    from runs.bench.promotion import Args as PromotionArgs
    from runs.bench.promotion import simulate

    return {"ratios": {}, "candidates": simulate(PromotionArgs()), "sizes": {}}


def _encoder(args: Args, **settings: Any) -> Any:
    from qr_env.models.hub import resolve
    from qr_env.retrieval.encoder import Encoder

    return Encoder(Path(resolve(args.encoder)), **settings)


def _show(report: dict[str, Any]) -> None:
    width = max(map(len, report["ratios"]), default=0)
    for name, ratio in report["ratios"].items():
        rates = report.get("queries_per_second", {}).get(name, {})
        print(f"{name:{width}}  {ratio:7.3f}  " + "  ".join(f"{who} {rate:,.0f}/s" for who, rate in rates.items()))
    for kind, rates in report.get("episodes_per_second", {}).items():
        print(f"{kind}: episodes/s  " + "  ".join(f"{who} {rate:,.0f}" for who, rate in rates.items()))
    for name, rate in report.get("verdicts_per_second", {}).items():
        costs = report["a_verdict"].get(name, {})
        print(f"{name}: {rate:,.1f} verdicts/s  " + "  ".join(f"{what} {cost:.3g}" for what, cost in costs.items()))
    if wrong := report.get("wrong"):
        print("  ".join(f"{name} {count:,}" for name, count in wrong.items()))
    if candidates := report.get("candidates"):
        from runs.bench.promotion import show

        show(candidates)
    for name, phases in report.get("phases", {}).items():
        print(f"{name}: " + "  ".join(f"{what} {value:.3g}" for what, value in report["updates"][name].items()))
        for phase, row in phases.items():
            print(f"  {phase:15}" + "  ".join(f"{what} {value:8.4f}" for what, value in row.items()))
    machine = report["machine"]
    print(f"{report['sizes']}\n{machine['cpu']}, {machine['cores']} cores, load {machine['load']}")
