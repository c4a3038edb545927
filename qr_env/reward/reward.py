"""The reward of a rewrite: a pure function from feedback to named terms and their sum.

    terms = Reward(Weights(worse=1.0))(figures)          # RewardTerms: total (N,), terms by name

With g = gain over the original in DCG@10 (feedback.py), g⁺ = max(g, 0), g⁻ = max(−g, 0), for every rewrite that does
not keep the original:

    gain      =  w.gain · g                               the main term
    worse     = −w.worse · g⁻                             a loss weighs 1 + w.worse times as much as a gain
    increment =  w.increment · i / (1 + i)                BEQUE's increment, saturated to [0, 1); weight 0 by default
    hitrate   =  w.hitrate · (hitrate − hitrate of the original)                                      weight 0
    diversity =  w.diversity · share of new products                                                  weight 0
    click     =  w.click · (P(at least one click) − that of the original's list)      with a shopper; weight 0
    cart      =  w.cart · the same of carts                                                           weight 0
    purchase  =  w.purchase · the same of purchases: conversion                                       weight 0
    gate      = −(1 − r) · (w.gain · g⁺ + increment + hitrate⁺ + diversity + click⁺ + cart⁺ + purchase⁺)
                r = min(1, m_after / (w.floor · m_before)), m the mean relevance of the top ten; r = 1 where m_before
                or the floor is 0
    length    = −w.length · max(0, words − w.budget · words of the original)
    copy      = −w.copy · copied words / words            words of the original, or repeated
    change    = −w.change                                 what every changed query costs                  weight 0
    total     =  their sum

Keeping the original earns exactly 0 in every term, whatever the verdicts. The gate cancels positive terms, at most
entirely, so that a few good products cannot make up for a list that became irrelevant; losses are not gated. A missing
verdict makes gain, and so total, NaN: mask it, never count it as 0. The best possible rewrite, from an empty list to
ten Exact products without penalties, earns 1.

Why a loss weighs more than a gain: most queries are best left alone, and a shopper must still find today what was found
yesterday. With w.worse = 0.5 and equal stakes, a rewrite has a positive expected reward if it wins with p > 0.6; 0
makes the reward symmetric.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import reduce

import numpy as np

from qr_env.common.errors import ConfigError
from qr_env.common.types import FloatArray, RewardTerms
from qr_env.reward.feedback import Feedback

RewardFunction = Callable[[Feedback], RewardTerms]

TERMS = ("gain", "worse", "increment", "hitrate", "diversity", "gate", "length", "copy", "change")
ENGAGEMENT = ("click", "cart", "purchase")  # terms of their own where there is a shopper


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the reward, numbers ≥ 0."""

    gain: float = 1.0
    """Reward for the largest gain in DCG@10: from an empty list to ten Exact products."""
    worse: float = 0.5
    """Extra penalty of a loss in DCG@10, as a multiple of the loss."""
    floor: float = 0.5
    """Share of the original's mean relevance that the new top ten must keep for its gain to count in full."""
    length: float = 0.01
    """Penalty of each word beyond the budget."""
    budget: float = 2.5
    """Words without a penalty, as a multiple of the original's words."""
    copy: float = 0.01
    """Penalty of a rewrite without a new word; in proportion to its copied words."""
    change: float = 0.0
    """Price of every rewrite that does not keep the query: a gain must exceed it, as a judge's small gains may be
    noise."""
    increment: float = 0.0
    """Reward for excellent products that the original did not find."""
    hitrate: float = 0.0
    """Reward for products bought outside search that are found now."""
    diversity: float = 0.0
    """Reward for products that the original did not find, relevant or not: needs a high floor."""
    click: float = 0.0
    """Reward for raising the chance of a click from 0 to 1. Needs a shopper, as the next two do."""
    cart: float = 0.0
    """The same for carts."""
    purchase: float = 0.0
    """The same for purchases: conversion."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) < float("inf"):
                raise ConfigError(f"reward weight {field.name}={getattr(self, field.name)!r}: must be a number ≥ 0")

    @property
    def needs_shopper(self) -> bool:
        """Whether a term needs a shopper."""
        return any(getattr(self, name) for name in ENGAGEMENT)


GAIN_ONLY = Weights(worse=0.0, floor=0.0, length=0.0, copy=0.0)


@dataclass(frozen=True, slots=True)
class Reward:
    """The reward as a callable with fixed weights."""

    weights: Weights = Weights()
    """weight of each term"""

    def __call__(self, figures: Feedback) -> RewardTerms:
        """Terms and total of N rewrites, (N,) float32 each."""
        return reward(figures, self.weights)


def reward(figures: Feedback, weights: Weights = Weights()) -> RewardTerms:
    """The formula of the module docstring for N rewrites. Raises ConfigError for a weight without a shopper."""
    w = weights
    up, down = np.maximum(figures.gain, 0), np.maximum(-figures.gain, 0)
    terms = {
        "gain": w.gain * figures.gain,
        "worse": -w.worse * down,
        "increment": _weighted(w.increment, figures.increment / (1 + figures.increment)),
        "hitrate": _weighted(w.hitrate, figures.hitrate_gain),
        "diversity": _weighted(w.diversity, figures.diversity),
    }
    terms |= _engagement(figures, w)
    won = w.gain * up + terms["increment"] + np.maximum(terms["hitrate"], 0) + terms["diversity"]
    won = reduce(np.add, (np.maximum(terms[name], 0) for name in ENGAGEMENT if name in terms), won)
    terms["gate"] = -(1 - relevance_gate(figures, w.floor)) * won
    terms["length"] = -w.length * np.maximum(figures.words - w.budget * figures.words_original, 0)
    terms["copy"] = -w.copy * figures.copied / np.maximum(figures.words, 1)
    terms["change"] = np.full(len(figures), -w.change, np.float32)
    names = TERMS if figures.click is None else TERMS + ENGAGEMENT
    # `+ 0.0` turns the -0.0 of a penalty that does not apply into 0.0, for logs.
    terms = {name: np.where(figures.kept, 0, terms[name]).astype(np.float32) + np.float32(0) for name in names}
    # Added term by term: the order of additions in numpy's sum over an axis depends on the batch size.
    return RewardTerms(total=reduce(np.add, terms.values()), terms=terms)


def relevance_gate(figures: Feedback, floor: float) -> FloatArray:
    """r of the module docstring, (N,) in [0, 1]; NaN where verdicts are missing."""
    if floor == 0:
        return np.ones_like(figures.mean_relevance)
    need_N = floor * figures.mean_relevance_before
    ratio_N = np.divide(figures.mean_relevance, need_N, out=np.ones_like(need_N), where=need_N != 0)
    return np.minimum(ratio_N, np.float32(1))


def _engagement(figures: Feedback, weights: Weights) -> dict[str, FloatArray]:
    """The shopper's terms; none without a shopper."""
    if figures.click is None:
        if weights.needs_shopper:
            raise ConfigError(f"{weights}: click, cart and purchase need a shopper: give the environment shopper=…")
        return {}
    return {name: _weighted(getattr(weights, name), getattr(figures, name)) for name in ENGAGEMENT}


def _weighted(weight: float, values_N: FloatArray) -> FloatArray:
    """weight · values; 0 for weight 0, even where the figure is missing."""
    return weight * values_N if weight else np.zeros_like(values_N)
