"""Trackers of a run: always the files of its folder, and Weights & Biases, TensorBoard or trackio if requested.

    tracker = make_tracker(("wandb", "tensorboard"), folder, config, titles=shop.titles)
    tracker.log({"update": 1, "reward": 0.1})
    tracker.close()

In the run folder: `metrics.jsonl`, `samples.jsonl`, `promotions.jsonl`. Wall-clock times are in `timings.jsonl`, so
that the metrics of two runs with the same seed are equal to the byte.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from qr_env.common.atomic_io import atomic_write, saving
from qr_env.common.errors import ConfigError
from qr_env.common.packages import require
from qr_env.common.privacy import mask_query_texts
from qr_env.evaluation.result import Evaluation

TIMINGS = ("seconds",)  # metrics that are wall-clock times
HIT_LISTS = ("hits_before", "hits_after")  # of a sample: (product row, level) pairs, best first; level -1: no verdict
TRACKERS = {
    "wandb": "agents.tracking.wandb_tracker",
    "tensorboard": "agents.tracking.tensorboard_tracker",
    "trackio": "agents.tracking.trackio_tracker",
}
NEEDED = {"wandb": ("wandb",), "tensorboard": ("tensorboard", "torch"), "trackio": ("trackio",)}  # packages of each


class Tracker(Protocol):
    """Receives the metrics, samples and evaluation of one run."""

    def log(self, metrics: dict[str, Any]) -> None:
        """Log metrics at `metrics["update"]`; "alarms" (a list) and lines of the phase "promotion" are events."""
        ...

    def samples(self, rows: Sequence[dict[str, Any]]) -> None:
        """Log sampled rewrites: update, query, rewrite, reward, and `HIT_LISTS` as [{"title", "level"}, …]."""
        ...

    def histograms(self, update: int, values: Mapping[str, np.ndarray]) -> None:
        """Log the distribution of values of single rewrites: name → (N,), without NaN."""
        ...

    def evaluation(self, evaluations: Mapping[str, Evaluation]) -> None:
        """Log the held-out metrics of all agents, by slice, at the end of the run."""
        ...

    def close(self) -> None:
        """Send what is pending and close."""
        ...


class JsonlTracker:
    """Appends to the files of the run folder.

    Lines after the checkpoint that the run resumes from are deleted first; without a checkpoint, all lines are: a run
    that was killed before its first checkpoint starts again.
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
            names = ("update", "episodes", *TIMINGS)
            _append(self.timings_file, [{name: metrics[name] for name in names if name in metrics}])

    def samples(self, rows: Sequence[dict[str, Any]]) -> None:
        _append(self.samples_file, rows)

    def histograms(self, update: int, values: Mapping[str, np.ndarray]) -> None:
        pass  # charts for a tracker; no file of the run folder holds them

    def evaluation(self, evaluations: Mapping[str, Evaluation]) -> None:
        pass  # eval.json holds them

    def close(self) -> None:
        pass


class Trackers:
    """Several trackers as one; `titles` are the products', for the hits of samples (without them: row numbers)."""

    def __init__(self, trackers: Sequence[Tracker], titles: Sequence[str] = ()) -> None:
        self.trackers, self.titles = trackers, titles

    def log(self, metrics: dict[str, Any]) -> None:
        for tracker in self.trackers:
            tracker.log(metrics)

    def samples(self, rows: Sequence[dict[str, Any]]) -> None:
        """Log samples whose `HIT_LISTS` are (product row, level) pairs. Personal data in queries is masked."""
        masked = [mask_query_texts(row) for row in rows]
        with_titles = [row | {name: self._hits(row[name]) for name in HIT_LISTS if name in row} for row in masked]
        for tracker in self.trackers:
            tracker.samples(with_titles)

    def _hits(self, pairs: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        titles = self.titles
        return [{"title": titles[row] if titles else f"product {row}", "level": level} for row, level in pairs]

    def histograms(self, update: int, values: Mapping[str, np.ndarray]) -> None:
        known = {name: values_N[~np.isnan(values_N)] for name, values_N in values.items()}
        for tracker in self.trackers:
            tracker.histograms(update, {name: values_N for name, values_N in known.items() if len(values_N)})

    def evaluation(self, evaluations: Mapping[str, Evaluation]) -> None:
        for tracker in self.trackers:
            tracker.evaluation(evaluations)

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()


def make_tracker(
    kinds: str | Sequence[str],
    folder: Path,
    config: dict[str, Any],
    resume_from: int | None = None,
    titles: Sequence[str] = (),
) -> Trackers:
    """The files of the run folder, and the trackers of some names of `TRACKERS`; "none" adds nothing.

    Args:
        kinds: one name or several.
        folder: the run folder.
        config: the resolved settings.
        resume_from: update of the checkpoint that the run resumes from; None for a new run.
        titles: product titles, for the hits of samples.

    Raises:
        ConfigError: an unknown tracker, or one whose package is not installed.
    """
    others = open_trackers(kinds, folder, config, resume_from)  # first, so that an error leaves the files unchanged
    return Trackers([JsonlTracker(folder, resume_from), *others], titles)


def open_trackers(
    kinds: str | Sequence[str], folder: Path, config: dict[str, Any], resume_from: int | None = None
) -> list[Tracker]:
    """The trackers without the run folder's files, resuming the run that they have; errors as of `make_tracker`."""
    return [
        importlib.import_module(TRACKERS[name]).open_tracker(folder, config, resume_from)
        for name in checked_trackers(kinds)
    ]


def checked_trackers(kinds: str | Sequence[str]) -> list[str]:
    """Each of these trackers once, without "none"; opens none of them.

    Raises:
        ConfigError: an unknown tracker, or one whose package is not installed.
    """
    names = [kinds] if isinstance(kinds, str) else list(dict.fromkeys(kinds))
    for name in names:
        if name not in (*TRACKERS, "none"):
            raise ConfigError(f"tracker={name!r}: known are {', '.join(TRACKERS)}, none")
        require(*NEEDED.get(name, ()), what=f"tracker={name!r}")
    return [name for name in names if name != "none"]


def send_evaluation(
    kinds: str | Sequence[str],
    folder: Path,
    config: dict[str, Any],
    update: int,
    evaluations: Mapping[str, Evaluation],
) -> None:
    """Log the evaluation at the end of a run of `update` updates to its trackers; errors as of `make_tracker`."""
    trackers = Trackers(open_trackers(kinds, folder, config, update))
    trackers.evaluation(evaluations)
    trackers.close()


def numeric_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics, without `update`."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float | np.number)}
    return {name: float(value) for name, value in numbers.items() if name != "update"}


def sample_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns and cells of a table of samples; a list of hits is one text, "E title | I title | …"."""
    columns = ["update", "query", "rewrite", "reward", *HIT_LISTS]
    return columns, [
        [*(row[name] for name in columns[:4]), *(_hits_text(row.get(name, ())) for name in HIT_LISTS)] for row in rows
    ]


def _hits_text(hits: Sequence[Mapping[str, Any]]) -> str:
    return " | ".join(f"{'?ICSE'[hit['level'] + 1]} {hit['title']}" for hit in hits)


def evaluation_table(evaluations: Mapping[str, Evaluation]) -> tuple[list[str], list[list[Any]]]:
    """Columns and cells, a row for each agent, slice and metric."""
    columns = ["agent", "slice", "metric", "queries", "mean", "identity", "difference", "low", "high"]
    return columns, [
        [agent, part, name, *(values[column] for column in columns[3:])]
        for agent, evaluation in evaluations.items()
        for part, report in evaluation.summary.items()
        for name, values in report["metrics"].items()
    ]


def headline_metrics(evaluations: Mapping[str, Evaluation]) -> dict[str, float]:
    """The main metric's mean as "test/online/nDCG@10", and "…/headroom closed" where there is an oracle; no NaN."""
    found: dict[str, float] = {}
    for agent, evaluation in evaluations.items():
        report, start = evaluation.summary["all"], f"{evaluation.split}/{agent}"
        found[f"{start}/{evaluation.main}"] = float(report["metrics"][evaluation.main]["mean"])
        if report["headroom"]:
            found[f"{start}/headroom closed"] = float(report["headroom"]["share"])
    return {name: value for name, value in found.items() if value == value}


def _append(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    with saving(file), file.open("a", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False, default=float) + "\n" for row in rows)


def _drop_after(file: Path, update: int) -> None:
    """Delete the lines after `update`, and a last line that a kill truncated."""
    if not file.is_file():
        return
    kept = []
    # As bytes: a truncated character is invalid UTF-8, and str.splitlines also splits at characters inside a query.
    for line in file.read_bytes().split(b"\n")[:-1]:
        if json.loads(line)["update"] <= update:
            kept.append(line + b"\n")
    with saving(file):
        atomic_write(file, b"".join(kept))
