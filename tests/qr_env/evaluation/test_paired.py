"""The paired randomisation test against scipy's, its error rate, and Holm's correction by hand."""

import numpy as np
import pytest
from scipy.stats import permutation_test

from qr_env.evaluation.paired import holm, sign_flip_p_values


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.05])
def test_the_p_value_is_scipys(shift):
    differences_N = np.random.default_rng(3).normal(shift, 0.2, 100)
    theirs = permutation_test(
        (differences_N,), np.mean, permutation_type="samples", n_resamples=9_999, rng=np.random.default_rng(1)
    ).pvalue
    assert sign_flip_p_values(differences_N[:, None])[0] == pytest.approx(theirs, abs=0.015)


def test_few_queries_prove_nothing():
    assert sign_flip_p_values(np.full((5, 1), 0.3))[0] == pytest.approx(1 / 16, abs=0.01)


def test_missing_values_and_ties_do_not_count():
    gains_N = np.random.default_rng(0).normal(0.1, 0.2, 60)
    padded_N = np.concatenate([gains_N, np.full(20, np.nan)])
    tied_N = np.concatenate([gains_N, np.zeros(20)])
    p_F = sign_flip_p_values(np.stack([padded_N, tied_N, np.full(80, np.nan), np.zeros(80)], axis=1))
    assert p_F[0] == p_F[1] < 0.05
    assert p_F[2:].tolist() == [1, 1]


def test_an_equal_system_is_rejected_in_about_five_per_cent_of_the_draws():
    differences_NF = np.random.default_rng(5).laplace(0, 0.2, (80, 400))
    assert 0.02 <= (sign_flip_p_values(differences_NF, draws=999) <= 0.05).mean() <= 0.08


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([]).tolist() == []
