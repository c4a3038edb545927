"""Build the W&B workspace and report of this project's runs as code, so that every account sees the same pages.

    qr dashboard --entity my-team                     # runs of `qr online --tracker wandb`, project qr-env
    qr dashboard --dry-run --json out/dashboard.json  # what would be built; no account, no network

A workspace is the page of a project's runs; the report is the same in words, for readers. Both name metrics as
`metrics.jsonl` and the README's glossary do. Histograms (histogram/…) get W&B's own panels.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Args:
    """Where the pages are built."""

    entity: str = ""
    """account or team; empty: the default one of the account that is logged in"""
    project: str = "qr-env"
    """project of the runs, as `qr online --tracker wandb` names it"""
    dry_run: bool = False
    """build nothing, only say what would be"""
    json: str | None = None
    """write the specification here as JSON ("-": standard output)"""
