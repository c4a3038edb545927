"""What a judge's quality buys: agreement of each judge with the truth, and what a student gained that it rewarded.

    curve = judge_curve(recipe.curve, runs, comparison)
    curve.arms["GRPO alone"][0].gain        # of the judge with the smallest κ

The gain is that of online learning alone: figure of the online stage minus that of the stage it starts from, both
graded by the truth on test queries. Where the shop knows the best rewrite, it is a share of the headroom, (nDCG − nDCG
of identity) / (nDCG of the oracle − nDCG of identity); elsewhere a difference of the headline metric.

A judge's κ, quadratic κ and AUC (`judges/validation/agreement.py`) are over the first ten products that the search
finds for up to 1,000 dev queries as typed. They are means over the seeds: a degraded judge has other errors with each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from judges.factory import judge_kind, open_judge
from judges.validation.agreement import agreement, resample_weights
from judges.validation.samples import grade_sample, retrieved_sample
from qr_env.evaluation.bootstrap import interval, resampled_means
from runs.online.setup import judge_options
from runs.recipe.compare import IDENTITY, Comparison
from runs.recipe.pipeline import SeedRun
from runs.recipe.spec import Curve, Metrics, OnlineStage

Array = npt.NDArray[np.float64]
SPLIT = "dev"  # its queries' results show how good a judge is


@dataclass(frozen=True)
class Quality:
    """Agreement of a judge with the truth."""

    kappa: float
    """Cohen's κ, nominal"""
    quadratic_kappa: float
    """Cohen's κ with quadratic weights"""
    auc: float
    """probability that a Substitute or Exact has a higher expected gain than another product"""


@dataclass(frozen=True)
class Gain:
    """What the online stage adds to the stage that it starts from."""

    mean: float
    """over seeds and queries"""
    low: float
    """lower end of the 95 % interval, a paired bootstrap over queries of the mean over seeds"""
    high: float
    """upper end of the interval"""
    of_seeds: tuple[float, ...]
    """the gain with each seed"""


@dataclass(frozen=True)
class Point:
    """One judge in one arm."""

    stage: str
    """name of the online stage"""
    judge: str
    """name of its judge, as in the recipe"""
    degraded: bool
    """whether the judge is the truth with errors, a point of the curve"""
    quality: Quality
    """of the judge"""
    gain: Gain
    """of the stage"""


@dataclass(frozen=True)
class JudgeCurve:
    """All points."""

    unit: str
    """"headroom" or the headline metric"""
    arms: dict[str, list[Point]]
    """name → points by rising κ"""

    def to_json(self) -> Metrics:
        """Everything as JSON values."""
        return asdict(self)


def judge_curve(curve: Curve, runs: Sequence[SeedRun], comparison: Comparison) -> JudgeCurve:
    """Measure every judge of the curve with every seed, and the gain of every stage."""
    stages = {name: stage_of(runs[0], name) for names in curve.arms.values() for name in names}
    judges = list(dict.fromkeys(stage.judge for stage in stages.values()))
    qualities = {judge: judge_quality(judge, runs) for judge in tqdm(judges, desc="judges", unit="judge")}
    arms = {
        arm: sorted(
            (
                Point(
                    name,
                    stages[name].judge or runs[0].context.judge_spec(),
                    judge_kind(stages[name].judge) == "degraded",
                    qualities[stages[name].judge],
                    gain(comparison, name, stages[name].start),
                )
                for name in names
            ),
            key=point_kappa,
        )
        for arm, names in curve.arms.items()
    }
    return JudgeCurve(comparison.main if comparison.oracle_N is None else "headroom", arms)


def point_kappa(point: Point) -> float:
    """The judge's κ, by which points are ordered."""
    return point.quality.kappa


def stage_of(run: SeedRun, name: str) -> OnlineStage:
    """The online stage of this name; `runs/recipe/load.py` has checked that it is one."""
    stage = run.stages[name]
    assert isinstance(stage, OnlineStage)
    return stage


def judge_quality(judge: str, runs: Sequence[SeedRun]) -> Quality:
    """Agreement of a judge, by its name in the recipe, on retrieved pairs: the mean over seeds."""
    found = [seed_quality(judge, run) for run in runs]
    return Quality(*(fmean(values) for values in zip(*(asdict(one).values() for one in found), strict=True)))


def seed_quality(judge: str, run: SeedRun) -> Quality:
    """Agreement of the judge of one seed."""
    context = run.context
    args = context.online_args(context.folder, judge)
    opened = open_judge(args.judge, context.shop, judge_options(args))
    sample = retrieved_sample(context.shop, SPLIT, context.setup.retriever)
    probs_PK4 = grade_sample(opened, sample.queries, sample.rows_PK).probs_PK4
    graded_PK = sample.levels_PK >= 0
    figures = agreement(
        sample.levels_PK[graded_PK].astype(np.int64),
        probs_PK4[graded_PK],
        np.nonzero(graded_PK)[0],
        resample_weights(len(sample.queries), resamples=1),
    )
    return Quality(figures["kappa"].value, figures["kappa quadratic"].value, figures["auc"].value)


def gain(comparison: Comparison, stage: str, start: str) -> Gain:
    """The gain of a stage over its start, as the module docstring defines it."""
    main = comparison.main
    gap_RN = comparison.values[stage][main] - comparison.values[start][main]
    room_N = np.ones(gap_RN.shape[1])
    if comparison.oracle_N is not None:
        room_N = comparison.oracle_N - comparison.values[IDENTITY][main][0]
    of_seeds = tuple(float(np.nanmean(gap_N) / room_N.mean()) for gap_N in gap_RN)
    resampled_R2 = resampled_means(np.stack([gap_RN.mean(axis=0), room_N], axis=1))
    low, high = interval(resampled_R2[:, 0] / resampled_R2[:, 1])
    return Gain(fmean(of_seeds), low, high, of_seeds)


def pays_from(points: Sequence[Point]) -> float:
    """The smallest κ of a degraded judge from which on every gain's interval lies above 0; NaN where there is none."""
    found = float("nan")
    for point in reversed([point for point in points if point.degraded]):
        if not point.gain.low > 0:
            break
        found = point.quality.kappa
    return found
