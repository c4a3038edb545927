"""The verdict store: exact to the bit, the first verdict stays, fast, safe to pickle and to fork."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from judges.verdict_store.index import digests, pair_keys
from judges.verdict_store.store import VerdictStore
from qr_env.common.errors import StoreError
from tests.helpers.fake_verdicts import JUDGE, keys, text_pairs, verdicts


def test_verdicts_come_back_to_the_bit_and_missing_ones_are_not_stored(tmp_path: Path) -> None:
    pairs = [*text_pairs(50), ("", ""), ("nul \0", "lone \ud800"), ("röd", "soffa")]
    probs = verdicts(pairs)
    probs[3], probs[4, 2] = np.nan, np.nan
    with VerdictStore(tmp_path) as store:
        assert np.isnan(store.get(JUDGE, keys(pairs))).all()
        store.put(JUDGE, pairs, probs)
    with VerdictStore(tmp_path / "verdicts.sqlite") as store:
        got = store.get(JUDGE, keys(pairs))
        known = np.delete(np.arange(len(pairs)), [3, 4])
        assert got[known].tobytes() == probs[known].tobytes() and got.dtype == np.float32
        assert np.isnan(got[[3, 4]]).all()
        assert np.isnan(store.get("fake@2", keys(pairs))).all(), "another judge's verdicts are its own"
        assert np.isnan(store.get(JUDGE, keys([(product, query) for query, product in pairs[:3]]))).all()
        assert store.get(JUDGE, keys([])).shape == (0, 4)
        assert store.stats() | {"asked": 109, "hits": 51, "hit_rate": 51 / 109} == store.stats()


def test_usage_is_counted_from_the_first_look_up_and_written_without_close(tmp_path: Path) -> None:
    pairs = text_pairs(6)
    code = """
    import sys
    from tests.judges.verdict_store.test_store import JUDGE, VerdictStore, keys, text_pairs, verdicts
    store, pairs = VerdictStore(sys.argv[1]), text_pairs(6)
    store.get(JUDGE, keys(pairs))  # the store does not know the judge yet
    store.put(JUDGE, pairs, verdicts(pairs))
    store.get(JUDGE, keys(pairs[:4]))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], check=True)
    with VerdictStore(tmp_path, read_only=True) as store:
        judge = store.judges()[0]
        assert (judge["asked"], judge["hits"], judge["verdicts"]) == (10, 4, len(pairs))


def test_the_first_verdict_stays_and_put_returns_it(tmp_path: Path) -> None:
    pairs = text_pairs(20)
    with VerdictStore(tmp_path) as first, VerdictStore(tmp_path) as second:
        first.put(JUDGE, pairs[:12], verdicts(pairs[:12]))
        later = verdicts(pairs, "later")
        kept = second.put(JUDGE, pairs, later)
        assert kept[:12].tobytes() == verdicts(pairs[:12]).tobytes() and kept[12:].tobytes() == later[12:].tobytes()
        for store in (first, second):
            assert store.get(JUDGE, keys(pairs)).tobytes() == kept.tobytes()


def test_two_handles_agree_with_a_dictionary(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    universe = [(f"q{q}", f"p{p}") for q in range(30) for p in range(30)]
    model: dict[tuple[str, str, str], bytes] = {}
    with VerdictStore(tmp_path) as a, VerdictStore(tmp_path) as b:
        for turn in range(80):
            store, judge = (a, b)[turn % 2], ("j1", "j2")[generator.integers(2)]
            pairs = [universe[n] for n in generator.integers(len(universe), size=40)]
            distinct = list(dict.fromkeys(pairs))
            probs = verdicts(distinct, str(turn))
            store.put(judge, distinct, probs)
            for pair, row in zip(distinct, probs, strict=True):
                model.setdefault((judge, *pair), row.tobytes())
            asked = [universe[n] for n in generator.integers(len(universe), size=60)]
            got = store.get(judge, keys(asked))
            for pair, row in zip(asked, got, strict=True):
                expected = model.get((judge, *pair))
                assert np.isnan(row).all() if expected is None else row.tobytes() == expected


def test_a_batch_costs_less_than_five_microseconds_a_pair(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    queries, products = [f"query {n}" for n in range(2_000)], [f"product {n}" for n in range(1_000)]
    chosen = generator.choice(len(queries) * len(products), size=25_000, replace=False)
    pairs = [(queries[n // 1_000], products[n % 1_000]) for n in chosen.tolist()]
    query_digests, product_digests = digests(queries), digests(products)
    with VerdictStore(tmp_path) as store:
        store.put(JUDGE, pairs, verdicts(pairs))
        times = []
        for _ in range(8):
            wanted = generator.choice(chosen, size=25_000)
            start = time.process_time()
            got = store.get(JUDGE, pair_keys(query_digests[wanted // 1_000], product_digests[wanted % 1_000]))
            times.append((time.process_time() - start) / len(wanted))
            assert not np.isnan(got).any()
    assert min(times) < 5e-6, f"{1 / min(times):,.0f} look-ups/s of processor time"


def test_pickled_and_forked_stores_open_the_file_again(tmp_path: Path) -> None:
    pairs = text_pairs(3)
    with VerdictStore(tmp_path) as store:
        store.put(JUDGE, pairs, verdicts(pairs))
        with pickle.loads(pickle.dumps(store)) as copy:
            assert copy.get(JUDGE, keys(pairs)).tobytes() == verdicts(pairs).tobytes()
    code = """
import os, sys
from tests.judges.verdict_store.test_store import JUDGE, VerdictStore, keys, text_pairs, verdicts
store, pairs = VerdictStore(sys.argv[1]), text_pairs(9)
assert store.get(JUDGE, keys(pairs))[:3].tobytes() == verdicts(pairs[:3]).tobytes()
if not (child := os.fork()):
    store.put(JUDGE, pairs[3:6], verdicts(pairs[3:6]))
    os._exit(0)
store.put(JUDGE, pairs[6:], verdicts(pairs[6:]))
assert os.waitpid(child, 0)[1] == 0
assert store.get(JUDGE, keys(pairs)).tobytes() == verdicts(pairs).tobytes()
store.close()
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_a_closed_store_raises(tmp_path: Path) -> None:
    store = VerdictStore(tmp_path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.get(JUDGE, keys(text_pairs(1)))
