"""The query stream: shape of the traffic, no repeats inside a take, exact resume."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qr_env.common.errors import ConfigError, IndexMismatchError
from qr_env.common.types import Query
from qr_env.traffic.stream import QueryStream, StreamShare, with_zipf


def log(n: int = 50) -> list[Query]:
    """Zipf: the query of rank r is searched 1000 / r times."""
    return [Query(row, f"q{row}", f"text {row}", 1000 / (row + 1)) for row in range(n)]


def test_the_seed_determines_the_traffic() -> None:
    first, same, other = (QueryStream(log(), seed=seed) for seed in (5, 5, 6))
    takes = [[stream.take(7) for _ in range(20)] for stream in (first, same, other)]
    assert takes[0] == takes[1] != takes[2]


def test_traffic_follows_frequency() -> None:
    """One query a take is exact sampling: within five standard deviations of the shares."""
    queries = log(20)
    stream = QueryStream(queries, seed=1)
    counts = Counter(query.row for query in (next(stream) for _ in range(20_000)))
    shares = np.array([query.frequency for query in queries])
    shares /= shares.sum()
    found = np.array([counts[row] for row in range(20)]) / 20_000
    assert np.all(np.abs(found - shares) < 5 * np.sqrt(shares * (1 - shares) / 20_000))


@pytest.mark.parametrize(("frequency_exponent", "ratio"), [(0.0, 1.0), (0.5, 10**0.5), (1.0, 10.0)])
def test_a_frequency_exponent_below_one_flattens_the_traffic(frequency_exponent: float, ratio: float) -> None:
    queries = [Query(0, "a", "a", 100.0), Query(1, "b", "b", 10.0)]
    stream = QueryStream(queries, seed=2, frequency_exponent=frequency_exponent)
    counts = Counter(stream.take(1)[0].id for _ in range(8_000))
    assert counts["a"] / counts["b"] == pytest.approx(ratio, rel=0.15)


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 30), n=st.integers(0, 100), seed=st.integers(0, 2**32))
def test_no_query_twice_in_a_take_and_rounds_beyond_it(size: int, n: int, seed: int) -> None:
    taken = QueryStream(log(size), seed=seed).take(n)
    assert len(taken) == n
    for start in range(0, n, size):
        part = [query.row for query in taken[start : start + size]]
        assert len(set(part)) == len(part)


def test_resume_is_exact() -> None:
    stream = QueryStream(log(), seed=9, frequency_exponent=0.7)
    for n in (1, 64, 13):
        stream.take(n)
    state = json.loads(json.dumps(stream.state_dict()))
    later = [stream.take(n) for n in (5, 120, 1)]
    resumed = QueryStream(log(), seed=0, frequency_exponent=0.7)
    resumed.load_state_dict(state)
    assert resumed.taken == 78
    assert [resumed.take(n) for n in (5, 120, 1)] == later
    assert json.dumps(resumed.state_dict()) == json.dumps(stream.state_dict())


def test_a_state_does_not_follow_the_stream_it_was_taken_from() -> None:
    stream = QueryStream(log(), seed=9)
    state = stream.state_dict()
    frozen = json.dumps(state)
    stream.take(100)
    assert json.dumps(state) == frozen


def test_the_state_of_another_stream_raises() -> None:
    state = QueryStream(log(50)).state_dict()
    for other in (QueryStream(log(49)), QueryStream(log(50), frequency_exponent=0.5)):
        with pytest.raises(IndexMismatchError, match="other queries or frequency_exponent"):
            other.load_state_dict(state)


def test_global_random_state_is_unchanged() -> None:
    np.random.seed(0)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    QueryStream(log(), seed=3).take(100)
    assert np.random.random() == expected  # noqa: NPY002


def test_a_query_of_frequency_0_is_drawn_last() -> None:
    stream = QueryStream([*log(5), Query(5, "never", "never", 0.0)])
    assert all(stream.take(6)[-1].id == "never" for _ in range(50))


def test_invalid_arguments_raise() -> None:
    with pytest.raises(ConfigError, match="no queries"):
        QueryStream([])
    with pytest.raises(ConfigError, match="frequency_exponent -1"):
        QueryStream(log(), frequency_exponent=-1)
    with pytest.raises(ConfigError, match="query 'x' has frequency nan"):
        QueryStream([Query(0, "x", "x", float("nan"))])
    with pytest.raises(ConfigError, match=r"take\(-1\)"):
        QueryStream(log()).take(-1)


def test_sessions_stay_in_their_topic() -> None:
    queries, topics = log(200), [f"topic {row % 10}" for row in range(200)]
    stream = QueryStream(queries, seed=4, sessions=0.5, topics=topics)
    seen: dict[str, list[int]] = {}
    for _ in range(500):
        arrivals = stream.arrivals(16)
        assert len({arrival.query.row for arrival in arrivals}) == 16, "distinct inside a take, continued sessions too"
        for arrival in arrivals:
            seen.setdefault(arrival.session, []).append(arrival.query.row)
    assert all(len({row % 10 for row in rows}) == 1 for rows in seen.values())
    assert all(row != after for rows in seen.values() for row, after in pairwise(rows))
    assert 8_000 / len(seen) == pytest.approx(2.0, rel=0.1), "half of the queries open a session"
    assert [arrival.at for arrival in arrivals] == list(range(7_984, 8_000))


def test_sessions_resume_to_the_byte() -> None:
    stream = QueryStream(log(), seed=4, sessions=0.6)
    stream.take(40)
    state = json.loads(json.dumps(stream.state_dict()))
    later = stream.arrivals(100)
    other = QueryStream(log(), seed=0, sessions=0.6)
    other.load_state_dict(state)
    assert repr(other.arrivals(100)) == repr(later)  # as texts: an unknown time is NaN
    with pytest.raises(IndexMismatchError, match=r"sessions 0\.6, here 0\.0"):
        QueryStream(log()).load_state_dict(state)


def test_the_shares_of_all_processes_make_up_the_complete_stream() -> None:
    single, shares = (
        QueryStream(log(), sessions=0.3),
        [StreamShare(QueryStream(log(), sessions=0.3), n, 3) for n in range(3)],
    )
    for _ in range(5):
        assert [query for share in shares for query in share.take(4)] == single.take(12)
    assert all((share.taken, share.state_dict()) == (60, single.state_dict()) for share in shares)
    share = StreamShare(QueryStream(log(), sessions=0.3), 1, 3)
    share.load_state_dict(single.state_dict())
    assert share.take(4) == shares[1].take(4)
    share.reseed(0)
    assert share.take(4) == QueryStream(log(), sessions=0.3).take(12)[4:8]


def test_one_query_alone_can_have_sessions() -> None:
    assert [query.id for query in QueryStream(log(1), sessions=0.9).take(5)] == ["q0"] * 5


def test_reseed_restarts() -> None:
    stream = QueryStream(log(), seed=1, sessions=0.3)
    first = stream.arrivals(60)
    stream.reseed(2)
    assert stream.taken == 0
    assert repr(stream.arrivals(60)) == repr(QueryStream(log(), seed=2, sessions=0.3).arrivals(60))
    stream.reseed(1)
    assert repr(stream.arrivals(60)) == repr(first)


def test_with_zipf_gives_frequencies_by_rank() -> None:
    queries = with_zipf([Query(row, f"q{row}", f"text {row}") for row in range(1_000)], 1.0, seed=3)
    found = np.sort([query.frequency for query in queries])[::-1]
    np.testing.assert_allclose(found, 1_000 / np.arange(1, 1_001))
    assert queries[0].frequency != 1_000.0 and {query.row for query in queries} == set(range(1_000))
    with pytest.raises(ConfigError, match="Zipf exponent 0"):
        with_zipf(queries, 0)


def test_invalid_sessions_raise() -> None:
    with pytest.raises(ConfigError, match="sessions 1"):
        QueryStream(log(), sessions=1.0)
    with pytest.raises(ConfigError, match="2 topics for 50 queries"):
        QueryStream(log(), topics=["a", "b"])
