"""Build the W&B workspace and the W&B report of this project's runs, the same pages for every account.

    qr dashboard --entity my-team                     # runs of `qr online --tracker wandb`, project qr-env
    qr dashboard --dry-run --json out/dashboard.json  # what would be built; no account, no network

A workspace is the page of a project's runs; the report shows the same panels with explanations. Metrics have the names
of `metrics.jsonl` and of the README's glossary. Histograms (histogram/…) get W&B's default panels.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Args:
    """Where the pages are built."""

    entity: str = ""
    """account or team; empty: the default one of the logged-in account"""
    project: str = "qr-env"
    """project of the runs, as `qr online --tracker wandb` names it"""
    dry_run: bool = False
    """build nothing; print how many sections and panels would be built"""
    json: str | None = None
    """write the specification here as JSON ("-": standard output)"""
