"""Click models: closed forms against an enumeration of all visits, against samples, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from judges.shoppers.click_models import (
    CART,
    CLICK,
    DECAY,
    MODELS,
    PURCHASE,
    SATISFIED,
    Chain,
    ClickModel,
    PositionBased,
)
from qr_env.common.errors import ConfigError

N, K = 6, 4


def random_lists(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Nested event probabilities of N lists of K products, and probabilities of going on."""
    generator = np.random.default_rng(seed)
    return np.cumprod(generator.uniform(0.3, 0.95, (N, K, 4)), axis=2), generator.uniform(0.6, 1.0, (N, K))


def enumerated(model: Chain | PositionBased, given_K4: np.ndarray, stay_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum over every course of a visit, weighted by its probability: the definitions, slowly."""
    k = len(given_K4)
    chance_K5 = -np.diff(np.concatenate([np.ones((k, 1)), given_K4, np.zeros((k, 1))], axis=1), axis=1)
    examine_K, some_3 = np.zeros(k), np.zeros(3)

    def visit(n: int, deepest: int, probability: float) -> None:
        if n == k:
            some_3[:] += probability * (deepest >= np.array([1, 3, 4]))
        elif isinstance(model, PositionBased):
            examined = model.by_rank(k)[n] * np.prod(stay_K[:n])
            examine_K[n] += probability * examined
            visit(n + 1, deepest, probability * (1 - examined))
            for depth in range(5):
                visit(n + 1, max(deepest, depth), probability * examined * chance_K5[n, depth])
        else:
            examine_K[n] += probability
            for depth, on in enumerate([model.after_skip, model.after_click, 0, 0, 0]):
                here = probability * chance_K5[n, depth]
                visit(n + 1, max(deepest, depth), here * on * stay_K[n])
                visit(k, max(deepest, depth), here * (1 - on * stay_K[n]))

    visit(0, 0, 1.0)
    return examine_K, some_3


SMALL = (Chain.cascade(), Chain.dynamic_bayesian(0.8), Chain(0.9, 0.5))


@pytest.mark.parametrize("model", [*SMALL, PositionBased((1.0, 0.6, 0.3))], ids=lambda model: model.name)
def test_closed_forms_equal_the_sum_over_every_course_of_a_visit(model: Chain | PositionBased) -> None:
    given_NK4, stay_NK = random_lists()
    for n in range(2):
        examine_K, some_3 = enumerated(model, given_NK4[n], stay_NK[n])
        np.testing.assert_allclose(model.examine(given_NK4, stay_NK)[n], examine_K, atol=1e-12)
        np.testing.assert_allclose(model.any_event(given_NK4, stay_NK)[n], some_3, atol=1e-12)


@pytest.mark.parametrize("leave", [False, True])
@pytest.mark.parametrize("model", [*MODELS.values(), Chain(0.9, 0.5)], ids=lambda model: model.name)
def test_sampled_frequencies_agree_with_exact_probabilities(model: ClickModel, leave: bool) -> None:
    given_NK4, stay_NK = random_lists(1)
    visits = 40_000
    stay = stay_NK if leave else None
    many = [np.repeat(array, visits, axis=0) for array in (given_NK4, stay_NK)]
    depths = model.sample(many[0], np.random.default_rng(2), many[1] if leave else None).reshape(N, visits, K)
    examine_NK1 = model.examine(given_NK4, stay)[..., None]
    for event in (CLICK, SATISFIED, CART, PURCHASE):
        exact_NK = examine_NK1[..., 0] * given_NK4[..., event]
        np.testing.assert_allclose((depths > event).mean(axis=1), exact_NK, atol=5 * 0.5 / visits**0.5)
    some_N3 = np.stack([(depths > event).any(axis=2).mean(axis=1) for event in (CLICK, CART, PURCHASE)], axis=1)
    np.testing.assert_allclose(some_N3, model.any_event(given_NK4, stay), atol=5 * 0.5 / visits**0.5)


def test_cascade_by_hand() -> None:
    given_NK4 = np.array([[[0.5, 0.4, 0.2, 0.1], [0.2, 0.1, 0.1, 0.1], [0.6, 0.5, 0.4, 0.3]]])
    model = MODELS["cascade"]
    np.testing.assert_allclose(model.examine(given_NK4), [[1.0, 0.5, 0.4]])
    np.testing.assert_allclose(model.any_event(given_NK4)[0, 0], 1 - 0.5 * 0.8 * 0.4)
    clicks_N = (model.sample(np.repeat(given_NK4, 2_000, axis=0), np.random.default_rng(0)) > 0).sum(axis=1)
    assert clicks_N.max() == 1


def test_dynamic_bayesian_by_hand() -> None:
    given_NK4 = np.array([[[0.5, 0.4, 0.2, 0.1], [0.2, 0.1, 0.1, 0.1], [0.6, 0.5, 0.4, 0.3]]])
    examine_NK = Chain.dynamic_bayesian(0.9).examine(given_NK4)
    np.testing.assert_allclose(examine_NK, [[1.0, 0.9 * 0.6, 0.9 * 0.6 * 0.9 * 0.9]])


def test_decay_is_the_published_one_and_falls_beyond_it() -> None:
    theta_K = PositionBased().by_rank(40)
    assert theta_K[:10].tolist() == list(DECAY)
    assert theta_K[19] == pytest.approx(0.03) and (np.diff(theta_K) < 0).all()


def test_missing_grades_spread_down_a_chain_but_not_in_the_pbm() -> None:
    given_NK4, _ = random_lists()
    given_NK4[0, 1] = np.nan
    assert np.isnan(MODELS["dbn"].examine(given_NK4)[0]).tolist() == [False, False, True, True]
    assert not np.isnan(MODELS["position"].examine(given_NK4)).any()
    for model in MODELS.values():
        assert np.isnan(model.any_event(given_NK4)).any(axis=1).tolist() == [True] + [False] * (N - 1)
        with pytest.raises(ValueError, match="1 of 6 lists hold ungraded"):
            model.sample(given_NK4, np.random.default_rng(0))


def test_a_list_alone_equals_the_list_in_a_batch() -> None:
    given_NK4, stay_NK = random_lists()
    for model in MODELS.values():
        alone = [model.any_event(given_NK4[n : n + 1], stay_NK[n : n + 1])[0] for n in range(N)]
        np.testing.assert_array_equal(model.any_event(given_NK4, stay_NK), alone)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"after_skip=1\.5"):
        Chain(1.5, 0.0)
    with pytest.raises(ConfigError, match="theta"):
        PositionBased((1.0, -0.1))
