"""What the environments refuse (unknown options, bare texts, wrong actions, wrong order of calls), and every mode of
Gymnasium's `make_vec`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, VectorEnv

from judges.simple.labels import LabelsJudge
from qr_env.common.errors import ConfigError
from qr_env.common.types import Query
from qr_env.environment.env import QueryRewriteEnv
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.traffic.stream import QueryStream
from tests.helpers.fakes import WordRetriever, tiny_shop

SHOP = tiny_shop()
PARTS = {"shop": SHOP, "retriever": WordRetriever(SHOP), "judge": LabelsJudge(SHOP)}


def scalar(**settings: Any) -> QueryRewriteEnv:
    return QueryRewriteEnv(**(PARTS | settings))


def batched(num_envs: int = 4, **settings: Any) -> QueryRewriteVectorEnv:
    return QueryRewriteVectorEnv(num_envs=num_envs, **(PARTS | settings))


def make_vec(mode: str, **vector: Any) -> VectorEnv[Any, Any, Any]:
    return gymnasium.make_vec("qr_env:QueryRewrite-v0", 4, vectorization_mode=mode, vector_kwargs=vector, **PARTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"queries": ["lamp"]},
            "unknown reset option 'queries': this is the scalar environment, whose option is 'query'",
        ),
        ({"query": "lamp", "queries": ["lamp"]}, "unknown reset option 'queries'"),
        ({"Query": "lamp"}, "unknown reset option 'Query': this environment has the option 'query' alone"),
        ({"query": ["lamp"]}, r"query=\['lamp'\]: give a text or a Query"),
        ({"query": None}, "query=None: give a text"),
        ({"query": 7}, "query=7: give a text"),
        ({"query": b"lamp"}, "query=b'lamp': give a text"),
        ({"query": " \t"}, "is blank"),
        (["lamp"], "give a dict"),
        ("lamp", "give a dict"),
    ],
)
def test_the_scalar_environment_refuses_other_options(options: Any, message: str) -> None:
    env = scalar()
    env.reset(seed=0)
    before = env.state_dict()
    with pytest.raises(ConfigError, match=message):
        env.reset(options=options)
    assert env.state_dict() == before, "a refused reset changes nothing"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": "lamp"}, "unknown reset option 'query': this is the batched environment, whose option is 'queries'"),
        ({"queries": "lamp"}, "queries='lamp' is one query: give a list"),
        ({"queries": Query(-1, "", "lamp")}, "is one query: give a list"),
        ({"queries": {"lamp", "sofa", "bed", "rug"}}, "give a list with one query a block"),
        ({"queries": {"lamp": 1}}, "give a list"),
        ({"queries": None}, "queries=None: give a list"),
        ({"queries": b"lamp"}, "give a list"),
        ({"queries": ["lamp", "sofa", "bed"]}, "3 queries for 4 blocks"),
        ({"queries": ["lamp", "sofa", 3, "rug"]}, r"queries\[2\]=3: give a text"),
        ({"queries": ["lamp", "sofa", "bed", ""]}, r"queries\[3\]='' is blank"),
        ({"reset_mask": np.ones(4, bool)}, "unknown reset option 'reset_mask'"),
    ],
)
def test_the_batched_environment_refuses_other_options(options: Any, message: str) -> None:
    envs = batched()
    envs.reset(seed=0)
    with pytest.raises(ConfigError, match=message):
        envs.reset(options=options)
    assert envs.reset(seed=0, options={})[0] == batched().reset(seed=0)[0]


@pytest.mark.parametrize("given", [["lamp", "sofa"], ("lamp", "sofa"), np.array(["lamp", "sofa"])])
def test_a_list_of_queries_may_be_a_list_a_tuple_or_an_array(given: Any) -> None:
    assert batched(2).reset(options={"queries": given})[0]["query"] == ("lamp", "sofa")


@pytest.mark.parametrize("action", [None, 7, 1.5, b"sofa", ["sofa"], ("sofa",), {"query": "sofa"}, np.array(["sofa"])])
def test_the_scalar_environment_takes_texts_alone(action: Any) -> None:
    env = scalar()
    env.reset(seed=0)
    with pytest.raises(ConfigError, match="a rewrite must be a text, got "):
        env.step(action)
    assert env.step(np.str_("sofa"))[2], "the episode goes on"


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (None, "expected 4 rewrites"),
        ("sofa", "expected 4 rewrites, a text each, in a list; got 'sofa'"),
        (b"sofa", "expected 4 rewrites"),
        (["sofa"] * 3, "expected 4 rewrites"),
        (["sofa"] * 5, "expected 4 rewrites"),
        ({"sofa": 1, "lamp": 2, "bed": 3, "rug": 4}, "expected 4 rewrites"),
        ({"sofa", "lamp", "bed", "rug"}, "expected 4 rewrites"),
        ((text for text in ["sofa"] * 4), "expected 4 rewrites"),
        (["sofa", None, "lamp", "bed"], "must be a text, got None"),
        (["sofa", b"lamp", "lamp", "bed"], r"must be a text, got b'lamp' \(bytes"),
        (np.arange(4), "must be a text, got "),
        ([["sofa"]] * 4, r"must be a text, got \['sofa'\]"),
    ],
)
def test_the_batched_environment_takes_a_list_of_texts_alone(actions: Any, message: str) -> None:
    envs, other = batched(), batched()
    envs.reset(seed=0), other.reset(seed=0)
    with pytest.raises(ConfigError, match=message):
        envs.step(actions)
    assert envs.step(np.array(["sofa"] * 4))[0] == other.step(("sofa",) * 4)[0], "a refused step draws no queries"


def test_calls_in_the_wrong_order_are_named() -> None:
    for env, action in ((scalar(), "sofa"), (batched(), ["sofa"] * 4)):
        with pytest.raises(ConfigError, match="step before reset: call reset first"):
            env.step(action)
    env = scalar()
    env.reset()
    env.step("sofa")
    with pytest.raises(ConfigError, match="step after the episode's end: call reset first"):
        env.step("sofa")


def test_a_closed_environment_is_named() -> None:
    for env, action in ((scalar(), "sofa"), (batched(), ["sofa"] * 4)):
        env.reset()
        env.close()
        env.close()
        with pytest.raises(ConfigError, match="the environment is closed: make a new one"):
            env.step(action)
        with pytest.raises(ConfigError, match="the environment is closed"):
            env.reset()


@pytest.mark.parametrize("seed", [[], [1, 2], [1, 2, 3, 4, 5]])
def test_seeds_of_a_wrong_number_are_refused(seed: list[int]) -> None:
    with pytest.raises(ConfigError, match=f"{len(seed)} seeds for 4 environments"):
        batched().reset(seed=seed)


def draws(envs: Any, episodes: int = 12) -> list[tuple[str, ...]]:
    """Queries of the sub-environments, one tuple an environment."""
    rounds = [tuple(envs.reset()[0]["query"]) for _ in range(episodes)]
    return list(zip(*rounds, strict=True))


def test_without_a_seed_sub_environments_draw_different_queries() -> None:
    assert len(set(draws(make_vec("sync")))) == 4
    assert len(set(draws(scalar_envs()))) == 4


def scalar_envs() -> VectorEnv[Any, Any, Any]:
    return gymnasium.vector.SyncVectorEnv([scalar] * 4)


def test_the_environments_of_a_mode_refuse_other_options() -> None:
    with pytest.raises(ConfigError, match="this is the scalar environment"):
        make_vec("sync").reset(options={"queries": ["lamp"] * 4})


def test_with_a_seed_draws_repeat_and_differ_between_sub_environments() -> None:
    first, second = make_vec("sync"), make_vec("sync")
    assert first.reset(seed=5)[0]["query"] == second.reset(seed=5)[0]["query"]
    drawn = draws(first)
    assert drawn == draws(second) and len(set(drawn)) == 4
    stream = batched(stream=QueryStream(SHOP.split("train"), seed=3))
    other = batched(stream=QueryStream(SHOP.split("train"), seed=3))
    assert draws(stream) == draws(other), "a given stream keeps its seed"


@pytest.mark.parametrize("shared_memory", [True, False])
@pytest.mark.parametrize("copy", [True, False])
def test_async_environments_show_their_texts(shared_memory: bool, copy: bool) -> None:
    envs, plain = make_vec("async", shared_memory=shared_memory, copy=copy), make_vec("sync")
    assert isinstance(envs, AsyncVectorEnv)
    try:
        expected, _ = plain.reset(seed=0)
        shown, infos = envs.reset(seed=0)
        assert tuple(shown["query"]) == expected["query"] == tuple(infos["query"])
        assert tuple(shown["context"]) == expected["context"] and any(shown["context"])
        envs.step(["sofa"] * 4), plain.step(["sofa"] * 4)
        again, _ = envs.reset(options={"query": "ソファ 赤い"})
        assert tuple(again["query"]) == ("ソファ 赤い",) * 4
        # A copy keeps what it showed; without one, Gymnasium's observations are views of the newest.
        assert (tuple(shown["query"]) == expected["query"]) == (copy or not shared_memory)
        assert len(set(draws(envs))) == 4
    finally:
        envs.close(terminate=True)
