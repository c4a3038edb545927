"""Reward schemes of published systems by name, each a pure function from feedback to named terms.

    terms = PAPER_REWARDS["minielm"](figures)            # RewardTerms: total (N,), terms by name

This project's own reward is `qr_env.reward.reward`. These schemes have the papers' terms alone: no relevance gate and
no prices. As everywhere, a rewrite is rewarded for what it changes: keeping the original earns exactly 0, so a term is
the rewrite's figure minus the original's. (The papers have no such action and reward the rewrite's figure; within a
group of one query the two differ by a constant, which cancels in a group-relative advantage.) Missing verdicts make a
term NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Literal, get_args

import numpy as np

from qr_env.common.errors import ConfigError
from qr_env.common.types import FloatArray, RewardTerms
from qr_env.reward.feedback import Feedback

MAX_RELEVANCE_LOSS = 0.01  # of the "jd" scheme: a rewrite that loses more gets no reward for conversion
RewardScheme = Literal["gain", "rank", "relevance", "increment", "hitrate", "jd", "minielm", "quality_diversity"]


def gain(figures: Feedback) -> RewardTerms:
    """Change in DCG@10 over that of ten Exact products, in [−1, 1]: the main term of `Reward`, alone."""
    return _summed(figures, gain=figures.gain)


def rank_incentive(figures: Feedback) -> RewardTerms:
    """ConvSearch-R1's tiers: rank r of the first relevant product earns 19/9 − r/9 up to 10, 10/9 − r/90 up to 100."""
    return _summed(figures, rank=_tiers(figures.rank) - _tiers(figures.rank_before))


def relevance(figures: Feedback) -> RewardTerms:
    """BEQUE's RL(rele): mean relevance of the first ten. Used alone, the policy stops expanding (its table 5)."""
    return _summed(figures, relevance=_relevance(figures))


def increment(figures: Feedback) -> RewardTerms:
    """BEQUE's RL(incr): excellent products added, as a multiple of the original's. Used alone, relevance collapses."""
    return _summed(figures, increment=figures.increment)


def hitrate(figures: Feedback) -> RewardTerms:
    """BEQUE's RL(hitrate): share of the products bought outside search that are found."""
    return _summed(figures, hitrate=figures.hitrate_gain)


def fused(figures: Feedback) -> RewardTerms:
    """JD (arXiv 2603.02555) rewards relevance and conversion by rules; its formula is unpublished, this one is ours:

    relevance + conversion, where a rewrite that loses more than `MAX_RELEVANCE_LOSS` relevance gets no positive
    conversion term.
    """
    lost = _relevance(figures) < -MAX_RELEVANCE_LOSS
    bought = np.where(lost, np.minimum(_shopper(figures, "purchase"), 0), _shopper(figures, "purchase"))
    return _summed(figures, relevance=_relevance(figures), purchase=bought)


def minielm(figures: Feedback) -> RewardTerms:
    """MiniELM (arXiv 2501.18056): relevance + diversity + engagement, the mean of click, cart and purchase rates."""
    rates = [_shopper(figures, name) for name in ("click", "cart", "purchase")]
    engagement = np.mean(rates, axis=0)
    return _summed(figures, relevance=_relevance(figures), diversity=figures.diversity, engagement=engagement)


def quality_diversity(figures: Feedback) -> RewardTerms:
    """DARLING: quality × diversity; a loss is not scaled by diversity."""
    won = np.maximum(figures.gain, 0) * figures.diversity
    return _summed(figures, quality_diversity=won + np.minimum(figures.gain, 0))


PAPER_REWARDS: dict[str, Callable[[Feedback], RewardTerms]] = dict(
    zip(
        get_args(RewardScheme),
        (gain, rank_incentive, relevance, increment, hitrate, fused, minielm, quality_diversity),
        strict=True,
    )
)
NEED_SHOPPER = ("jd", "minielm")


def _relevance(figures: Feedback) -> FloatArray:
    return figures.mean_relevance - figures.mean_relevance_before


def _tiers(rank_N: FloatArray) -> FloatArray:
    near, far = 19 / 9 - rank_N / 9, 10 / 9 - rank_N / 90
    reward_N = np.select([rank_N < 1, rank_N <= 10, rank_N <= 100], [0.0, near, far], 0.0)
    return np.where(np.isnan(rank_N), np.nan, reward_N).astype(np.float32)


def _shopper(figures: Feedback, name: str) -> FloatArray:
    values: FloatArray | None = getattr(figures, name)
    if values is None:
        raise ConfigError(f"this reward scheme has a {name} term: it needs a `shopper`")
    return values


def _summed(figures: Feedback, **terms: FloatArray) -> RewardTerms:
    """RewardTerms of these terms and their sum; 0 where the original is kept."""
    weighted = {name: np.where(figures.kept, 0, value).astype(np.float32) for name, value in terms.items()}
    return RewardTerms(total=reduce(np.add, weighted.values()), terms=weighted)
