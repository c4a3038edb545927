"""The batched environment: equal to the scalar one, one retrieval and one judge call a step, autoreset, resume."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import scipy.sparse as sp
from gymnasium.vector import AutoresetMode

from judges.shoppers.model import PROFILES, Biases, ModelShopper
from judges.simple.labels import LabelsJudge
from qr_env.common.errors import ConfigError
from qr_env.common.types import EXACT, Grades, Query
from qr_env.environment.env import QueryRewriteEnv
from qr_env.environment.original_results import OriginalResultsCache, bought_outside, excellent_products
from qr_env.environment.simulator import Simulator
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.retrieval.combine import ORIGINAL_WEIGHT
from qr_env.reward.reward import GAIN_ONLY, Reward, Weights
from qr_env.traffic.stream import QueryStream
from tests.helpers.fakes import CountingJudge, CountingShopper, FailingJudge, WordRetriever, tiny_shop

SHOP = tiny_shop()
TRAIN = SHOP.split("train")
REWRITES = ["sofa", "", "refrigerator black", "running shoes", "blue sofa sofa", "3 seater", "zzz"]
WEIGHTS = Weights(increment=0.1, hitrate=0.1, diversity=0.05)


def make(num_envs: int = 4, **settings: Any) -> QueryRewriteVectorEnv:
    settings = {"retriever": WordRetriever(SHOP), "judge": LabelsJudge(SHOP)} | settings
    envs = gymnasium.make_vec("qr_env:QueryRewrite-v0", num_envs=num_envs, shop=SHOP, **settings)
    assert isinstance(envs, QueryRewriteVectorEnv)
    return envs


def test_the_id_gives_the_batched_class_with_autoreset_declared() -> None:
    envs = make(6, group_size=3)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    observations, infos = envs.reset(seed=0)
    assert observations in envs.observation_space
    assert envs.action_space.sample() in envs.action_space
    assert [query.text for query in infos["query"]] == list(observations["query"])
    assert len(set(observations["query"][:3])) == 1 and observations["query"][0] != observations["query"][3]


@pytest.mark.parametrize("combine", ["replace", "expand", "union"])
@pytest.mark.parametrize("max_turns", [1, 3])
def test_scalar_and_vector_paths_give_the_same(combine: str, max_turns: int) -> None:
    settings: dict[str, Any] = {"combine": combine, "max_turns": max_turns, "reward": Reward(WEIGHTS)}
    envs = make(len(TRAIN), **settings)
    scalar = QueryRewriteEnv(SHOP, WordRetriever(SHOP), LabelsJudge(SHOP), **settings)
    generator = np.random.default_rng(1)
    actions_by_turn = [generator.choice(REWRITES, len(TRAIN)).tolist() for _ in range(max_turns)]
    observations, _ = envs.reset(options={"queries": TRAIN})
    steps = [envs.step(actions_N) for actions_N in actions_by_turn]
    for n, query in enumerate(TRAIN):
        first, _ = scalar.reset(options={"query": query})
        assert first == {name: texts[n] for name, texts in observations.items()}
        for t, (_, rewards_N, ended_N, _, infos) in enumerate(steps):
            seen, reward, terminated, _, info = scalar.step(actions_by_turn[t][n])
            assert (reward, terminated) == (rewards_N[n], ended_N[n])
            assert info["reward_terms"].items() <= {k: v[n] for k, v in infos["reward_terms"].items()}.items()
            assert info["hits_after"].tolist() == infos["hits_after"].rows_NK[n].tolist()
            if terminated:
                assert infos["final_obs"][n] == seen


SHOPPING = Weights(click=0.5, cart=1.0, purchase=2.0)


@pytest.mark.parametrize("max_turns", [1, 3])
def test_engagement_is_the_same_in_both_environments(max_turns: int) -> None:
    shopper = CountingShopper(ModelShopper(SHOP, PROFILES, biases=Biases()))
    settings: dict[str, Any] = {"max_turns": max_turns, "reward": Reward(SHOPPING), "shopper": shopper}
    envs, scalar = (
        make(len(TRAIN), **settings),
        QueryRewriteEnv(SHOP, WordRetriever(SHOP), LabelsJudge(SHOP), **settings),
    )
    envs.reset(options={"queries": TRAIN})
    generator = np.random.default_rng(1)
    actions_by_turn = [generator.choice(REWRITES, len(TRAIN)).tolist() for _ in range(max_turns)]
    steps = [envs.step(actions_N) for actions_N in actions_by_turn]
    assert shopper.calls == max_turns, "one call a step"
    for n, query in enumerate(TRAIN):
        scalar.reset(options={"query": query})
        for actions_N, (_, rewards_N, _, _, infos) in zip(actions_by_turn, steps, strict=True):
            _, reward, *_, info = scalar.step(actions_N[n])
            assert reward == rewards_N[n]
            assert {"click", "cart", "purchase"} <= info["reward_terms"].keys() & info["feedback"].keys()
            assert info["feedback"]["purchase"] == infos["feedback"].purchase[n]
            assert reward == 0.0 or actions_N[n] != ""


def test_engagement_of_a_step_is_the_shoppers_for_the_result_lists() -> None:
    shopper = ModelShopper(SHOP)
    envs = make(len(TRAIN), shopper=shopper, combine="replace")
    envs.reset(options={"queries": TRAIN})
    *_, infos = envs.step(["sofa"] * len(TRAIN))
    before, after = (
        shopper.engage(TRAIN, infos[f"hits_{when}"].rows_NK, infos[f"grades_{when}"]) for when in ("before", "after")
    )
    kept_N = infos["feedback"].kept
    change_N = np.where(kept_N, 0, after.some_N3[:, 2] - before.some_N3[:, 2])
    np.testing.assert_array_equal(infos["feedback"].purchase, change_N)
    assert kept_N.tolist() == [query.text == "sofa" for query in TRAIN] and (change_N > 0).any()


def test_a_list_is_shown_to_the_shopper_once() -> None:
    shopper = CountingShopper(ModelShopper(SHOP))
    envs = make(12, group_size=6, shopper=shopper)
    envs.reset(options={"queries": TRAIN[:2]})
    envs.step(["sofa", "sofa", "red", "red", "red", "red"] * 2)
    assert shopper.lists == 2 + 4


def test_without_a_shopper_there_is_no_engagement() -> None:
    envs = make()
    envs.reset(seed=0)
    *_, infos = envs.step(["sofa"] * 4)
    assert infos["feedback"].click is None and "click" not in infos["reward_terms"]
    with pytest.raises(ConfigError, match="need a shopper"):
        make(reward=Reward(SHOPPING))


def test_ungraded_products_make_rewarded_engagement_nan_never_zero() -> None:
    envs = make(judge=FailingJudge(), shopper=ModelShopper(SHOP), reward=Reward(SHOPPING))
    envs.reset(options={"queries": TRAIN[:4]})
    _, rewards_N, *_, infos = envs.step(["refrigerator", "sofa", "", "running shoes"])
    assert np.isnan(rewards_N[[0, 1, 3]]).all() and rewards_N[2] == 0.0
    assert np.isnan(infos["feedback"].purchase).tolist() == [True, True, False, True]


def test_the_optimal_policy_scores_one_through_autoreset() -> None:
    unknown = [query for query in TRAIN if query.id in ("q01", "q03", "q05", "q06")]
    for combine in ("replace", "expand", "union"):
        stream = QueryStream(unknown, seed=0)
        envs = make(8, group_size=2, combine=combine, stream=stream, reward=Reward(GAIN_ONLY), k=10)
        _, infos = envs.reset(seed=0)
        for _ in range(5):
            now = infos.get("next_query", infos["query"])
            _, rewards_N, ended_N, truncated_N, infos = envs.step([SHOP.oracle[query.id] for query in now])
            np.testing.assert_array_equal(rewards_N, np.ones(8))
            assert ended_N.all() and not truncated_N.any()
            assert infos["query"] == now


@pytest.mark.parametrize("combine", ["replace", "expand", "union"])
@pytest.mark.parametrize("max_turns", [1, 2])
def test_one_retrieval_and_one_judge_call_a_step(combine: str, max_turns: int) -> None:
    retriever, judge = WordRetriever(SHOP), CountingJudge(LabelsJudge(SHOP))
    envs = make(4, group_size=2, retriever=retriever, judge=judge, combine=combine, max_turns=max_turns)
    envs.reset(seed=0)
    assert (retriever.calls, judge.calls) == (1, 1)
    for step in range(1, 9):
        envs.step([f"sofa {step}", "refrigerator", f"shoes {step}", "running"])
        assert (retriever.calls, judge.calls) == (1 + step, 1 + step)


def test_cached_queries_and_equal_rewrites_need_no_calls() -> None:
    retriever, judge = WordRetriever(SHOP), CountingJudge(LabelsJudge(SHOP))
    envs = make(8, group_size=8, retriever=retriever, judge=judge, stream=QueryStream(TRAIN[1:2]))
    envs.reset(seed=0)
    envs.step(["sofa"] * 5 + ["", "couch", "COUCH"])
    assert retriever.texts == [["couch"], [(("couch", ORIGINAL_WEIGHT), ("sofa", 1.0))]]
    envs.step(["couch"] * 8)
    assert retriever.calls == judge.calls == 2, "all kept and the next query cached: no call"


def test_final_infos_follow_gymnasium() -> None:
    envs = make(3)
    envs.reset(seed=0)
    observations, *_, infos = envs.step(["sofa"] * 3)
    assert infos["_final_obs"].all() and infos["_final_info"].all()
    assert [final["query"] for final in infos["final_obs"]] == [query.text for query in infos["query"]]
    assert list(observations["query"]) == [query.text for query in infos["next_query"]]
    assert infos["final_info"]["hits_after"] is infos["hits_after"]
    longer = make(3, max_turns=2)
    longer.reset(seed=0)
    observations, *_, infos = longer.step(["sofa"] * 3)
    assert "final_obs" not in infos and "next_query" not in infos
    assert all(context.startswith("Lindholm sofa") for context in observations["context"])


def test_a_failed_judge_is_nan_never_zero_and_kept_is_still_zero() -> None:
    envs = make(4, judge=FailingJudge(), max_turns=2)
    envs.reset(options={"queries": [TRAIN[0]] * 4})
    _, rewards_N, *_ = envs.step(["couch", "", "sofa red", "SOFA"])
    assert np.isnan(rewards_N).tolist() == [True, False, True, False] and rewards_N[1] == rewards_N[3] == 0


class SometimesJudge:
    """Fails at the calls with these numbers, else grades by the labels."""

    name = "sometimes"

    def __init__(self, fails: set[int]) -> None:
        self.fails, self.calls, self.inner = fails, 0, LabelsJudge(SHOP)

    def grade(self, queries: list[Query], rows_NK: np.ndarray) -> Grades:
        self.calls += 1
        return (FailingJudge() if self.calls in self.fails else self.inner).grade(queries, rows_NK)


def test_after_a_missing_turn_the_next_is_measured_from_the_last_known() -> None:
    envs = make(1, judge=SometimesJudge({3}), max_turns=3, combine="replace", reward=Reward(GAIN_ONLY))
    envs.reset(options={"queries": [TRAIN[1]]})
    rewards = [float(envs.step([rewrite])[1][0]) for rewrite in ("red sofa", "sofa 3", "refrigerator")]
    assert rewards[0] == 1.0 and np.isnan(rewards[1]) and rewards[2] == -1.0


def test_a_missing_verdict_of_the_original_is_requested_again() -> None:
    envs = make(1, judge=SometimesJudge({1}), stream=QueryStream(TRAIN[:1]), combine="replace")
    envs.reset(seed=0)
    assert np.isnan(envs.step(["refrigerator"])[1][0])
    assert envs.step(["refrigerator"])[1][0] < 0


@pytest.mark.parametrize("max_turns", [1, 3])
def test_resume_is_exact(max_turns: int) -> None:
    generator = np.random.default_rng(0)
    actions = [generator.choice(REWRITES, 6).tolist() for _ in range(9)]
    envs, other = make(6, group_size=2, max_turns=max_turns), make(6, group_size=2, max_turns=max_turns)
    envs.reset(seed=4)
    for step in actions[:4]:
        envs.step(step)
    state = json.loads(json.dumps(envs.state_dict()))
    expected = [envs.step(step)[:2] for step in actions[4:]]
    assert other.load_state_dict(state)["query"] == tuple(
        query["text"] for query in state["simulator"]["queries"] for _ in "ab"
    )
    for step, (observations, rewards_N) in zip(actions[4:], expected, strict=True):
        again = other.step(step)
        assert again[0] == observations
        np.testing.assert_array_equal(again[1], rewards_N)


def test_the_cache_evicts_the_least_recently_used_query() -> None:
    retriever = WordRetriever(SHOP)
    cache = OriginalResultsCache(SHOP, k=5, capacity=2)
    for name in "abac":
        query = Query(-1, name, name)
        for missing in cache.missing([query]):
            hits = retriever.search([missing.text], 5)
            rows = cache.rows_to_grade([missing], hits)
            cache.add([missing], hits, Grades(np.zeros((*rows.shape, 4), np.float32)))
    assert [slot >= 0 for slot in cache.slots([Query(-1, name, name) for name in "abc"])] == [True, False, True]


def test_products_bought_outside_search_and_excellent_products() -> None:
    rows_PM = bought_outside(SHOP)
    assert rows_PM.shape == (12, 1) and rows_PM[1, 0] == 1 and rows_PM[2, 0] == -1
    excellent_C = excellent_products(SHOP)
    assert excellent_C is not None and excellent_C.all()


def test_training_uses_excellent_products_of_train_queries_only() -> None:
    """Labels and purchases of held-out queries must not decide a reward."""
    levels, train = SHOP.qrels.tolil(copy=True), [query.row for query in TRAIN]
    levels[train] = 0
    levels[train[1], 4] = EXACT + 1
    bought = SHOP.purchases.filter(np.isin(SHOP.purchases["query_id"].to_pylist(), ["q02", "q07"]))  # train, dev
    shop = replace(SHOP, qrels=levels.tocsr(), purchases=bought)
    learning, of_all_splits = excellent_products(shop, "train"), excellent_products(shop)
    assert learning is not None and of_all_splits is not None
    assert np.flatnonzero(learning).tolist() == [0, 4] and of_all_splits.sum() > 10
    engine, judge = WordRetriever(shop), LabelsJudge(shop)
    np.testing.assert_array_equal(Simulator(shop, engine, judge, Reward()).excellent_C, learning)
    assert excellent_products(replace(shop, purchases=bought.slice(0, 0)), "dev") is not None
    assert (
        excellent_products(replace(SHOP, qrels=sp.csr_matrix((12, 30), dtype=np.int8), purchases=bought), "test")
        is None
    )


def test_the_callers_stream_is_reseeded_in_place() -> None:
    stream = QueryStream(TRAIN, seed=9)
    envs = make(2, stream=stream)
    envs.reset(seed=0)
    assert envs.stream is stream and stream.taken == 2


def test_impossible_batches_are_refused() -> None:
    with pytest.raises(ConfigError, match="group_size=3"):
        make(4, group_size=3)
    envs = make(4)
    envs.reset(seed=0)
    with pytest.raises(ConfigError, match="expected 4 rewrites"):
        envs.step(["sofa"])
    with pytest.raises(ConfigError, match="expected 4 rewrites"):
        envs.step("sofa")
    with pytest.raises(ConfigError, match="1 queries for 4 blocks"):
        envs.reset(options={"queries": ["sofa"]})
