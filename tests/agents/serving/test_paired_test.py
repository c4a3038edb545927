"""The sequential paired test: its error bound at every stopping time, its interval's coverage, its power."""

import math

import numpy as np
import pytest

from agents.serving.paired_test import STAKES, PairedTest, log_wealth
from qr_env.common.errors import ConfigError
from qr_env.common.types import Query
from qr_env.traffic.stream import QueryStream

ALPHA, BATCH = 0.05, 32
THRESHOLD = -math.log(ALPHA)


def run_test(differences, batch=BATCH):
    """The test after all differences, added batch by batch, and its highest log e-value."""
    test, highest = PairedTest(), -math.inf
    for start in range(0, len(differences), batch):
        part = differences[start : start + batch]
        test.add(part, np.zeros(len(part)))
        highest = max(highest, test.log_e())
    return test, highest


def test_the_e_value_is_the_mean_wealth_over_the_stakes():
    differences = [0.5, -0.2, 0.0, 0.1]
    wealth = [math.prod(1 + stake / 1.1 * (d - 0.1) for d in differences) for stake in STAKES]
    assert run_test(differences)[0].log_e(0.1) == pytest.approx(math.log(np.mean(wealth)), abs=1e-12)
    assert PairedTest().log_e() == PairedTest().log_e_below() == 0.0


def test_the_cached_sums_equal_sums_over_all_pairs():
    draws = np.random.default_rng(0).uniform(-1, 1, 100)
    in_batches, at_once = run_test(draws, 7)[0], run_test(draws, 100)[0]
    for margin in (0.0, 0.0, 0.05):
        assert in_batches.log_e(margin) == pytest.approx(at_once.log_e(margin), abs=1e-9)
        assert in_batches.log_e_below(margin) == pytest.approx(at_once.log_e_below(margin), abs=1e-9)


def test_the_test_for_worse_is_that_for_better_with_the_sign_reversed():
    draws = np.random.default_rng(1).uniform(-1, 0.8, 200)
    assert run_test(draws)[0].log_e_below() == run_test(-draws)[0].log_e()


# Differences of mean 0: some as in comparisons of rewriters, some that are difficult for a test.
NULLS = {
    "noise": lambda rng, n: rng.normal(0, 0.2, n).clip(-1, 1),
    "mostly ties": lambda rng, n: np.where(rng.random(n) < 0.1, rng.uniform(-1, 1, n), 0),
    "all or nothing": lambda rng, n: rng.choice([-1.0, 1.0], n),
    "many small wins, few great losses": lambda rng, n: np.where(rng.random(n) < 1 / 51, -1.0, 0.02),
    "few great wins, many small losses": lambda rng, n: np.where(rng.random(n) < 1 / 51, 1.0, -0.02),
}


@pytest.mark.parametrize("null", NULLS)
def test_false_positives_over_all_stopping_times_are_bounded(null):
    rng = np.random.default_rng(2)
    highest = np.array([run_test(NULLS[null](rng, 1024))[1] for _ in range(400)])
    assert (highest >= THRESHOLD).mean() <= ALPHA


@pytest.mark.parametrize("frequency_exponent", [0.0, 1.0])
def test_the_bound_holds_where_a_batch_repeats_no_query(frequency_exponent):
    queries = [Query(row, str(row), str(row), frequency=1000 / (row + 1)) for row in range(100)]
    stream = QueryStream(queries, seed=0, frequency_exponent=frequency_exponent)
    share = np.bincount([query.row for _ in range(10_000) for query in stream.take(BATCH)]) / (10_000 * BATCH)
    highest = []
    for seed in range(300):
        # Each query has its own difference; on the queries as they are drawn, their mean is 0.
        effect = np.random.default_rng(seed).normal(0, 0.15, len(queries)).clip(-0.8, 0.8)
        effect -= effect @ share
        drawn = [query.row for _ in range(32) for query in stream.take(BATCH)]
        highest.append(run_test(effect[drawn].clip(-1, 1))[1])
    assert (np.array(highest) >= THRESHOLD).mean() <= ALPHA


def test_the_interval_covers_the_mean_at_all_times():
    rng, missed = np.random.default_rng(3), 0
    for _ in range(60):
        test, wrong = PairedTest(), False
        for _ in range(6):
            test.add(rng.normal(0.03, 0.3, BATCH).clip(-1, 1), np.zeros(BATCH))
            low, high = test.interval(ALPHA)
            wrong |= not low <= 0.03 <= high
        missed += wrong
    assert missed / 60 <= 2 * ALPHA


def test_the_interval_and_the_e_values_agree():
    test, _ = run_test(np.random.default_rng(4).normal(0.1, 0.3, 512).clip(-1, 1))
    low, high = test.interval(ALPHA)
    assert -1 < low < test.mean < high < 1
    assert test.log_e(low) == pytest.approx(THRESHOLD, abs=1e-4)
    assert test.log_e_below(high) == pytest.approx(THRESHOLD, abs=1e-4)
    assert PairedTest().interval(ALPHA) == (-1.0, 1.0)


@pytest.mark.parametrize(("effect", "queries"), [(0.02, 1200), (0.05, 300)])
def test_a_true_effect_is_found_within_a_number_of_queries(effect, queries):
    """30 % of the queries differ, with deviation 0.15 over all queries, as of two students of one shop."""
    rng, found = np.random.default_rng(5), 0
    for _ in range(100):
        differs = rng.random(queries) < 0.3
        drawn = np.where(differs, rng.normal(effect / 0.3, 0.27, queries), 0).clip(-1, 1)
        found += run_test(drawn)[1] >= THRESHOLD
    assert found >= 80


def test_missing_pairs_are_left_out_and_counted():
    test = PairedTest()
    test.add([0.5, np.nan, 0.1, 0.2], [0.1, 0.0, np.nan, 0.2])
    assert (len(test), test.missing) == (2, 2)
    assert test.mean == pytest.approx(0.2)
    test.add([np.nan], [np.nan])
    assert (len(test), test.missing) == (2, 3)


def test_a_difference_beyond_the_bound_is_refused():
    with pytest.raises(ConfigError, match="beyond ±1"):
        PairedTest().add([1.0], [-0.5])
    PairedTest(bound=2.0).add([1.0], [-0.5])


def test_a_restored_test_continues_to_the_last_bit():
    rng = np.random.default_rng(6)
    original, _ = run_test(first := rng.uniform(-0.5, 0.6, 96))
    saved, _ = run_test(first)
    restored = PairedTest(**saved.state_dict())
    more = rng.uniform(-0.5, 0.6, 33)
    for test in (original, restored):
        test.add(more, np.zeros(33))
    assert restored.log_e() == original.log_e()
    assert restored.interval(ALPHA) == original.interval(ALPHA)


def test_a_count_equals_repeated_pairs():
    values = np.array([0.0, 0.0, 0.3])
    assert log_wealth(values, 0.1, 1.0) == pytest.approx(log_wealth(np.array([0.0, 0.3]), 0.1, 1.0, [2, 1]))
