"""A run in TensorBoard: curves, histograms, samples and events as text, evaluation by slice as a table.

tensorboard --logdir out/quickstart/tensorboard
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.tracking.base import evaluation_table, headline_metrics, numeric_metrics, sample_table
from qr_env.evaluation.result import Evaluation

FOLDER = "tensorboard"


class TensorBoardTracker:
    """Writes event files; TensorBoard hides the events that a resumed run writes again."""

    def __init__(self, folder: Path, config: dict[str, Any], resume_from: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        purge_step = None if resume_from is None else resume_from + 1
        self.writer = SummaryWriter(str(folder / FOLDER), purge_step=purge_step)
        self.last_update = resume_from or 0
        if resume_from is None:
            settings = [[name, str(value)] for name, value in sorted(flatten(config).items())]
            self.writer.add_text("config", markdown_table(["setting", "value"], settings), 0)

    def log(self, metrics: dict[str, Any]) -> None:
        self.last_update = metrics["update"]
        if metrics.get("phase") == "promotion":
            text = f"{metrics['event']}: {metrics['reason']}; serving {metrics['serving']}"
            self.writer.add_text("promotion", text, self.last_update)
            return
        for name, value in numeric_metrics(metrics).items():
            if math.isfinite(value):
                self.writer.add_scalar(name, value, self.last_update)
        for message in metrics.get("alarms", ()):
            self.writer.add_text("alarms", message, self.last_update)

    def samples(self, rows: Sequence[dict[str, Any]]) -> None:
        if rows:
            self.writer.add_text("samples", markdown_table(*sample_table(rows)), rows[-1]["update"])

    def histograms(self, update: int, values: Mapping[str, np.ndarray]) -> None:
        for name, values_N in values.items():
            self.writer.add_histogram(f"histogram/{name}", values_N, update)

    def evaluation(self, evaluations: Mapping[str, Evaluation]) -> None:
        self.writer.add_text("evaluation by slice", markdown_table(*evaluation_table(evaluations)), self.last_update)
        for name, value in headline_metrics(evaluations).items():
            self.writer.add_scalar(name, value, self.last_update)

    def close(self) -> None:
        self.writer.close()


def flatten(config: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """Nested settings as {"outer.inner": value}."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        found |= flatten(value, f"{start}{name}.") if isinstance(value, Mapping) else {f"{start}{name}": value}
    return found


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown, which TensorBoard renders; numbers with four digits, "|" within a cell escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|").replace("\n", " ")


open_tracker = TensorBoardTracker
