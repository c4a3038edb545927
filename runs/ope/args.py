"""Off-policy evaluation: what a rewriter would have earned, from the log of another one that served.

    qr serve out/mine --log events --explore 0.1 …                      # logs probabilities; or, simulated:
    qr shoppers --agent suggest --explore 0.3 --out events
    qr ope events --agent identity suggest out/next/checkpoints/best    # value of each, with intervals

The log is a folder of User Behavior Insights files with the probability of every served rewrite (qr_propensity). A
candidate of which the log says too little is refused. Estimators: IPS, SNIPS, doubly robust
(agents/serving/off_policy/estimators.py has the formulas and papers).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro.conf

from agents.serving.off_policy.evaluation import OffPolicySettings
from runs.common.judge_server import JudgeServerArgs
from runs.common.serving.args import RewriterArgs


@dataclass
class Args(JudgeServerArgs, RewriterArgs):
    """Log, candidates and estimators."""

    log: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="LOG")]
    """folder with ubi_queries*.ndjson and ubi_events*.ndjson"""
    agent: tuple[str, ...] = ("identity", "suggest")
    """candidates: run folders, checkpoints, or names of qr evaluate --agent"""
    reward: tuple[Literal["click", "cart", "purchase", "revenue"], ...] = ("click", "purchase")
    """what counts as earned by a search, one table for each"""
    estimator: tuple[Literal["ips", "snips", "dr"], ...] = ("ips", "snips", "dr")
    """estimators"""
    model: Literal["fitted", "simulator"] = "fitted"
    """model of the reward in dr: means of the log, cross-fitted, or the simulated shopper on engine and judge"""
    judge: str = "auto"
    """grades of the simulator; auto: labels where the shop knows every grade, else blend"""
    json: str | None = None
    """write the figures here as JSON ("-": standard output)"""
    limits: OffPolicySettings = field(default_factory=OffPolicySettings)
    """When weights are clipped, and when a candidate is refused."""
