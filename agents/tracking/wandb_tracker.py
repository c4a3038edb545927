"""A run in Weights & Biases: settings, curves, samples with hits and verdicts, histograms, events, alerts, evaluation.

WANDB_MODE=offline needs no account; `wandb sync FOLDER/wandb/offline-run-*` uploads it later. A resumed run and the
evaluation at a run's end continue the same W&B run, whose id is in the run folder.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.tracking.base import evaluation_table, headline_metrics, numeric_metrics, sample_table
from qr_env.common.atomic_io import atomic_write, saving
from qr_env.evaluation.result import Evaluation

if TYPE_CHECKING:  # optional
    import wandb

PROJECT = "qr-env"
ID_FILE = "wandb_id.txt"
TABLE_ROWS = 200  # newest samples in the table
ALERT_EVERY = 600  # seconds between two alerts of one alarm, which is raised at every update while it lasts
EVENT_COLUMNS = ["update", "event", "candidate", "serving", "reason", "pairs", "mean_difference", "low", "high"]


class WandbTracker:
    """Logs to one W&B run."""

    def __init__(self, folder: Path, config: dict[str, Any], resume_from: int | None = None) -> None:
        import wandb

        self.wandb = wandb
        self.run = wandb.init(
            project=PROJECT,
            name=folder.resolve().name,
            dir=str(folder),
            config=config,
            id=run_id(folder),
            resume="allow",
        )
        # Not W&B's own step: it counts calls and cannot go back, and a resumed run repeats updates.
        self.run.define_metric("update")
        self.run.define_metric("*", step_metric="update")
        self.rows: list[dict[str, Any]] = []
        self.events: list[list[Any]] = []
        self.has_new_rows = False  # since the table was last sent

    def log(self, metrics: dict[str, Any]) -> None:
        if metrics.get("phase") == "promotion":
            self._event(metrics)
            return
        self.run.log({"update": metrics["update"], **numeric_metrics(metrics)})
        for message in metrics.get("alarms", ()):
            # The title names the kind of alarm: W&B limits the rate of alerts by title.
            self._alert(f"ALARM: {message.split()[0]}", f"update {metrics['update']}: {message}", "WARN")
        if metrics.get("phase") == "eval":
            self._send_samples(metrics["update"])

    def _event(self, record: Mapping[str, Any]) -> None:
        """Log a decision of the promotion: a row of a table, a point of a curve, and an alert if serving changed."""
        self.events.append([record.get(name) for name in EVENT_COLUMNS])
        curve = {f"promotion/{record['event']}": 1}
        table = self._table(EVENT_COLUMNS, self.events)
        self.run.log({"update": record["update"], "promotion/decisions": table, **curve})
        if record["event"] in ("promoted", "rolled back"):
            level = "INFO" if record["event"] == "promoted" else "WARN"
            text = f"update {record['update']}: {record['reason']}; serving {record['serving']}"
            self._alert(f"{record['event']}: {record.get('candidate', record['serving'])}", text, level)

    def _alert(self, title: str, text: str, level: str) -> None:
        self.run.alert(title=title, text=text, level=level, wait_duration=ALERT_EVERY)

    def samples(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows, self.has_new_rows = [*self.rows, *rows][-TABLE_ROWS:], True

    def _send_samples(self, update: int) -> None:
        """Send the newest rows again, because W&B tables cannot be appended to; at evaluations only."""
        if self.has_new_rows:
            self.run.log({"update": update, "samples": self._table(*sample_table(self.rows))})
            self.has_new_rows = False

    def _table(self, columns: Sequence[str], cells: list[list[Any]]) -> wandb.Table:
        return self.wandb.Table(columns=list(columns), data=cells)

    def histograms(self, update: int, values: Mapping[str, np.ndarray]) -> None:
        histograms = {f"histogram/{name}": self.wandb.Histogram(values_N.tolist()) for name, values_N in values.items()}
        self.run.log({"update": update, **histograms})

    def evaluation(self, evaluations: Mapping[str, Evaluation]) -> None:
        columns, cells = evaluation_table(evaluations)
        cells = [[None if isinstance(cell, float) and cell != cell else cell for cell in row] for row in cells]
        self.run.log({"evaluation by slice": self._table(columns, cells)})
        for name, value in headline_metrics(evaluations).items():
            self.run.summary[name] = value

    def close(self) -> None:
        self._send_samples(self.rows[-1]["update"] if self.rows else 0)
        self.run.finish()


def run_id(folder: Path) -> str:
    """The id of the folder's W&B run; a new one is drawn and saved if there is none."""
    file = folder / ID_FILE
    if not file.is_file():
        with saving(file):
            atomic_write(file, secrets.token_hex(4) + "\n")
    return file.read_text(encoding="utf-8").strip()


open_tracker = WandbTracker
