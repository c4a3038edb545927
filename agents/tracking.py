"""Where metrics go: always `metrics.jsonl` and `samples.jsonl` in the run folder, and Weights & Biases if asked.

Wall-clock times go to `timings.jsonl` instead, so that the metrics of two runs of one seed are equal to the byte.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from qr_env.errors import ConfigError
from qr_env.whole import saving, write_whole

TIMINGS = ("seconds",)  # metrics that are times
SAMPLE_FIELDS = ("update", "query", "rewrite", "reward")


class Tracker(Protocol):
    """A sink for one run's figures."""

    def log(self, metrics: dict[str, Any]) -> None:
        """One line of metrics; `update` is the x axis."""
        ...

    def samples(self, rows: Sequence[dict[str, Any]]) -> None:
        """Sampled rewrites with their reward, fields as in `SAMPLE_FIELDS`."""
        ...

    def close(self) -> None:
        """Flush."""
        ...


class JsonlTracker:
    """Appends to the run folder, after dropping what was written later than the checkpoint that the run goes on from.

    Without a checkpoint everything goes: a run that was killed before its first one begins anew.
    """

    def __init__(self, folder: Path, resume_from: int | None = None) -> None:
        names = ("metrics.jsonl", "samples.jsonl", "timings.jsonl", "promotions.jsonl")
        files = [folder / name for name in names]
        self.metrics_file, self.samples_file, self.timings_file, self.promotions_file = files
        for file in files:
            _drop_after(file, -1 if resume_from is None else resume_from)

    def log(self, metrics: dict[str, Any]) -> None:
        if metrics.get("phase") == "promotion":
            _append(self.promotions_file, [metrics])
            return
        _append(self.metrics_file, [{name: value for name, value in metrics.items() if name not in TIMINGS}])
        if not metrics.keys().isdisjoint(TIMINGS):
            shown = ("update", "episodes", *TIMINGS)
            _append(self.timings_file, [{name: metrics[name] for name in shown if name in metrics}])

    def samples(self, rows: Sequence[dict[str, Any]]) -> None:
        _append(self.samples_file, rows)

    def close(self) -> None:
        pass


class WandbTracker:
    """Curves and a table of sampled rewrites in Weights & Biases; WANDB_MODE=offline needs no account."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ConfigError("--tracker wandb needs Weights & Biases: pip install 'qr-env[wandb]'") from error
        self.wandb = wandb
        self.run = wandb.init(project="qr-env", name=folder.name, dir=str(folder), config=config, resume="allow")
        self.rows: list[list[Any]] = []

    def log(self, metrics: dict[str, Any]) -> None:
        self.run.log(metrics)

    def samples(self, rows: Sequence[dict[str, Any]]) -> None:
        # W&B tables cannot grow in place: the whole table is logged again, so it keeps the newest rows only.
        self.rows = [*self.rows, *([row[name] for name in SAMPLE_FIELDS] for row in rows)][-200:]
        self.run.log({"samples": self.wandb.Table(columns=list(SAMPLE_FIELDS), data=self.rows)})

    def close(self) -> None:
        self.run.finish()


class Trackers:
    """Several trackers as one."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = trackers

    def log(self, metrics: dict[str, Any]) -> None:
        for tracker in self.trackers:
            tracker.log(metrics)

    def samples(self, rows: Sequence[dict[str, Any]]) -> None:
        for tracker in self.trackers:
            tracker.samples(rows)

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()


def make_tracker(kind: str, folder: Path, config: dict[str, Any], resume_from: int | None = None) -> Trackers:
    """`kind` is "none" (files only) or "wandb" (files and Weights & Biases)."""
    trackers: list[Tracker] = [JsonlTracker(folder, resume_from)]
    if kind == "wandb":
        trackers.append(WandbTracker(folder, config))
    elif kind != "none":
        raise ConfigError(f"--tracker {kind!r}: known are none, wandb")
    return Trackers(trackers)


def _append(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    with saving(file), file.open("a", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False, default=float) + "\n" for row in rows)


def _drop_after(file: Path, update: int) -> None:
    """Keep the lines up to `update`; a last line that a kill cut in half goes too."""
    if not file.is_file():
        return
    kept = []
    # Bytes, because half a letter is no UTF-8, and because a query may hold what str.splitlines takes for a line's end.
    for line in file.read_bytes().split(b"\n")[:-1]:
        if json.loads(line)["update"] <= update:
            kept.append(line + b"\n")
    with saving(file):
        write_whole(file, b"".join(kept))
