"""A run in trackio, a W&B-like dashboard on this machine, without an account: `trackio show` opens it.

Runs are stored in trackio's own folder (TRACKIO_DIR), not in the run folder. Updates that a resumed run repeats are
stored twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.tracking.base import evaluation_table, headline_metrics, numeric_metrics, sample_table
from qr_env.evaluation.result import Evaluation

PROJECT = "qr-env"


class TrackioTracker:
    """One trackio run, named as its folder; `update` is its step."""

    def __init__(self, folder: Path, config: dict[str, Any], resume_from: int | None = None) -> None:
        import trackio

        self.trackio = trackio
        resume = "never" if resume_from is None else "allow"
        self.run = trackio.init(PROJECT, name=folder.resolve().name, config=config, resume=resume, embed=False)
        self.last_update = resume_from or 0

    def log(self, metrics: dict[str, Any]) -> None:
        self.last_update = metrics["update"]
        if metrics.get("phase") == "promotion":
            text = f"update {self.last_update}: {metrics['reason']}; serving {metrics['serving']}"
            level = self.trackio.AlertLevel.WARN if metrics["event"] == "rolled back" else self.trackio.AlertLevel.INFO
            self.run.alert(f"promotion: {metrics['event']}", text, level)
            return
        self.run.log(numeric_metrics(metrics), step=self.last_update)
        for message in metrics.get("alarms", ()):
            self.run.alert("ALARM", f"update {self.last_update}: {message}", self.trackio.AlertLevel.WARN)

    def samples(self, rows: Sequence[dict[str, Any]]) -> None:
        if rows:
            self._table("samples", sample_table(rows), rows[-1]["update"])

    def _table(self, name: str, table: tuple[list[str], list[list[Any]]], update: int) -> None:
        columns, cells = table
        self.run.log({name: self.trackio.Table(columns=columns, data=cells)}, step=update)

    def histograms(self, update: int, values: Mapping[str, np.ndarray]) -> None:
        histograms = {f"histogram/{name}": self.trackio.Histogram(values_N) for name, values_N in values.items()}
        self.run.log(histograms, step=update)

    def evaluation(self, evaluations: Mapping[str, Evaluation]) -> None:
        self._table("evaluation by slice", evaluation_table(evaluations), self.last_update)
        self.run.log(headline_metrics(evaluations), step=self.last_update)

    def close(self) -> None:
        self.run.finish()


open_tracker = TrackioTracker
