"""The reward by hand: every term, the gate, "keep the original", and missing verdicts."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace

import numpy as np
import pytest

from qr_env.common.errors import ConfigError
from qr_env.reward.feedback import Feedback
from qr_env.reward.reward import ENGAGEMENT, GAIN_ONLY, TERMS, Reward, Weights


def figures(**values: float | bool) -> Feedback:
    """One step in which a two-word query got a two-word rewrite and nothing changed, except for `values`."""
    # Without a shopper: its figures have a default, None.
    start: dict[str, float | bool] = {field.name: 0.0 for field in fields(Feedback) if field.default is MISSING}
    start |= {"increment_defined": True, "hitrate_defined": True, "kept": False, "words": 2, "words_original": 2}
    start |= {"mean_relevance": 0.5, "mean_relevance_before": 0.5} | values
    return Feedback(**{n: np.array([v], bool if isinstance(v, bool) else np.float32) for n, v in start.items()})


DEFAULT = Weights()


def reward_of(weights: Weights = DEFAULT, **values: float | bool) -> float:
    return float(Reward(weights)(figures(**values)).total[0])


def test_gain_is_the_main_term_and_a_loss_weighs_more() -> None:
    assert reward_of(gain=0.4) == pytest.approx(0.4)
    assert reward_of(gain=-0.4) == pytest.approx(-0.6)
    assert reward_of(replace(GAIN_ONLY, worse=0.0), gain=-0.4) == pytest.approx(-0.4)
    assert reward_of(Weights(gain=2.0), gain=0.2) == pytest.approx(0.4)


def test_the_gate_cancels_a_gain_when_mean_relevance_falls() -> None:
    assert reward_of(gain=0.4, mean_relevance=0.25) == pytest.approx(0.4)  # exactly at the floor of one half
    assert reward_of(gain=0.4, mean_relevance=0.125) == pytest.approx(0.2)
    assert reward_of(gain=0.4, mean_relevance=0.0) == 0.0
    assert reward_of(gain=-0.4, mean_relevance=0.0) == pytest.approx(-0.6)  # a loss is not gated
    assert reward_of(gain=0.4, mean_relevance=0.1, mean_relevance_before=0.0) == pytest.approx(0.4)
    assert reward_of(replace(GAIN_ONLY, floor=0.0), gain=0.4, mean_relevance=0.0) == pytest.approx(0.4)


def test_length_is_penalised_beyond_the_budget_and_copying_in_proportion() -> None:
    assert reward_of(words=5) == 0.0  # 2.5 × two words are free
    assert reward_of(words=9) == pytest.approx(-0.04)
    assert reward_of(copied=1) == pytest.approx(-0.005)
    assert reward_of(Weights(length=0.1, budget=1.0, copy=0.0), words=4, copied=4) == pytest.approx(-0.2)


def test_optional_objectives() -> None:
    assert reward_of(increment=3.0, hitrate_gain=0.5, diversity=0.2) == 0.0
    weights = Weights(increment=0.4, hitrate=0.2, diversity=0.5)
    values = {"increment": 3.0, "hitrate_gain": 0.5, "diversity": 0.2}
    assert reward_of(weights, **values) == pytest.approx(0.3 + 0.1 + 0.1)
    assert reward_of(weights, **values, mean_relevance=0.0) == 0.0  # all of it behind the gate


def test_terms_add_up_and_are_named() -> None:
    terms = Reward(Weights(hitrate=0.2))(figures(gain=0.3, mean_relevance=0.1, hitrate_gain=0.5, words=9, copied=3))
    assert tuple(terms.terms) == TERMS
    np.testing.assert_allclose(sum(terms.terms.values()), terms.total, rtol=1e-6)
    assert terms.total.dtype == np.float32 and terms.total.shape == (1,)


SHOPPING = Weights(click=0.5, cart=1.0, purchase=2.0)


def test_clicks_carts_and_purchases_are_rewarded_with_a_shopper() -> None:
    values = {"click": 0.2, "cart": 0.1, "purchase": 0.05}
    assert reward_of(**values) == 0.0, "off unless weighted"
    assert reward_of(SHOPPING, **values) == pytest.approx(0.1 + 0.1 + 0.1)
    assert reward_of(SHOPPING, click=-0.2, cart=0.0, purchase=-0.05) == pytest.approx(-0.2)
    assert reward_of(SHOPPING, **values, mean_relevance=0.0) == pytest.approx(0.0, abs=1e-7), "behind the gate"
    assert reward_of(SHOPPING, click=-0.2, cart=0.1, purchase=0.0, mean_relevance=0.0) == pytest.approx(-0.1)
    terms = Reward(SHOPPING)(figures(**values)).terms
    assert tuple(terms) == TERMS + ENGAGEMENT and terms["purchase"][0] == pytest.approx(0.1)


def test_missing_engagement_is_nan_where_it_has_a_weight() -> None:
    values = {"click": float("nan"), "cart": 0.0, "purchase": 0.0}
    assert np.isnan(reward_of(SHOPPING, **values))
    assert reward_of(gain=0.1, **values) == pytest.approx(0.1), "a term that is off needs no figure"
    assert reward_of(SHOPPING, kept=True, **values) == 0.0


def test_engagement_needs_a_shopper() -> None:
    with pytest.raises(ConfigError, match="shopper"):
        reward_of(Weights(purchase=1.0))


@pytest.mark.parametrize("gain", [0.0, float("nan")])
def test_keeping_the_original_earns_exactly_zero(gain: float) -> None:
    step = figures(kept=True, gain=gain, mean_relevance=gain, copied=2, words=2, diversity=gain, increment=gain)
    terms = Reward(Weights(increment=1.0, hitrate=1.0, diversity=1.0))(step)
    assert all(float(value[0]) == 0.0 for value in (terms.total, *terms.terms.values()))


def test_a_missing_verdict_makes_the_total_nan_never_zero() -> None:
    missing = figures(gain=float("nan"), mean_relevance=float("nan"), increment=float("nan"), words=9)
    terms = Reward()(missing)
    assert np.isnan(terms.total[0]) and np.isnan(terms.terms["gain"][0])
    assert terms.terms["length"][0] == pytest.approx(-0.04)
    assert np.isnan(Reward(GAIN_ONLY)(missing).total[0])


def test_weights_are_checked() -> None:
    with pytest.raises(ConfigError, match="length=-1"):
        Weights(length=-1)
    with pytest.raises(ConfigError, match="budget=nan"):
        Weights(budget=float("nan"))


def test_every_changed_query_costs_the_price_of_change() -> None:
    weights = Weights(change=0.02)
    free, priced = (Reward(one)(figures(gain=0.05)).total for one in (Weights(), weights))
    assert np.allclose(free - priced, 0.02)
    assert Reward(weights)(figures(kept=True)).total.tolist() == [0.0]
