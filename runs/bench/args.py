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

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro


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
