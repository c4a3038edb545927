"""`qr bench experiment`: A/B tests on simulated sessions, each until it is decided; settings: `runs/bench/args.py`.

Each run is `agents.serving.experiment.controller.Controller`, as the service runs it, fed with sessions in batches: the
assignment at the stage's share, and outcomes drawn for the variant. A session buys with the given conversion (times the
candidate's effect), for a log-normal amount; clicks are Poisson; a query finds nothing with probability .03.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest
from tqdm import tqdm

from agents.serving.experiment.controller import Controller, SessionOutcomes
from agents.serving.experiment.settings import PROMOTED, ROLLED_BACK, ExperimentSettings
from runs.bench.args import ExperimentArgs
from runs.bench.output import named_values, publish

BATCH = 250  # sessions between two looks
KINDS = {"equal": 1.0, "better": 1.1, "worse": 0.9}  # purchases of the candidate, times the baseline's
SPEND = (3.5, 1.0)  # mean and deviation of the logarithm of a basket
CLICKS, EMPTY = 1.2, 0.03


@dataclass(frozen=True)
class Run:
    """How one test ended."""

    stage: str
    """The last stage."""
    promoted: bool
    """Whether it was ever promoted."""
    sessions: int
    """Sessions until the decision."""
    reason: str
    """First word of the decision's reason."""


def main(args: ExperimentArgs) -> None:
    """Simulate, print, write."""
    settings = ExperimentSettings(max_sessions=args.max_sessions)
    figures = {kind: figures_of(args, settings, effect, number) for number, (kind, effect) in enumerate(KINDS.items())}
    lines = [f"{kind}: {named_values(values, '.4g')}" for kind, values in figures.items()]
    sizes = {"runs": args.runs, "conversion": args.conversion, "max sessions": args.max_sessions}
    publish({"ratios": {}, "candidates": figures, "sizes": sizes}, lines, args.json)


def figures_of(args: ExperimentArgs, settings: ExperimentSettings, effect: float, number: int) -> dict[str, Any]:
    """Shares of all runs of one kind of candidate; "promoted at most" ends the exact 95 % interval."""
    runs = [
        simulate(settings, args.conversion, effect, np.random.default_rng([args.seed, number, at]))
        for at in tqdm(range(args.runs), desc=f"purchases × {effect:g}", unit="run", mininterval=1.0)
    ]
    promoted = [run for run in runs if run.promoted]
    interval = binomtest(len(promoted), len(runs)).proportion_ci()
    reasons = Counter(run.reason for run in runs)
    return {
        "ever promoted": len(promoted) / len(runs),
        "at least": float(interval.low),
        "at most": float(interval.high),
        "sessions until promoted, median": float(np.median([run.sessions for run in promoted])) if promoted else np.nan,
        "sessions, median": float(np.median([run.sessions for run in runs])),
        **{f"ended: {reason}": count / len(runs) for reason, count in reasons.items()},
    }


def simulate(settings: ExperimentSettings, conversion: float, effect: float, rng: np.random.Generator) -> Run:
    """One test until it is promoted and has run as long again, or is rolled back."""
    controller, promoted_at, reason, sessions = Controller(settings), 0, "", 0
    while controller.stage != ROLLED_BACK and (not promoted_at or sessions < 2 * promoted_at):
        controller.add(draw(controller.share, conversion, effect, rng, float(sessions)))
        sessions += BATCH
        for transition in controller.decide(float(sessions)):
            if transition.stage in (PROMOTED, ROLLED_BACK):
                reason = transition.why.partition(":")[0].partition(" in ")[0]
            if transition.stage == PROMOTED:
                promoted_at = sessions
    return Run(controller.stage, bool(promoted_at), promoted_at or sessions, reason)


def draw(share: float, conversion: float, effect: float, rng: np.random.Generator, now: float) -> SessionOutcomes:
    """A batch of sessions at this share of the candidate, begun at this time."""
    candidate_N = rng.random(BATCH) < share
    bought_N = rng.random(BATCH) < conversion * np.where(candidate_N, effect, 1.0)
    revenue_N = np.where(bought_N, rng.lognormal(*SPEND, BATCH), 0.0)
    clicks_N = rng.poisson(CLICKS, BATCH).astype(np.float64)
    empty_N = (rng.random(BATCH) < EMPTY).astype(np.float64)
    columns = [clicks_N, bought_N.astype(np.float64), revenue_N, empty_N]
    return SessionOutcomes(candidate_N, np.full(BATCH, share), np.stack(columns, axis=1), np.full(BATCH, now))
