"""The brute-force check counts planted errors of each kind, and refuses settings that it cannot check."""

import numpy as np
import pytest

from judges.simple.labels import LabelsJudge
from qr_env.common.errors import ConfigError
from qr_env.common.types import Hits
from qr_env.environment.brute_force_check import ERRORS, BruteForceCheck, BruteForceScores
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.live_catalogue import Assortment, LiveRetriever
from qr_env.shop.generated.generate import generate
from qr_env.traffic.stream import QueryStream

SHOP = generate(seed=2, n_products=4_000, n_queries=1_500)
ENGINE = BM25.build(SHOP)


def test_planted_errors_are_counted():
    engine, on_sale_C = ENGINE, np.ones(4_000, np.bool_)
    texts = [query.text for query in SHOP.split("train")[:50]]
    hits, truth = engine.search(texts, 10), BruteForceScores(engine)
    assert truth.compare(texts, hits, on_sale_C).tolist()[1:] == [0, 0, 0]
    rows_NK, scores_NK = hits.rows_NK.copy(), hits.scores_NK.copy()
    rows_NK[0, 0] = 3_999 if rows_NK[0, 0] != 3_999 else 3_998
    rows_NK[1, 9], scores_NK[1, 9] = -1, -np.inf
    rows_NK[2, 1] = rows_NK[2, 0]
    _, not_on_sale, wrong, missing = truth.compare(texts, Hits(rows_NK, scores_NK), on_sale_C).tolist()
    assert not_on_sale == 0 and wrong >= 2 and missing == 1
    without_C = on_sale_C.copy()
    without_C[hits.rows_NK[3, 0]] = False
    assert truth.compare(texts[3:4], hits[3:4], without_C).tolist()[1] == 1


def environment(retriever, **settings):
    parts = SHOP, retriever, LabelsJudge(SHOP)
    return QueryRewriteVectorEnv(*parts, num_envs=16, group_size=4, stream=QueryStream(SHOP.split("train")), **settings)


@pytest.mark.parametrize("settings", [{}, {"original_weight": 2.0}, {"combine": "replace"}])
def test_every_list_is_counted_and_none_is_wrong(settings):
    assortment = Assortment(4_000)
    envs = BruteForceCheck(environment(LiveRetriever(ENGINE, assortment), **settings))
    envs.reset(seed=0)
    envs.step(["sofa", "", "red chair", "no such word"] * 4)
    assortment.swap(remove=range(400))
    envs.step(["sofa"] * 16)  # these episodes began before the swap
    envs.step(["lamp"] * 16)
    assert envs.counts["lists"] == 3 * (4 + 16) and envs.counts["results"] > 100
    assert envs.counts["epochs"] == 2 and envs.counts["replaced"] == 400
    assert not any(envs.counts[name] for name in ERRORS)


def test_a_resumed_environment_continues_the_counts():
    assortment = Assortment(4_000)
    envs = BruteForceCheck(environment(LiveRetriever(ENGINE, assortment)))
    envs.reset(seed=0)
    envs.step(["sofa"] * 16)
    state = envs.state_dict()
    other = BruteForceCheck(environment(LiveRetriever(ENGINE, assortment)))
    other.load_state_dict(state)
    assert other.counts == envs.counts
    for one in (envs, other):
        one.step(["lamp"] * 16)
    assert other.counts == envs.counts and envs.counts["epochs"] == 1


@pytest.mark.parametrize("settings", [{"combine": "union"}, {"max_turns": 2}])
def test_lists_of_several_searches_are_refused(settings):
    with pytest.raises(ConfigError, match="leave check_hits out"):
        BruteForceCheck(environment(ENGINE, **settings))


def test_engines_other_than_bm25_are_refused():
    class Other:
        name = "dense"
        search = staticmethod(ENGINE.search)

    with pytest.raises(ConfigError, match="retriever dense: only bm25 can be checked"):
        BruteForceCheck(environment(Other()))
