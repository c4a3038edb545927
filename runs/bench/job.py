"""What `qr bench` does; its settings, and the commands, are in `runs/bench/args.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from runs.bench.args import Args
from runs.common.cli import write_json


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
    from qr_env.retrieval.factory import make_retriever
    from runs.bench.judge import bench

    retriever, rounds = make_retriever("bm25", shop, cache_root()), min(args.rounds, 3)
    if args.url:
        return bench(shop, retriever, args.url, args.pairs, rounds=rounds)
    with VLLMServer(resolve(args.model), name=args.model, wait=1_200) as server:
        return bench(shop, retriever, server.url, args.pairs, rounds=rounds, group=server.pid)


def _online(args: Args, shop: Any) -> dict[str, Any]:
    from qr_env.common.download import cache_root
    from qr_env.retrieval.factory import make_retriever
    from runs.bench.online import bench

    return bench(shop, make_retriever("bm25", shop, cache_root()), args.student, args.rounds)


def _churn(args: Args, shop: Any) -> dict[str, Any]:
    from runs.bench.churn import ERRORS, check
    from runs.bench.churn import Args as ChurnArgs

    counts = check(ChurnArgs(results=args.results), shop)
    wrong = {name: counts.pop(name) for name in ERRORS}
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
