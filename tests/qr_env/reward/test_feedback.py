"""Feedback against slow loops over Python sets, and its rules for zero denominators and missing verdicts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qr_env.common.types import EXACT, Engagement, Grades, Hits
from qr_env.reward.feedback import TAU, Bought, Feedback, feedback
from qr_env.reward.metrics import best_dcg
from qr_env.reward.text_figures import TextFigures, text_figures

PRODUCTS, N, K, M = 25, 60, 12, 3


def as_hits(rows_NK: np.ndarray) -> Hits:
    return Hits(rows_NK.astype(np.int32), np.where(rows_NK >= 0, 1.0, -np.inf).astype(np.float32))


def plain_texts(n: int) -> TextFigures:
    return text_figures(["couch"] * n, ["sofa"] * n)


def random_lists(generator: np.random.Generator) -> np.ndarray:
    rows_NK = np.stack([generator.permutation(PRODUCTS)[:K] for _ in range(N)])
    return np.where(np.arange(K) < generator.integers(0, K + 1, (N, 1)), rows_NK, -1)


@pytest.fixture(scope="module")
def sample() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "truth": generator.dirichlet([1, 0.4, 0.4, 0.8], (N, PRODUCTS)).astype(np.float32),
        "before": random_lists(generator),
        "after": random_lists(generator),
        "excellent": generator.random(PRODUCTS) < 0.4,
        "bought": np.where(np.arange(M) < generator.integers(0, M + 1, (N, 1)), random_lists(generator)[:, :M], -1),
    }


def graded(sample: dict[str, np.ndarray], rows_NK: np.ndarray) -> Grades:
    probs = sample["truth"][np.arange(N)[:, None], np.maximum(rows_NK, 0)]
    return Grades(np.where(rows_NK[..., None] >= 0, probs, np.nan).astype(np.float32))


def computed(sample: dict[str, np.ndarray]) -> Feedback:
    before, after = sample["before"], sample["after"]
    bought = Bought(sample["bought"].astype(np.int32), graded(sample, sample["bought"]).relevance_NK)
    lists = (as_hits(before), as_hits(after), graded(sample, before), graded(sample, after))
    return feedback(*lists, plain_texts(N), sample["excellent"], bought)


def slow(sample: dict[str, np.ndarray], n: int) -> dict[str, float]:
    """One query's figures, by the paper's set notation."""
    f = {z: float(sample["truth"][n, z, 2:].sum()) for z in range(PRODUCTS)}
    g = {z: float(sample["truth"][n, z] @ [0, 0.01, 0.1, 1]) for z in range(PRODUCTS)}
    x = [z for z in sample["before"][n].tolist() if z >= 0]
    y = [z for z in sample["after"][n].tolist() if z >= 0]
    best = set(np.flatnonzero(sample["excellent"]).tolist())
    bought = {z for z in sample["bought"][n].tolist() if z >= 0}
    relevant = {z for z in f if f[z] > TAU}
    base, joint = len(best & set(x) & relevant), len(best & (set(x) | set(y)) & relevant)
    wanted = bought & relevant
    dcg = [sum(g[z] / math.log2(rank + 2) for rank, z in enumerate(found[:10])) for found in (x, y)]
    return {
        "relevance": len(set(y) & relevant) / len(y) if y else 0.0,
        "mean_relevance": sum(f[z] for z in y[:10]) / len(y[:10]) if y else 0.0,
        "increment": joint / base - 1 if base else float(joint),
        "increment_defined": base > 0,
        "hitrate": len(wanted & (set(x) | set(y))) / len(wanted) if wanted else 0.0,
        "hitrate_gain": len(wanted & (set(y) - set(x))) / len(wanted) if wanted else 0.0,
        "hitrate_defined": bool(wanted),
        "coverage": len((set(x) | set(y)) & relevant),
        "diversity": len(set(y) - set(x)) / len(y) if y else 0.0,
        "gain": (dcg[1] - dcg[0]) / best_dcg(),
    }


def test_every_figure_equals_a_slow_loop(sample: dict[str, np.ndarray]) -> None:
    figures = computed(sample)
    loops = [slow(sample, n) for n in range(N)]
    for name in loops[0]:
        np.testing.assert_allclose(getattr(figures, name), [loop[name] for loop in loops], atol=1e-6, err_msg=name)
    assert not figures.increment_defined.all() and figures.increment_defined.any()
    assert not figures.hitrate_defined.all() and figures.hitrate_defined.any()
    assert (figures.missing == 0).all()


def test_gain_is_bounded_and_one_for_ten_exact_over_nothing() -> None:
    after = as_hits(np.arange(10)[None])
    nothing = as_hits(np.full((1, 10), -1))
    exact = np.zeros((1, 10, 4), np.float32)
    exact[..., EXACT] = 1
    missing = Grades(np.full((1, 10, 4), np.nan, np.float32))
    assert feedback(nothing, after, missing, Grades(exact), plain_texts(1)).gain[0] == 1.0
    assert feedback(after, nothing, Grades(exact), missing, plain_texts(1)).gain[0] == -1.0


def test_a_missing_verdict_that_matters_is_nan_never_zero() -> None:
    before, after = np.tile(np.arange(10), (3, 1)), np.tile(np.arange(10), (3, 1))
    after[:, 9] = 20
    probs = np.zeros((2, 3, 10, 4), np.float32)
    probs[..., 0], probs[..., EXACT] = 0.5, 0.5
    probs[1, 0, 9] = [0, 0, 0, 1]
    probs[:, 0, 3] = np.nan  # the same product at the same rank: its verdict decides nothing
    probs[1, 1, 9] = np.nan  # what is new has no verdict
    probs[0, 2, 9] = np.nan  # what was lost has no verdict
    figures = feedback(as_hits(before), as_hits(after), Grades(probs[0]), Grades(probs[1]), plain_texts(3))
    assert figures.gain[0] == pytest.approx(0.5 / math.log2(11) / best_dcg())
    assert np.isnan(figures.gain).tolist() == [False, True, True]
    np.testing.assert_allclose(figures.missing, [0.1, 0.05, 0.05])
    np.testing.assert_allclose(figures.mean_relevance, [5 / 9, 0.5, 0.5], rtol=1e-6)
    assert figures.diversity.tolist() == pytest.approx([0.1] * 3)


def test_counts_are_of_judged_products_and_nan_without_any() -> None:
    probs = np.zeros((2, 10, 4), np.float32)
    probs[:, :5, EXACT], probs[:, 5:, 0] = 1, 1
    probs[0, 8:] = np.nan
    probs[1] = np.nan
    rows = np.tile(np.arange(10), (2, 1))
    none = Grades(np.full((2, 10, 4), np.nan, np.float32))
    figures = feedback(as_hits(np.full((2, 10), -1)), as_hits(rows), none, Grades(probs), plain_texts(2))
    assert figures.relevance[0] == pytest.approx(5 / 8) and figures.coverage[0] == figures.increment[0] == 5
    for name in ("gain", "relevance", "mean_relevance", "increment", "hitrate", "coverage"):
        assert np.isnan(getattr(figures, name)[1]), name


def test_engagement_is_after_minus_before_missing_stays_missing_and_a_kept_original_is_zero() -> None:
    lists = as_hits(np.tile(np.arange(10), (3, 1)))
    exact = Grades(np.tile(np.eye(4, dtype=np.float32)[EXACT], (3, 10, 1)))
    texts = text_figures(["couch"] * 3, ["sofa", "sofa", "couch"])
    chances_NK = np.zeros((3, 10), np.float32)
    some = np.array([[[0.5, 0.3, 0.1]] * 3, [[0.75, 0.2, 0.1], [0.75, np.nan, np.nan], [np.nan] * 3]], np.float32)
    before, after = (Engagement(chances_NK, chances_NK, chances_NK, chances_NK, part) for part in some)
    figures = feedback(lists, lists, exact, exact, texts, engaged=(before, after))[np.array([2, 1, 0])]
    np.testing.assert_allclose(figures.click, [0, 0.25, 0.25])
    np.testing.assert_allclose(figures.cart, [0, np.nan, -0.1], rtol=1e-6)
    np.testing.assert_allclose(figures.purchase, [0, np.nan, 0])
    assert feedback(lists, lists, exact, exact, texts).click is None
