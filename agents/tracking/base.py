"""Where a run's figures go: always files in its folder, and Weights & Biases, TensorBoard or trackio if asked.

    tracker = make_tracker(("wandb", "tensorboard"), folder, config, titles=shop.titles)
    tracker.log({"update": 1, "reward": 0.1})
    tracker.close()

In the run folder: `metrics.jsonl`, `samples.jsonl`, `promotions.jsonl`. Wall-clock times go to `timings.jsonl` instead,
so that the metrics of two runs of one seed are equal to the byte.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from qr_env.common.atomic_io import atomic_write, saving
from qr_env.common.errors import ConfigError

if TYPE_CHECKING:
    from qr_env.evaluation.result import Evaluation

TIMINGS = ("seconds",)  # metrics that are times
LISTS = ("hits_before", "hits_after")  # of a sample: (product row, level) pairs, best first; level -1 has no verdict
TRACKERS = {
    "wandb": "agents.tracking.wandb_tracker",
    "tensorboard": "agents.tracking.tensorboard_tracker",
    "trackio": "agents.tracking.trackio_tracker",
}


class Tracker(Protocol):
    """A sink for one run's figures."""

    def log(self, metrics: dict[str, Any]) -> None:
        """One line of metrics; `update` is the x axis. "alarms" and the phase "promotion" are events."""
        ...

    def samples(self, rows: Sequence[dict[str, Any]]) -> None:
        """Sampled rewrites: update, query, rewrite, reward, and `LISTS` as [{"title", "level"}, …]."""
        ...

    def histograms(self, update: int, values: Mapping[str, np.ndarray]) -> None:
        """How the figures of single rewrites are spread, for histograms: name → (N,), no NaN."""
        ...

    def evaluation(self, evaluations: Mapping[str, Evaluation]) -> None:
        """The held-out figures of all agents, by slice, when the run is over."""
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

    def histograms(self, update: int, values: Mapping[str, np.ndarray]) -> None:
        pass  # a resumed run could tell them again: they are pictures, not records

    def evaluation(self, evaluations: Mapping[str, Evaluation]) -> None:
        pass  # eval.json has them

    def close(self) -> None:
        pass


class Trackers:
    """Several trackers as one. titles: of the products, for the samples' hits; without them they have row numbers."""

    def __init__(self, trackers: Sequence[Tracker], titles: Sequence[str] = ()) -> None:
        self.trackers, self.titles = trackers, titles

    def log(self, metrics: dict[str, Any]) -> None:
        for tracker in self.trackers:
            tracker.log(metrics)

    def samples(self, rows: Sequence[dict[str, Any]]) -> None:
        """Samples whose `LISTS` are pairs of product row and level."""
        told = [row | {name: self._hits(row[name]) for name in LISTS if name in row} for row in rows]
        for tracker in self.trackers:
            tracker.samples(told)

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
    """The run's files, and the trackers of some `TRACKERS`; "none" adds nothing.

    Args:
        config: the resolved settings. resume_from: update of the checkpoint that the run goes on from.

    Raises:
        ConfigError: an unknown tracker, or one whose package is not installed.
    """
    others = open_trackers(kinds, folder, config, resume_from)  # first: a refusal leaves the files as they are
    return Trackers([JsonlTracker(folder, resume_from), *others], titles)


def open_trackers(
    kinds: str | Sequence[str], folder: Path, config: dict[str, Any], resume_from: int | None = None
) -> list[Tracker]:
    """The trackers beside the run's files, going on with what they know of the run; errors as of `make_tracker`."""
    names = [kinds] if isinstance(kinds, str) else list(dict.fromkeys(kinds))
    for name in names:
        if name not in (*TRACKERS, "none"):
            raise ConfigError(f"--tracker {name!r}: known are {', '.join(TRACKERS)}, none")
    return [
        importlib.import_module(TRACKERS[name]).open_tracker(folder, config, resume_from)
        for name in names
        if name != "none"
    ]


def send_evaluation(
    kinds: str | Sequence[str],
    folder: Path,
    config: dict[str, Any],
    update: int,
    evaluations: Mapping[str, Evaluation],
) -> None:
    """The end of a run of `update` updates, to the trackers beside its files; errors as of `make_tracker`."""
    trackers = Trackers(open_trackers(kinds, folder, config, update))
    trackers.evaluation(evaluations)
    trackers.close()


def figures_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics, without its update."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float | np.number)}
    return {name: float(value) for name, value in numbers.items() if name != "update"}


def sample_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns and cells of a table of samples; hits as one text a list, "E title | I title | …"."""
    columns = ["update", "query", "rewrite", "reward", *LISTS]
    return columns, [
        [*(row[name] for name in columns[:4]), *(_told(row.get(name, ())) for name in LISTS)] for row in rows
    ]


def _told(hits: Sequence[Mapping[str, Any]]) -> str:
    return " | ".join(f"{'?ICSE'[hit['level'] + 1]} {hit['title']}" for hit in hits)


def evaluation_table(evaluations: Mapping[str, Evaluation]) -> tuple[list[str], list[list[Any]]]:
    """Columns and cells: one line for each agent, slice and figure."""
    columns = ["agent", "slice", "figure", "queries", "mean", "identity", "difference", "low", "high"]
    return columns, [
        [agent, part, name, *(figure[column] for column in columns[3:])]
        for agent, evaluation in evaluations.items()
        for part, report in evaluation.summary.items()
        for name, figure in report["metrics"].items()
    ]


def headlines(evaluations: Mapping[str, Evaluation]) -> dict[str, float]:
    """ "test/online/nDCG@10" → its mean, and "…/headroom closed" where there is an oracle; undefined ones left out."""
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
    """Keep the lines up to `update`; a last line that a kill cut in half goes too."""
    if not file.is_file():
        return
    kept = []
    # Bytes, because half a letter is no UTF-8, and because a query may hold what str.splitlines takes for a line's end.
    for line in file.read_bytes().split(b"\n")[:-1]:
        if json.loads(line)["update"] <= update:
            kept.append(line + b"\n")
    with saving(file):
        atomic_write(file, b"".join(kept))
