"""Answer queries over HTTP: a person's override, the table, the rewriter under a deadline, else the original.

    qr serve out/mine                                              # a run folder: the rewriter that it says to serve
    qr serve out/mine --table rewrites.db --rules rules.yaml --log events
    qr serve out/mine --candidate out/next/checkpoints/best --experiment test-7 --log events
    curl -s localhost:8080/rewrite -d '{"query": "navy couch"}'

Whatever fails or is late serves the original with status 200, and is counted. Endpoints: /rewrite, /search, /retrieve,
/ml_inference, /events, /queries, /experiment, /reload, /health, /ready, /metrics. SIGHUP loads table, rules and model
again, SIGTERM stops after the requests under way. E-mail addresses, phone and card numbers are masked and clients are
pseudonyms in everything that is stored or logged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro.conf

from agents.serving.experiment.settings import ExperimentSettings
from runs.common.serving.args import RewriterArgs


@dataclass
class Args(RewriterArgs):
    """Rewriter, table, rules, limits and log of the service."""

    agent: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="AGENT")]
    """run folder, checkpoint, or name of a rewriter"""
    table: str = ""
    """table of qr table build, a file or redis://…; its queries are answered from it"""
    rules: Path | None = None
    """file with the merchandiser's rules, which every answer respects"""
    candidate: str = ""
    """second rewriter, for an A/B test on live traffic (--experiment)"""
    experiment: Path | None = None
    """folder of the A/B test between AGENT and --candidate; its log is in it, instead of --log"""
    log: Path | None = None
    """folder for served queries and events, in the files of User Behavior Insights"""
    retention_days: float = 30.0
    """days after which files of the log are deleted; 0 keeps them"""
    explore: float = 0.0
    """share of the rewriter's answers that are drawn evenly among its candidates; the probability is logged for qr ope.
    Queries of the table are not explored"""
    candidates: int = 4
    """searches among which --explore draws, the query as typed among them"""
    host: str = "127.0.0.1"
    """address to listen on; one that others can reach needs a token"""
    port: int = 8080
    """port; 0 takes a free one, which is printed"""
    token_file: Path | None = None
    """file with the secret that clients must send as "Authorization: Bearer …" (default: $QR_SERVE_TOKEN)"""
    deadline_ms: float = 50.0
    """time for a rewrite; the original is served after it"""
    queue: int = 64
    """queries that wait for the rewriter at most; further ones get the original at once"""
    max_batch: int = 32
    """queries that are rewritten together at most"""
    max_query: int = 300
    """characters of a query that is rewritten; longer ones are served as they are"""
    max_body: int = 1 << 20
    """bytes of a request at most"""
    remember: int = 20_000
    """rewrites that are remembered; 0 remembers none"""
    read_seconds: float = 5.0
    """time in which a client must have sent its request"""
    connections: int = 1000
    """connections at once"""
    test: ExperimentSettings = field(default_factory=ExperimentSettings)
    """stages, shares and risks of the A/B test"""
