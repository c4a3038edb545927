"""The papers' rewards computed by hand, and the rank that one of them uses."""

import numpy as np
import pytest

from qr_env.common.errors import ConfigError
from qr_env.common.types import Grades, Hits
from qr_env.reward.feedback import feedback
from qr_env.reward.paper_rewards import NEED_SHOPPER, PAPER_REWARDS
from qr_env.reward.text_figures import text_figures
from tests.qr_env.reward.test_reward import figures

SHOPPER = {"click": 0.3, "cart": 0.2, "purchase": 0.1}


def reward_of(name, **values):
    terms = PAPER_REWARDS[name](figures(**values))
    assert terms.total == pytest.approx(sum(terms.terms.values()))
    return float(terms.total[0])


def test_each_scheme_equals_its_papers_formula():
    assert reward_of("gain", gain=0.4) == pytest.approx(0.4)
    assert reward_of("relevance", mean_relevance=0.8) == pytest.approx(0.3)
    assert reward_of("increment", increment=2.5) == pytest.approx(2.5)
    assert reward_of("hitrate", hitrate=0.6, hitrate_gain=0.2) == pytest.approx(0.2)
    assert reward_of("minielm", mean_relevance=0.6, diversity=0.5, **SHOPPER) == pytest.approx(0.1 + 0.5 + 0.2)
    assert reward_of("quality_diversity", gain=0.4, diversity=0.5) == pytest.approx(0.2)
    assert reward_of("quality_diversity", gain=-0.4, diversity=0.0) == pytest.approx(-0.4)


@pytest.mark.parametrize(("rank", "expected"), [(1, 2.0), (10, 1.0), (11, 89 / 90), (100, 0.0), (101, 0.0), (0, 0.0)])
def test_rank_tiers(rank, expected):
    assert reward_of("rank", rank=rank) == pytest.approx(expected, abs=1e-6)
    assert reward_of("rank", rank=rank, rank_before=1) == pytest.approx(expected - 2, abs=1e-6)


def test_jd_does_not_reward_conversion_that_costs_relevance():
    assert reward_of("jd", mean_relevance=0.495, **SHOPPER) == pytest.approx(-0.005 + 0.1)  # within a point
    assert reward_of("jd", mean_relevance=0.4, **SHOPPER) == pytest.approx(-0.1)
    assert reward_of("jd", mean_relevance=0.4, **(SHOPPER | {"purchase": -0.1})) == pytest.approx(-0.2)


@pytest.mark.parametrize("name", PAPER_REWARDS)
def test_the_original_earns_nothing_and_a_missing_verdict_is_missing(name):
    good = {"gain": 0.5, "mean_relevance": 0.9, "increment": 1.0, "hitrate_gain": 0.3, "diversity": 0.5, "rank": 1}
    assert reward_of(name, kept=True, **good, **SHOPPER) == 0
    missing = dict.fromkeys(good, float("nan")) | dict.fromkeys(SHOPPER, float("nan"))
    assert np.isnan(PAPER_REWARDS[name](figures(**missing)).total[0])


@pytest.mark.parametrize("name", NEED_SHOPPER)
def test_conversion_needs_a_shopper(name):
    with pytest.raises(ConfigError, match="needs a `shopper`"):
        PAPER_REWARDS[name](figures())


def test_rank_is_the_place_of_the_first_relevant_product_among_the_judged():
    exact, nothing, unknown = [0, 0, 0, 1.0], [1.0, 0, 0, 0], [np.nan] * 4
    hits = Hits(np.array([[5, 6, 7], [5, 6, 7], [5, 6, -1]], np.int32), np.ones((3, 3), np.float32))
    grades = Grades(
        np.array([[nothing, nothing, exact], [unknown, exact, nothing], [nothing, nothing, unknown]], np.float32)
    )
    found = feedback(
        hits, hits[np.array([1, 2, 0])], grades, Grades(grades.probs_NK4[[1, 2, 0]]), text_figures("abc", "def")
    )
    assert found.rank_before.tolist() == [3, 1, 0]
    assert found.rank.tolist() == [1, 0, 3]
