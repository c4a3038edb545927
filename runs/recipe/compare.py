"""Pool the scores of all seeds, and compare the students with each other and with the paper's claims.

An interval is a paired bootstrap over queries of the mean over seeds; "sd" is the standard deviation between seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from qr_env.evaluation.bootstrap import interval, resampled_means
from qr_env.evaluation.result import headroom_closed, plain_json
from runs.common.provenance import environment
from runs.recipe.pipeline import SeedRun
from runs.recipe.score import SeedScores
from runs.recipe.spec import Claim, Metrics, Recipe
from runs.recipe.text_scores import text_scores_note

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A paired difference of two agents in one metric."""

    difference: float
    """mean difference; NaN if no query defines the metric for both"""
    low: float
    """lower end of the 95 % interval; NaN if unknown"""
    high: float
    """upper end of the 95 % interval; NaN if unknown"""


@dataclass(frozen=True)
class Cell(Difference):
    """An agent's value of one metric, with its difference to identity."""

    mean: float
    """mean over seeds and queries"""
    sd: float
    """standard deviation of the seeds' means; NaN for one seed"""


@dataclass(frozen=True)
class Verdict(Difference):
    """The result of a claim in this run."""

    claim: Claim
    """the paper's claim"""
    result: str
    """agrees, disagrees, within noise, unknown, or "one seed" for a scalar whose spread between seeds is unknown"""


@dataclass(frozen=True)
class Headroom:
    """Share of the way from identity to the oracle in the headline metric."""

    share: float
    """(agent − identity) / (oracle − identity)"""
    low: float
    """lower end of the 95 % interval"""
    high: float
    """upper end of the 95 % interval"""


ONE_SEED = "one seed"
IDENTITY = "identity"


@dataclass(frozen=True)
class RunInfo:
    """Provenance of a comparison."""

    title: str
    """recipe, shop, search engine and seeds"""
    seeds: tuple[int, ...]
    """seeds that were pooled"""
    minutes: dict[str, list[float]]
    """stage → wall time of each seed, minutes"""
    environment: dict[str, Any]
    """commit, machine and versions"""
    text_scores_note: str = ""
    """which students have no text scores, and why"""


@dataclass(frozen=True)
class Comparison:
    """Metrics of all agents over R seeds and N queries."""

    main: str
    """name of the headline metric"""
    by: str
    """source of the grades, as in `Evaluation.by`"""
    values: dict[str, dict[str, Array]]
    """agent → metric → (R, N)"""
    scalars: dict[str, dict[str, list[float]]]
    """agent → metric → one value a seed: latency, exact match, …"""
    oracle_N: Array | None
    """headline metric of the best known rewrite, (N,); None if the shop knows none"""
    claims: tuple[Claim, ...]
    """the paper's claims"""
    info: RunInfo
    """provenance of the numbers"""
    warning: str = ""
    """what a report says first where the queries were made up; else "" """

    def cell(self, agent: str, metric: str) -> Cell:
        """Mean, spread between seeds, and difference to identity."""
        values_RN = self.values[agent][metric]
        means_R = np.nanmean(values_RN, axis=1) if np.isfinite(values_RN).any() else np.full(len(values_RN), np.nan)
        sd = float(means_R.std(ddof=1)) if len(means_R) > 1 else float("nan")
        return Cell(**asdict(self.difference(agent, IDENTITY, metric)), mean=float(means_R.mean()), sd=sd)

    def difference(self, better: str, than: str, metric: str) -> Difference:
        """Difference of the pooled means, over the queries that define the metric for both agents."""
        gap_N = self._pooled(better, metric) - self._pooled(than, metric)
        low, high = interval(resampled_means(gap_N[:, None])[:, 0])
        return Difference(float(np.nanmean(gap_N)) if np.isfinite(gap_N).any() else np.nan, low, high)

    def _pooled(self, agent: str, metric: str) -> Array:
        """Mean over seeds for each query, (N,); NaN where any seed has none."""
        values_RN = self.values[agent][metric]
        known_N = np.isfinite(values_RN).all(axis=0)
        return np.where(known_N, np.where(known_N, values_RN, 0.0).mean(axis=0), np.nan)

    def headroom(self, agent: str) -> Headroom | None:
        """Share of the headroom that the agent closes; None without an oracle."""
        if self.oracle_N is None:
            return None
        columns_N3 = np.stack(
            [self._pooled(agent, self.main), self._pooled(IDENTITY, self.main), self.oracle_N], axis=1
        )
        low, high = interval(headroom_closed(*resampled_means(columns_N3).T))
        return Headroom(float(headroom_closed(*columns_N3.mean(axis=0))), low, high)

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """The result of each claim in this run."""
        return [self._verdict(claim) for claim in self.claims]

    def _verdict(self, claim: Claim) -> Verdict:
        if claim.metric in self.values[claim.better]:
            found = self.difference(claim.better, claim.than, claim.metric)
            result = direction(found, claim.slack)
        else:
            better_R, than_R = self.scalars[claim.better][claim.metric], self.scalars[claim.than][claim.metric]
            found = seed_difference(better_R, than_R)
            result = direction(found, claim.slack) if len(better_R) > 1 else ONE_SEED
        return Verdict(**asdict(found), claim=claim, result=result)

    def to_json(self) -> Metrics:
        """Everything as JSON values, NaN as null."""
        agents = {
            name: {
                "metrics": {metric: asdict(self.cell(name, metric)) for metric in metrics},
                "headroom": asdict(headroom) if (headroom := self.headroom(name)) else None,
                "scalars": self.scalars.get(name, {}),
            }
            for name, metrics in self.values.items()
        }
        verdicts = [asdict(verdict) for verdict in self.verdicts]
        report: Metrics = {"warning": self.warning} if self.warning else {}
        report |= {"main": self.main, "by": self.by, "agents": agents, "claims": verdicts} | asdict(self.info)
        plain: Metrics = plain_json(report)
        return plain


def direction(found: Difference, slack: float) -> str:
    """Whether an interval, shifted up by `slack`, lies above 0: agrees, disagrees, within noise; unknown for NaN."""
    low, high = found.low + slack, found.high + slack
    if np.isnan(low):
        return "unknown"
    return "agrees" if low > 0 else "disagrees" if high < 0 else "within noise"


def seed_difference(better_R: Sequence[float], than_R: Sequence[float]) -> Difference:
    """Difference of a metric with one value a seed: the range of the paired differences replaces the interval. One seed
    has no range: NaN."""
    gaps_R = np.subtract(better_R, than_R)
    low, high = (gaps_R.min(), gaps_R.max()) if len(gaps_R) > 1 else (np.nan, np.nan)
    return Difference(float(gaps_R.mean()), float(low), float(high))


def pool_seeds(scores: Sequence[SeedScores], recipe: Recipe, info: RunInfo) -> Comparison:
    """Stack the scores of all seeds, which are of the same agents and queries."""
    first = scores[0]
    values = {
        name: {metric: np.stack([seed.values[name][metric] for seed in scores]) for metric in metrics}
        for name, metrics in first.values.items()
    }
    scalars = {
        name: {metric: [seed.scalars[name][metric] for seed in scores] for metric in first.scalars.get(name, {})}
        for name in first.values
    }
    return Comparison(first.main, first.by, values, scalars, first.oracle_N, recipe.claims, info, first.warning)


def run_info(name: str, runs: Sequence[SeedRun], recipe: Recipe) -> RunInfo:
    """Title, seeds, times and environment of the runs of recipe `name`."""
    seeds = [run.context.seed for run in runs]
    minutes = {stage: [round(run.seconds(stage) / 60, 2) for run in runs] for stage in recipe.stages}
    title = f"{name} on {runs[0].context.shop.name}, {recipe.settings.retriever}, seeds {seeds}"
    return RunInfo(title, tuple(seeds), minutes, environment(), text_scores_note(recipe))
