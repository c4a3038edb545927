"""The scalar environment: Gymnasium's own checks, seeded equality, several turns, odd texts."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from judges.simple.labels import LabelsJudge
from qr_env.common import plugins
from qr_env.common.errors import ConfigError
from qr_env.common.types import Query
from qr_env.environment.env import QueryRewriteEnv
from qr_env.reward.reward import GAIN_ONLY, Reward
from qr_env.shop.load import load_shop
from qr_env.shop.shop import Shop
from tests.helpers.fakes import FailingJudge, WordRetriever, tiny_shop

SHOP = tiny_shop()
HEADINGS = (
    *("Description", "Action Space", "Observation Space", "Starting State", "Rewards"),
    *("Episode End", "Information", "Arguments", "Version History"),
)


def make(**settings: Any) -> QueryRewriteEnv:
    settings = {"retriever": WordRetriever(SHOP), "judge": LabelsJudge(SHOP)} | settings
    env = gymnasium.make("qr_env:QueryRewrite-v0", shop=SHOP, **settings).unwrapped
    assert isinstance(env, QueryRewriteEnv)
    return env


@pytest.mark.parametrize("combine", ["replace", "expand", "union"])
@pytest.mark.parametrize("max_turns", [1, 3])
def test_check_env_is_clean(combine: str, max_turns: int) -> None:
    check_env(make(combine=combine, max_turns=max_turns))


def test_docstring_is_the_specification() -> None:
    at = [(QueryRewriteEnv.__doc__ or "").index(f"## {heading}\n") for heading in HEADINGS]
    assert at == sorted(at)


def transcript(env: QueryRewriteEnv, seed: int) -> bytes:
    generator = np.random.default_rng(seed)
    lines: list[Any] = []
    for episode in range(20):
        lines.append(env.reset(seed=seed if episode == 0 else None))
        done = False
        while not done:
            *line, done, _, info = env.step(generator.choice(["sofa", "red sofa", "", "refrigerator black"]))
            lines.append((line, info))
    return json.dumps(lines, default=np.ndarray.tolist).encode()


@pytest.mark.parametrize("max_turns", [1, 3])
def test_seeded_runs_are_equal_to_the_byte(max_turns: int) -> None:
    assert transcript(make(max_turns=max_turns), 5) == transcript(make(max_turns=max_turns), 5)
    assert transcript(make(max_turns=max_turns), 5) != transcript(make(max_turns=max_turns), 6)


def test_one_turn_is_rewarded_with_the_gain_and_ends() -> None:
    env = make()
    observation, info = env.reset(options={"query": SHOP.all_queries[1]})
    assert observation == {"query": "couch", "context": ""} and info["query_id"] == "q01"
    observation, reward, terminated, truncated, info = env.step("sofa")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["ids_after"] == [f"p{row:02d}" for row in range(10)] and info["ids_before"] == []
    assert observation["context"].startswith("Lindholm sofa red 3 seater fabric | Lindholm sofa blue")
    assert sum(info["reward_terms"].values()) == reward
    with pytest.raises(ConfigError, match="call reset first"):
        env.step("sofa")


@pytest.mark.parametrize("combine", ["replace", "expand", "union"])
@pytest.mark.parametrize("keep", ["", " RED  sofa "])
def test_keeping_the_original_earns_exactly_zero(combine: str, keep: str) -> None:
    env = make(combine=combine, max_turns=2)
    env.reset(options={"query": SHOP.all_queries[2]})
    *_, info = _, reward, *_ = env.step(keep)
    assert reward == 0.0 and set(info["reward_terms"].values()) == {0.0}
    np.testing.assert_array_equal(info["hits_before"], info["hits_after"])


def test_turns_add_up_to_the_reward_of_the_last_rewrite() -> None:
    rewrites = ["sofa", "refrigerator", "", "blue sofa please deliver it to my living room"]
    env = make(max_turns=4, combine="replace")
    env.reset(options={"query": SHOP.all_queries[4]})
    steps = [env.step(rewrite) for rewrite in rewrites]
    rewards = [step[1] for step in steps]
    assert [step[2] for step in steps] == [False, False, False, True]
    assert rewards[1] < 0 and rewards[2] == 0.0
    assert steps[1][0] == steps[2][0], "keeping leaves the observation unchanged"
    alone = make(combine="replace")
    alone.reset(options={"query": SHOP.all_queries[4]})
    assert sum(rewards) == pytest.approx(alone.step(rewrites[-1])[1], abs=1e-6)
    assert steps[0][0]["context"].startswith("Lindholm sofa red")


def test_a_failed_judge_is_nan_never_zero() -> None:
    env = make(judge=FailingJudge())
    env.reset(options={"query": SHOP.all_queries[0]})
    assert np.isnan(env.step("couch")[1])


def test_unknown_free_text_has_no_labels() -> None:
    env = make()
    _, info = env.reset(options={"query": "sofa bed"})
    assert info["query_id"] == "" and np.isnan(info["grades_before"]).all()
    assert np.isnan(env.step("sofa")[1])


@pytest.mark.parametrize(
    "text", ["ソファ 赤い", "sofa\x00\x1b[31m", "🛋️ sofa", "sofa " * 3000, "canapé\u00a0rouge", "\ud800"]
)
def test_odd_texts_stay_inside_the_observation_space(text: str) -> None:
    env = make(max_turns=2)
    observation, info = env.reset(options={"query": Query(-1, "x", text)})
    assert observation in env.observation_space and info["query"] == text
    assert env.step(text + " red")[0] in env.observation_space


def test_state_is_restored_in_the_middle_of_an_episode() -> None:
    env, other = make(max_turns=3), make(max_turns=3)
    env.reset(seed=3)
    env.step("sofa")
    state = json.loads(json.dumps(env.state_dict()))
    expected = [env.step("red sofa")[:3], env.step("running shoes")[:3], env.reset()[0]]
    other.load_state_dict(state)
    assert [other.step("red sofa")[:3], other.step("running shoes")[:3], other.reset()[0]] == expected


def test_reset_without_a_seed_continues_the_stream() -> None:
    env = make(reward=Reward(GAIN_ONLY))
    drawn = [env.reset(seed=1)[1]["query_id"], *(env.reset()[1]["query_id"] for _ in range(30))]
    assert len(set(drawn)) > 3
    assert {SHOP.all_queries[int(name[1:])].split for name in drawn} == {"train"}


@pytest.mark.parametrize("settings", [{"combine": "mix"}, {"max_turns": 0}, {"k": 0}, {"original_weight": -1.0}])
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(settings.values())))):
        make(**settings)


def test_an_action_must_be_text() -> None:
    env = make()
    env.reset()
    with pytest.raises(ConfigError, match="must be a text, got 7"):
        env.step(7)  # type: ignore[arg-type]


def build_labels(shop: Shop, argument: str, options: object = None) -> LabelsJudge:
    """Object of a fake entry point."""
    assert (argument, options) == ("", None)
    return LabelsJudge(shop)


@pytest.fixture
def judge_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of judges, whether or not the package is installed."""
    points = [EntryPoint(name, f"{__name__}:build_labels", "qr_env.judges") for name in ("auto", "labels")]

    def entry_points(**wanted: Any) -> EntryPoints:
        return EntryPoints(points).select(**wanted)

    monkeypatch.setattr(plugins, "entry_points", entry_points)


@pytest.mark.usefixtures("judge_entry_points")
def test_the_environment_is_created_from_names_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QR_CACHE", str(tmp_path))
    env = gymnasium.make("qr_env:QueryRewrite-v0", shop="generated").unwrapped
    assert isinstance(env, QueryRewriteEnv)
    assert env.shop.hash == load_shop("generated").hash
    assert (env.simulator.source.name, env.simulator.judge.name, env.simulator.reward) == ("bm25", "labels", Reward())
    _, info = env.reset(seed=0)
    assert np.isfinite(info["grades_before"][info["hits_before"] >= 0]).all()
    envs = gymnasium.make_vec("qr_env:QueryRewrite-v0", num_envs=64, shop="generated", judge="labels", reward="gain")
    assert len(envs.reset(seed=0)[0]["query"]) == 64
    assert envs.step([""] * 64)[1].tolist() == [0.0] * 64


@pytest.mark.usefixtures("judge_entry_points")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"judge": "oracle"},
            "no 'oracle' among qr_env.judges: choose one of auto, labels; another package can register",
        ),
        (
            {"judge": LabelsJudge(SHOP), "reward": "money"},
            "no 'money' among qr_env.rewards: choose one of default, gain",
        ),
        ({"judge": LabelsJudge(SHOP), "retriever": "lucene"}, "no 'lucene' among qr_env.retrievers"),
    ],
)
def test_unknown_names_list_the_known_ones(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QueryRewriteEnv(SHOP, **{"retriever": WordRetriever(SHOP), **settings})


def test_the_installed_package_registers_its_judges() -> None:
    names = plugins.plugin_names("qr_env.judges")
    simple = {"auto", "labels", "blend", "embedding", "coverage", "ensemble", "pessimistic"}
    assert simple | {"llm", "cross-encoder", "replay"} <= set(names)
    assert all(callable(plugins.load_plugin("qr_env.judges", name)) for name in names)
