"""Write report.html for a run folder: what was run, how it learned, how it scored, and thirty rewrites to read.

    qr report out/quickstart

One file, nothing loaded from anywhere; light or dark as the reader's system is. It reads what the folder has of
`config.json`, `metrics.jsonl` and `eval.json`, so a run that is still going has a report too.

`eval.json` is written by `write_eval`:

    {"agents": {"identity": {"main": "nDCG@10", "by": "labels", "summary": {…}, …}, "spell": {…}, …},
     "agent": "final",                                     # whose rewrites the examples are
     "examples": {"best": [{"query": …, "rewrite": …, "kept": false, "before": 0.1, "after": 0.9, "frequency": 12.0,
                            "hits_before": [{"title": …, "level": 3}, …], "hits_after": […],
                            "words": [{"word": …, "did": "added", "worth": 0.3}, …]}, …],
                  "typical": […], "worst": […]}}

An agent's record is `Evaluation.to_json()`; a level is 3 Exact … 0 Irrelevant, -1 without a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass
class Args:
    """Which run to report on."""

    run: Annotated[Path, tyro.conf.Positional]
    """the run's folder"""
