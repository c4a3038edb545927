"""Students of a recipe on held-out queries: every figure by query and seed, pooled, and the paper's claims beside them.

An interval is a paired bootstrap over queries of the mean over seeds; "sd" is the deviation between seeds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qr_env.evaluation.bootstrap import interval, resampled_means
from qr_env.evaluation.result import closed, plain_json
from qr_env.evaluation.tables import number
from runs.recipe.text_scores import text_note, text_scored

if TYPE_CHECKING:
    from qr_env.common.protocols import Agent
    from qr_env.evaluation.evaluator import HeldOutEvaluator
    from qr_env.evaluation.result import Evaluation
    from runs.recipe.job import Claim, Recipe
    from runs.recipe.pipeline import SeedRun

Array = npt.NDArray[np.float64]
ORACLE = "oracle"
ONE_SEED = "one seed"  # the verdict on a scalar whose spread between seeds is unknown
# The table's rows, those that the run has.
SHOWN = (
    "nDCG@10", "judge nDCG@10", "R@100", "relevance@10", "increment@100", "hitrate@100", "coverage@100", "diversity@10",
    "click@10", "purchase@10", "zero results", "judged@10", "better", "worse", "kept", "words ratio",
)  # fmt: skip


ON_TERMINAL = (
    "headroom closed", "nDCG@10", "judge nDCG@10", "relevance@10", "increment@100", "hitrate@100", "diversity@10",
    "purchase@10", "worse", "words ratio", "ROUGE-L", "ms/query",
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """values: agent → figure → (S seeds, N queries). scalars: agent → figure → a value a seed (latency, exact match …).
    oracle_N: headline figure of the ceiling, or None."""

    main: str
    by: str
    values: dict[str, dict[str, Array]]
    scalars: dict[str, dict[str, list[float]]]
    oracle_N: Array | None
    claims: tuple[Claim, ...]
    about: dict[str, Any]

    @classmethod
    def of(cls, roads: Sequence[SeedRun], recipe: Recipe) -> Comparison:
        """Score every seed, those of an earlier start again, and pool."""
        scored = [score(road, recipe) for road in roads]
        names = list(scored[0].values)
        values = {
            name: {key: np.stack([part.values[name][key] for part in scored]) for key in scored[0].values[name]}
            for name in names
        }
        scalars = {
            name: {key: [part.scalars[name][key] for part in scored] for key in scored[0].scalars.get(name, {})}
            for name in names
        }
        first = scored[0]
        return cls(first.main, first.by, values, scalars, first.oracle_N, recipe.claims, _about(roads, recipe))

    def cell(self, agent: str, figure: str) -> dict[str, float]:
        """Mean over seeds and queries, deviation between seeds, interval of the difference to identity."""
        seeds_S_N = self.values[agent][figure]
        difference = self.difference(agent, "identity", figure)
        means_S = np.nanmean(seeds_S_N, axis=1) if np.isfinite(seeds_S_N).any() else np.full(len(seeds_S_N), np.nan)
        spread = float(means_S.std(ddof=1)) if len(means_S) > 1 else float("nan")
        return {"mean": float(means_S.mean()), "sd": spread} | difference

    def difference(self, better: str, than: str, figure: str) -> dict[str, float]:
        """`difference`, `low` and `high` of the pooled means, over the queries that define the figure for both."""
        sides = [self._pooled(name, figure) for name in (better, than)]
        gap_N = sides[0] - sides[1]
        low, high = interval(resampled_means(gap_N[:, None])[:, 0])
        return {
            "difference": float(np.nanmean(gap_N)) if np.isfinite(gap_N).any() else np.nan,
            "low": low,
            "high": high,
        }

    def _pooled(self, agent: str, figure: str) -> Array:
        """Mean over seeds, a query."""
        seeds_S_N = self.values[agent][figure]
        known_N = np.isfinite(seeds_S_N).all(axis=0)
        return np.where(known_N, np.where(known_N, seeds_S_N, 0.0).mean(axis=0), np.nan)

    def headroom(self, agent: str) -> dict[str, float] | None:
        """Share of the way from identity to the oracle, with its interval."""
        if self.oracle_N is None:
            return None
        columns = np.stack([self._pooled(agent, self.main), self._pooled("identity", self.main), self.oracle_N], axis=1)
        low, high = interval(closed(*resampled_means(columns).T))
        return {"share": float(closed(*columns.mean(axis=0))), "low": low, "high": high}

    @cached_property
    def verdicts(self) -> list[dict[str, Any]]:
        """Each claim with our difference and whether it goes the paper's way."""
        return [self._verdict(claim) for claim in self.claims]

    def _verdict(self, claim: Claim) -> dict[str, Any]:
        scalar = claim.figure not in self.values[claim.better]
        if scalar:
            ours = _seeds_apart(self.scalars[claim.better][claim.figure], self.scalars[claim.than][claim.figure])
        else:
            ours = self.difference(claim.better, claim.than, claim.figure)
        says = _says(ours["low"] + claim.slack, ours["high"] + claim.slack)
        if scalar and len(self.scalars[claim.better][claim.figure]) < 2:
            says = ONE_SEED
        return asdict(claim) | ours | {"ours": says}

    def to_json(self) -> dict[str, Any]:
        """Everything, NaN as null."""
        agents = {
            name: {
                "figures": {key: self.cell(name, key) for key in figures},
                "headroom": self.headroom(name),
                "scalars": self.scalars.get(name, {}),
            }
            for name, figures in self.values.items()
        }
        report = {"main": self.main, "by": self.by, "agents": agents, "claims": self.verdicts} | self.about
        plain: dict[str, Any] = plain_json(report)
        return plain

    def rows(self) -> Iterator[tuple[str, list[str]]]:
        """(figure, a text an agent) for the tables."""
        first = next(iter(self.values.values()))
        if self.oracle_N is not None:
            yield "headroom closed", [_room_text(self.headroom(name)) for name in self.values]
        for key in SHOWN:
            if key in first and np.isfinite(first[key]).any():
                yield key, [self._text(name, key) for name in self.values]
        for key in dict.fromkeys(key for part in self.scalars.values() for key in part):
            yield key, [_mean_text(part.get(key, [])) for part in (self.scalars.get(name, {}) for name in self.values)]

    def _text(self, agent: str, figure: str) -> str:
        cell = self.cell(agent, figure)
        spread = f" ±{cell['sd']:.3f}" if cell["sd"] > 5e-4 else ""
        away = f" [{cell['low']:+.3f} {cell['high']:+.3f}]" if figure == self.main and cell["difference"] else ""
        return number(cell["mean"], figure) + spread + away

    def show(self) -> None:
        """Table and claims on the terminal."""
        from rich.console import Console
        from rich.table import Table

        caption = f"Graded by {self.by}; in brackets the 95 % interval of the difference to identity."
        table = Table(title=self.about["title"], caption=caption, title_justify="left", caption_justify="left")
        rows = [(key, texts) for key, texts in self.rows() if key in ON_TERMINAL]
        for heading in ("", *(key for key, _ in rows)):
            table.add_column(heading, justify="right" if heading else "left")
        for at, name in enumerate(self.values):
            table.add_row(name, *(texts[at] for _, texts in rows))
        console = Console(width=None if sys.stdout.isatty() else 180, highlight=False)
        console.print(table)
        if note := self.about.get("text scores"):
            console.print(note, markup=False, soft_wrap=True)
        for line in map(verdict_text, self.verdicts):
            console.print(line, markup=False, soft_wrap=True)


def _says(low: float, high: float) -> str:
    """Of an interval that is to lie above 0; NaN is an interval that nobody knows."""
    if np.isnan(low):
        return "unknown"
    return "agrees" if low > 0 else "disagrees" if high < 0 else "within noise"


def interval_text(verdict: Mapping[str, Any], between: str) -> str:
    """Both ends; a dash where they are unknown."""
    low, high = verdict["low"], verdict["high"]
    return "–" if np.isnan(low) else f"{low:+.3f}{between}{high:+.3f}"


def verdict_text(verdict: Mapping[str, Any]) -> str:
    """A claim in a line."""
    ours = f"{verdict['difference']:+.3f} [{interval_text(verdict, ' ')}]"
    paper = f"; paper: {verdict['paper']}" if verdict["paper"] else ""
    who = f"{verdict['better']} − {verdict['than']}, {verdict['figure']}"
    return f"{verdict['what']} ({who}): {ours}, {verdict['ours']}{paper}"


def _room_text(room: Mapping[str, float] | None) -> str:
    """In per cent, with its interval."""
    return f"{100 * room['share']:.1f} [{100 * room['low']:.1f} {100 * room['high']:.1f}]" if room else "–"


def _mean_text(values: Sequence[float]) -> str:
    return number(float(np.mean(values))) if values else "–"


def _seeds_apart(better: Sequence[float], than: Sequence[float]) -> dict[str, float]:
    """A figure that has one value a seed: the range of the paired differences stands for the interval; NaN below two
    seeds, which have no range."""
    gaps = np.subtract(better, than)
    low, high = (gaps.min(), gaps.max()) if len(gaps) > 1 else (np.nan, np.nan)
    return {"difference": float(gaps.mean()), "low": float(low), "high": float(high)}


def _about(roads: Sequence[SeedRun], recipe: Recipe) -> dict[str, Any]:
    from runs.common.provenance import environment

    road, seeds = roads[0], [road.seed for road in roads]
    minutes = {name: [round(road.seconds(name) / 60, 2) for road in roads] for name in road.stages}
    title = f"{Path(road.args.recipe).stem} on {road.shop.name}, {road.settings.retriever}, seeds {seeds}"
    about = {"title": title, "seeds": seeds, "minutes": minutes, "environment": environment()}
    return about | {"text scores": text_note(recipe)}


@dataclass(frozen=True)
class Scored:
    """One seed: agent → figure → (N,), and agent → figure → value."""

    main: str
    by: str
    values: dict[str, dict[str, Array]]
    scalars: dict[str, dict[str, float]]
    oracle_N: Array | None


def score(road: SeedRun, recipe: Recipe) -> Scored:
    """Every agent on the test queries; also writes this seed's `eval.json` and `report.html`, rewrites to read."""
    from tqdm import tqdm

    from runs.report.job import write_report
    from runs.report.run_files import write_eval

    exam = _exam(road)
    agents = dict(_agents(road, recipe, exam))
    timed: dict[str, float] = {}
    evaluations = {}
    for name, agent in tqdm(agents.items(), desc="evaluate", unit="agent"):
        started = time.perf_counter()
        agent.rewrite(exam.texts[:256])
        timed[name] = 1000 * (time.perf_counter() - started) / min(len(exam.texts), 256)
        evaluations[name] = exam.evaluate(agent)
    write_eval(road.folder, evaluations, road.shop, agent=recipe.compare[-1], seed=road.seed, evaluator=exam)
    write_report(road.folder)
    scalars = {name: {"ms/query": value} for name, value in timed.items()}
    for name, texts in _texts(road, recipe).items():
        scalars[name] |= texts
    first = next(iter(evaluations.values()))
    values = {name: e.values | _engagement(road, e) for name, e in evaluations.items()}
    return Scored(first.main, first.by, values, scalars, exam.oracle.get("replace"))


def _engagement(road: SeedRun, evaluation: Evaluation) -> dict[str, Array]:
    """What the model shopper does with the first ten products: chance of a click, a cart, a purchase; NaN ungraded."""
    from judges.shoppers.model import ModelShopper
    from qr_env.common.types import Grades
    from qr_env.evaluation.scorers import ONE_HOT

    grades = Grades(ONE_HOT[evaluation.levels_after.astype(np.int64) + 1])
    some_N3 = ModelShopper(road.shop).engage(evaluation.queries, evaluation.after.rows_NK, grades).some_N3
    return dict(zip(("click@10", "cart@10", "purchase@10"), some_N3.T.astype(np.float64), strict=True))


def _exam(road: SeedRun) -> HeldOutEvaluator:
    """On the test split by labels, as `qr online` reports."""
    world = road.world
    split = "test" if road.shop.split("test") else "dev"
    return world.exam(split, world.report_judge(split), road.args.limit)


def _agents(road: SeedRun, recipe: Recipe, exam: HeldOutEvaluator) -> Iterator[tuple[str, Agent]]:
    from agents.factory import make_agent
    from runs.evaluate import job as evaluate
    from runs.evaluate.job import agent_options

    options = agent_options(evaluate.Args(combine=road.settings.combine, weight=road.settings.weight), road.shop, exam)
    for name in dict.fromkeys(["identity", *recipe.baselines]):
        yield name, make_agent(name, options)
    for name in recipe.compare:
        yield name, road.student(name)


def _texts(road: SeedRun, recipe: Recipe) -> dict[str, dict[str, float]]:
    """Exact match, ROUGE-L and cross-entropy on held-out pairs, of the compared students to whom these are new."""
    if not recipe.held_out:
        return {}
    from agents.supervised.text_scores import text_scores

    held_out = [e for e in road.examples(recipe.held_out) if e.held_out and e.task == "rewrite" and not e.context]
    unseen = [name for name in recipe.compare if text_scored(recipe.stages, name)]
    return {name: text_scores(road.student(name), held_out) for name in unseen} if held_out else {}
