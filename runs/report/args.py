"""Write report.html for a run folder: settings, learning curves, final scores, and thirty example rewrites.

    qr report out/quickstart

The page is one self-contained file; it follows the reader's light or dark color scheme. It is made from those of
`config.json`, `metrics.jsonl`, `serve.json`, `eval.json`, `promotions.jsonl` and `outcomes.jsonl` that the folder
holds, so an unfinished run has a report too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from qr_env.evaluation.regret import WINDOW


@dataclass
class Args:
    """Which run to report on."""

    run: Annotated[Path, tyro.conf.Positional]
    """folder of the run"""
    window: int = WINDOW
    """queries over which the headroom share is measured, in the analysis of a run with --drift (OUT/drift.json)"""
