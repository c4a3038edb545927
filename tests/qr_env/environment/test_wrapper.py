"""The base wrapper changes nothing: its steps, state and spaces are the wrapped environment's."""

from gymnasium.vector import VectorEnv

from judges.simple.labels import LabelsJudge
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.environment.wrapper import QueryRewriteWrapper
from qr_env.traffic.stream import QueryStream
from tests.helpers.fakes import WordRetriever, tiny_shop

SHOP = tiny_shop()


def environment():
    stream = QueryStream(SHOP.split("train"), seed=0)
    return QueryRewriteVectorEnv(
        SHOP, WordRetriever(SHOP), LabelsJudge(SHOP), num_envs=4, group_size=2, stream=stream, k=5
    )


def test_a_wrapper_of_a_wrapper_steps_as_the_environment_itself():
    plain, inner = environment(), environment()
    wrapped = QueryRewriteWrapper(QueryRewriteWrapper(inner))
    assert isinstance(wrapped, VectorEnv) and wrapped.unwrapped is inner
    assert (wrapped.simulator, wrapped.stream) == (inner.simulator, inner.stream)
    assert (wrapped.group_size, wrapped.num_envs) == (2, 4) and wrapped.action_space is inner.action_space
    assert wrapped.reset(seed=3)[0] == plain.reset(seed=3)[0]
    rewrites = ["red sofa", "", "lamp", "sofa bed"]
    ours, theirs = wrapped.step(rewrites), plain.step(rewrites)
    assert ours[0] == theirs[0] and ours[1].tolist() == theirs[1].tolist()
    assert wrapped.state_dict() == plain.state_dict()


def test_a_state_is_restored_through_the_wrapper():
    env, other = QueryRewriteWrapper(environment()), environment()
    env.reset(seed=1)
    env.step(["sofa"] * 4)
    observation = other.load_state_dict(env.state_dict())
    assert QueryRewriteWrapper(environment()).load_state_dict(other.state_dict()) == observation
