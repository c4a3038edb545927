"""Features of queries, and made queries that are distributed as a log's."""

import numpy as np
import pytest

from qr_env.synthetic.likeness import QueryProfiler, raked
from qr_env.synthetic.queries import with_catalogue_queries
from tests.qr_env.synthetic.test_queries import bridging_shop


@pytest.fixture(scope="module")
def profiler():
    return QueryProfiler(bridging_shop())


def test_features_are_length_unknown_words_and_full_matches(profiler):
    texts = ["notebook", "black notebooks", "notebook laptop", "notebook X20 memory", ""]
    assert profiler.features(texts).T.tolist() == [[1, 0, 2], [2, 0, 2], [2, 1, 0], [4, 0, 0], [0, 0, 0]]
    assert profiler.features(["a1 b2 c3 d4 e5 f6 g7 h8 i9 j10"])[0].tolist() == [8]


def test_a_profile_names_the_shares(profiler):
    found = profiler.profile(["notebook", "notebook laptop"])
    assert (found.words, found.unknown, found.unmatched, found.few) == (1.5, 0.5, 0.5, 0.0)
    assert str(found).startswith("1.5 words, 50% with an unknown word, 50% without a full match")
    assert np.isnan(profiler.profile([]).words)


def test_raked_weights_give_every_feature_the_wanted_shares():
    generator = np.random.default_rng(0)
    have_FN, want_FM = generator.integers(0, 3, (3, 2000)), np.minimum(generator.integers(0, 6, (3, 500)), 2)
    weights_N = raked(have_FN, want_FM)
    for code_N, wanted_M in zip(have_FN, want_FM, strict=True):
        shares = np.bincount(code_N, weights_N) / weights_N.sum()
        assert shares == pytest.approx(np.bincount(wanted_M) / len(wanted_M), abs=1e-6)
    assert (raked(np.zeros((3, 4), int), np.ones((3, 2), int)) == 1).all()


def test_made_queries_look_like_the_log(profiler):
    shop = bridging_shop()
    real = ["black notebook", "red desk lamp", "white laptpo", "black headphnes", "notebook 32 gb"] * 20
    plain, alike = (with_catalogue_queries(shop, 150, 0, like) for like in ((), real))
    texts = [made.queries["query"].to_pylist() for made in (plain, alike)]
    assert len(texts[1]) == 150 == len(set(texts[1]))
    wanted, before, after = (profiler.profile(part) for part in (real, *texts))
    for name in ("words", "unknown", "unmatched"):
        distance = [abs(getattr(found, name) - getattr(wanted, name)) for found in (before, after)]
        assert distance[1] <= distance[0], name
    assert abs(after.unknown - wanted.unknown) < 0.1
    assert with_catalogue_queries(shop, 150, 0, real).hash == alike.hash
