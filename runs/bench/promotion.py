"""`qr bench promotion`: simulated candidates, tested until promoted or dropped; settings: `runs/bench/args.py`.

Each trial is `agents.serving.promotion.Trial`, fed with batches of paired gains. Generated pairs are normal, with the
share of ties and the spread of a student's pairs (`generated_differences`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from tqdm import tqdm

from agents.serving.promotion import PromotionConfig, Trial
from runs.bench.args import PromotionArgs
from runs.bench.output import named_values, publish
from runs.report.drift import run_outcomes

BATCH = 32  # pairs a step of a trial
Floats = npt.NDArray[np.float64]
Draw = Callable[[int], Floats]  # n paired differences, candidate − serving


def main(args: PromotionArgs) -> None:
    """Simulate, print, write."""
    figures = simulate(args)
    lines = [f"{kind}: {named_values(values, '.4g')}" for kind, values in figures.items()]
    publish({"ratios": {}, "candidates": figures, "sizes": {"trials": args.trials}}, lines, args.json)


def simulate(args: PromotionArgs) -> dict[str, dict[str, float]]:
    """Figures of each kind of candidate; "promoted at most" is the upper end of the exact 95 % interval."""
    real_N: Floats | None = None
    if args.run is not None:
        gains = run_outcomes(args.run).gains
        real_N = gains["learning"] - gains["frozen"]
    kinds = {"no better": 0, "worse": -1, "better": 1}
    return {kind: _figures(args, kind, number, sign, real_N) for number, (kind, sign) in enumerate(kinds.items())}


def _figures(args: PromotionArgs, kind: str, number: int, sign: int, real_N: Floats | None) -> dict[str, float]:
    trials: list[tuple[Trial, list[float]]] = []
    for trial_number in tqdm(range(args.trials), desc=kind, unit="trial", mininterval=1.0):
        rng = np.random.default_rng([args.seed, number, trial_number])
        draw = generated_differences(rng, sign * args.effect) if real_N is None else resampled(rng, real_N, sign)
        trials.append(run_trial(PromotionConfig(), draw))
    promoted = [one.pairs_seen for one, _ in trials if one.stage == "promoted"]
    return {
        "candidates": len(trials),
        "promoted": len(promoted) / len(trials),
        "promoted at most": float(binomtest(len(promoted), len(trials)).proportion_ci().high),
        "reached canary": float(np.mean([max(shares) > 0 for _, shares in trials])),
        "queries until promoted, median": float(np.median(promoted)) if promoted else math.nan,
        "queries, median": float(np.median([one.pairs_seen for one, _ in trials])),
    }


def run_trial(config: PromotionConfig, draw: Draw, number: int = 1) -> tuple[Trial, list[float]]:
    """Feed a trial with `draw(n)` until it is decided: the trial at its end, and its traffic share at each step."""
    one, traffic = Trial("candidate", number, config, config.queries), [0.0]
    while one.stage in ("shadow", "canary"):
        one.test.add(draw(BATCH), np.zeros(BATCH))
        one.advance()
        traffic.append(one.traffic)
    return one, traffic


def generated_differences(rng: np.random.Generator, effect: float, deviation: float = 0.15, share: float = 0.3) -> Draw:
    """Draws pairs of which a share differs; `effect` and `deviation` are over all pairs."""

    def draw(n: int) -> Floats:
        wins = rng.normal(effect / share, deviation / math.sqrt(share), n)
        return np.where(rng.random(n) < share, wins, 0).clip(-1, 1)

    return draw


def resampled(rng: np.random.Generator, real_N: Floats, sign: int) -> Draw:
    """Draws real pairs as they are (sign 1), reversed (−1), or with a random sign each (0)."""

    def draw(n: int) -> Floats:
        signs = rng.choice([-1.0, 1.0], n) if sign == 0 else np.full(n, float(sign))
        return rng.choice(real_N, n) * signs

    return draw
