"""Simulated shoppers: sessions of several queries, baskets, users who come back; what each rewriter sells them.

    qr shoppers --agent identity suggest out/mine/checkpoints/best    # GMV, transactions, UCVR … of each
    qr shoppers my_shop --agent identity suggest --judge blend        # a judge's grades decide what shoppers like
    qr shoppers my_shop --url http://127.0.0.1:8080 --users 500       # visit a running qr serve, with events
    qr shoppers --agent suggest --out events                          # write queries and events as UBI files

Every rewriter meets the same users with the same needs, tastes and luck. What a shopper does with a list follows from
grades, prices and ranks (judges/shoppers/model.py); needs are the queries of --split by their frequency. The constants
are in judges/shoppers/sessions/settings.py; none is fitted to a shop, so read differences, not levels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro.conf

from judges.shoppers.sessions.settings import SessionSettings
from runs.common.judge_server import JudgeServerArgs
from runs.common.reading import ReadArgs


@dataclass
class Args(JudgeServerArgs, ReadArgs):
    """Shop, rewriters or service, and shoppers."""

    shop: Annotated[str, tyro.conf.Positional] = "generated"
    """generated, icecat, esci, wands, or the path of a folder or products file"""
    agent: tuple[str, ...] = ("identity", "suggest")
    """rewriters to compare, the first is the baseline: run folders, checkpoints, or names of qr evaluate --agent"""
    url: str = ""
    """base URL of a running qr serve, which is visited instead"""
    token: str = ""
    """secret of that service (default: $QR_SERVE_TOKEN)"""
    explore: float = 0.0
    """share of the answers that are drawn among a rewriter's candidates, with known probabilities, for qr ope"""
    users: int = 1_000
    """users, each with a profile and a rate of visits"""
    days: int = 7
    """days of visits"""
    split: Literal["train", "dev", "test"] = "test"
    """split of the queries that shoppers type"""
    judge: str = "auto"
    """whose grades decide what shoppers like; auto: labels where the shop knows every grade, else blend"""
    retriever: str = ""
    """search engine: bm25[:SETTINGS], dense, hybrid (default: the rewriters', else bm25)"""
    click_model: Literal["dbn", "cascade", "position"] = "dbn"
    """which products of a list are looked at (judges/shoppers/click_models.py)"""
    out: Path | None = None
    """folder for the visits as UBI files, those of the last rewriter, and for the figures, shoppers.json; in a run
    folder, qr report shows them"""
    concurrency: int = 16
    """requests to the service at once"""
    rps: float = 0.0
    """requests to the service a second at most; 0: as fast as it answers"""
    seed: int = 0
    """of users, needs and luck"""
    json: str | None = None
    """write the figures here as JSON ("-": standard output)"""
    cache: str | None = None
    """folder that keeps indexes, vectors and suggestions between runs (default: $QR_CACHE, else ~/.cache/qr-env)"""
    sessions: SessionSettings = field(default_factory=SessionSettings)
    """Constants of the sessions."""
