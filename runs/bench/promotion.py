"""How promotion decides: hundreds of candidates that are no better, worse and better, each on trial from end to end.

    qr bench promotion                                     # made-up pairs, like those that a student gives
    python -m runs.bench.promotion --run out/drift         # pairs of a run's learning and frozen policy

Each trial is `agents.serving.promotion.Trial` fed with batches of paired gains until it decides. With --run the pairs are
drawn from outcomes.jsonl of a run with --drift (`runs/stream/job.py`): learning − frozen is the better candidate, frozen −
learning the worse one, and with its sign drawn for each pair it is no better and no worse, whatever the two are.
Without it pairs are normal, with the ties and the spread that a student's have (`differences`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agents.serving.promotion import PromotionConfig, Trial
from runs.common.cli import run, write_json

BATCH = 32
Floats = npt.NDArray[np.float64]
Draw = Callable[[int], Floats]  # n paired differences, candidate − serving


@dataclass
class Args:
    """What to simulate."""

    run: Path | None = None
    """folder of a run with --drift, whose pairs are drawn from"""
    trials: int = 200
    """candidates of each kind"""
    effect: float = 0.02
    """made-up pairs: gain by which better candidates are better and worse ones worse"""
    seed: int = 0
    """of the draws"""
    json: str | None = None
    """write the figures to this JSON file, "-" for standard output"""


def main(args: Args) -> None:
    """Simulate, print, write."""
    figures = simulate(args)
    if args.json != "-":
        show(figures)
    write_json(args.json, figures)


def simulate(args: Args) -> dict[str, dict[str, float]]:
    """Figures of each kind of candidate; `promoted` has the upper end of its exact 95 % interval beside it."""
    real_N: Floats | None = None
    if args.run is not None:
        from runs.stream.job import outcomes_of

        gains = outcomes_of(args.run).gains
        real_N = gains["learning"] - gains["frozen"]
    return {kind: _outcome(args, kind, number, real_N) for number, kind in enumerate(("no better", "worse", "better"))}


def show(figures: dict[str, dict[str, float]]) -> None:
    """Print a line a kind."""
    for kind, told in figures.items():
        print(f"{kind}: " + "  ".join(f"{name} {value:.4g}" for name, value in told.items()))


def _outcome(args: Args, kind: str, number: int, real_N: Floats | None) -> dict[str, float]:
    from scipy.stats import binomtest
    from tqdm import tqdm

    ends = []
    for trial_number in tqdm(range(args.trials), desc=kind, unit="trial", mininterval=1.0):
        rng, sign = np.random.default_rng([args.seed, number, trial_number]), {"worse": -1, "better": 1}.get(kind, 0)
        draw = differences(rng, sign * args.effect) if real_N is None else resampled(rng, real_N, sign)
        ends.append(trial(PromotionConfig(), draw))
    promoted = [one.seen for one, _ in ends if one.stage == "promoted"]
    return {
        "candidates": len(ends),
        "promoted": len(promoted) / len(ends),
        "promoted at most": float(binomtest(len(promoted), len(ends)).proportion_ci().high),
        "saw a canary share": float(np.mean([max(shares) > 0 for _, shares in ends])),
        "queries until promoted, median": float(np.median(promoted)) if promoted else math.nan,
        "queries, median": float(np.median([one.seen for one, _ in ends])),
    }


def trial(config: PromotionConfig, draw: Draw, number: int = 1) -> tuple[Trial, list[float]]:
    """A candidate's way through pairs that `draw(n)` gives: the trial at its end, the shares of traffic it had."""
    one, traffic = Trial("candidate", number, config, config.queries), [0.0]
    while one.stage in ("shadow", "canary"):
        one.test.add(draw(BATCH), np.zeros(BATCH))
        one.advance()
        traffic.append(one.traffic)
    return one, traffic


def differences(rng: np.random.Generator, effect: float, deviation: float = 0.15, share: float = 0.3) -> Draw:
    """Made-up pairs of which a share differs, with a mean and a deviation over all of them."""

    def draw(n: int) -> Floats:
        wins = rng.normal(effect / share, deviation / math.sqrt(share), n)
        return np.where(rng.random(n) < share, wins, 0).clip(-1, 1)

    return draw


def resampled(rng: np.random.Generator, real_N: Floats, sign: int) -> Draw:
    """Pairs drawn from real ones, as they are (1), the other way round (−1), or with a sign drawn for each (0)."""

    def draw(n: int) -> Floats:
        signs = rng.choice([-1.0, 1.0], n) if sign == 0 else np.full(n, float(sign))
        return rng.choice(real_N, n) * signs

    return draw


if __name__ == "__main__":
    run(Args, main, description=__doc__)
