"""`QueryRewrite-v0` for N queries at once: one retrieval call and one judge call a step, next queries included.

envs = gymnasium.make_vec("qr_env:QueryRewrite-v0", num_envs=64, group_size=8, shop="generated")
observations, infos = envs.reset(seed=0)
while learning:
    rewrites = policy(observations["query"], observations["context"])       # 64 texts
    observations, rewards_N, terminations_N, truncations_N, infos = envs.step(rewrites)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Dict, Text, Tuple
from gymnasium.vector import AutoresetMode, VectorEnv

from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Judge, Retriever, Shopper, Stream
from qr_env.common.types import Query
from qr_env.environment.arguments import first_seed, given_queries
from qr_env.environment.by_name import open_judge, open_retriever, open_reward, open_shop
from qr_env.environment.env import default_stream, reseed
from qr_env.environment.original_results import CONTEXT_CHARS, QUERY_CHARS
from qr_env.environment.simulator import Observation, Simulator, Step
from qr_env.environment.spaces import text_space
from qr_env.retrieval.combine import ORIGINAL_WEIGHT
from qr_env.reward.reward import RewardFunction
from qr_env.shop.shop import Shop

BoolArray = npt.NDArray[np.bool_]
StepResult = tuple[Observation, npt.NDArray[np.float64], BoolArray, BoolArray, dict[str, Any]]


class QueryRewriteVectorEnv(VectorEnv[Observation, Sequence[str], np.ndarray]):
    """`QueryRewriteEnv` (see its docstring), N at a time. Differences:

    - Neighbours in blocks of `group_size` work on the same query, as GRPO needs it; num_envs is a multiple of it.
    - Observations are a dict of N-tuples of texts; actions are N texts in any sequence.
    - Autoreset is SAME_STEP: where episodes end (all at once), the observation that `step` returns shows the NEXT
      queries. The next queries are searched and graded in the same two calls as the rewrites.
    - `infos` of a step holds what the step did, batched: `query` (list of N `Query`), `hits_before`, `hits_after`
      (`Hits`), `grades_before`, `grades_after` (`Grades`), `reward_terms` (dict of (N,) arrays, "total" among them),
      `feedback` (`Feedback`), and, where episodes ended, `next_query` (the N queries of the observation) with
      Gymnasium's `final_obs` (N observations, made when first read), `final_info` (the step's infos again) and their
      masks. `infos` of a reset holds `query`, `hits_before`, `grades_before`.
    - `reset(options={"queries": […]})` starts on given queries, one a block.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self,
        shop: Shop | str,
        retriever: Retriever | str = "bm25",
        judge: Judge | str = "auto",
        reward: RewardFunction | str = "default",
        num_envs: int = 1,
        group_size: int = 1,
        stream: Stream | None = None,
        max_turns: int = 1,
        combine: str = "expand",
        k: int = 10,
        original_weight: float = ORIGINAL_WEIGHT,
        shopper: Shopper | None = None,
    ) -> None:
        if num_envs < 1 or group_size < 1 or num_envs % group_size:
            raise ConfigError(
                f"num_envs={num_envs}, group_size={group_size}: num_envs must be a multiple of group_size"
            )
        shop = open_shop(shop)
        self.simulator = Simulator(
            shop,
            open_retriever(retriever, shop),
            open_judge(judge, shop),
            open_reward(reward),
            blocks=num_envs // group_size,
            group_size=group_size,
            max_turns=max_turns,
            mode=combine,
            k=k,
            original_weight=original_weight,
            shopper=shopper,
        )
        self.num_envs, self.group_size = num_envs, group_size
        self.stream: Stream = stream or default_stream(shop)
        self._set_spaces()

    def _set_spaces(self) -> None:
        """All N share the space objects: Gymnasium's batching would copy their 60,000 characters N times."""
        query, context, rewrite = text_space(QUERY_CHARS), text_space(CONTEXT_CHARS), text_space(QUERY_CHARS)
        self.single_observation_space = Dict({"query": query, "context": context})
        self.single_action_space = rewrite
        self.observation_space = Dict({"query": self._batched(query), "context": self._batched(context)})
        self.action_space = self._batched(rewrite)

    def _batched(self, space: Text) -> Tuple:
        return Tuple([space] * self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start on the next queries of the stream, or on `options["queries"]`; other options raise ConfigError.

        There is one stream: of a list of seeds only the first is used.
        """
        self._check_open()
        given, first = given_queries(options), first_seed(seed, self.num_envs)
        super().reset(seed=first)
        reseed(self.stream, first)
        self.simulator.reset(self._draw() if given is None else given)
        hits, grades = self.simulator.before()
        infos = {"query": self.simulator.queries_N, "hits_before": hits, "grades_before": grades}
        return self.simulator.observe(), infos

    def step(self, actions: Sequence[str]) -> StepResult:
        """Search, grade and reward N rewrites. Raises ConfigError for a wrong number, or a rewrite that is no text."""
        self._check_open()
        last = self.simulator.turn + 1 >= self.simulator.max_turns
        self.simulator.check_actions(actions)  # before queries are drawn, so that a refused step changes nothing
        step = self.simulator.step(actions, self._draw() if last else None)
        infos = _infos(step)
        if step.done:
            infos |= self._final(step, infos)
        observation = self.simulator.observe() if step.done else step.observation
        return observation, step.rewards_N, np.full(self.num_envs, step.done), np.zeros(self.num_envs, np.bool_), infos

    def _check_open(self) -> None:
        if self.closed:
            raise ConfigError("the environment is closed: make a new one")

    def _draw(self) -> list[Query]:
        return self.stream.take(self.simulator.blocks)

    def _final(self, step: Step, infos: dict[str, Any]) -> dict[str, Any]:
        """Infos of ended episodes by Gymnasium's SAME_STEP convention, and the queries that follow."""
        ended = np.ones(self.num_envs, np.bool_)
        final = {"final_obs": FinalObs(step), "_final_obs": ended, "final_info": dict(infos), "_final_info": ended}
        return final | {"next_query": self.simulator.queries_N}

    def state_dict(self) -> dict[str, Any]:
        """Stream position, queries and the rewrites of this episode, as JSON values: for an exact resume."""
        return {"stream": self.stream.state_dict(), "simulator": self.simulator.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> Observation:
        """Continue exactly where `state` was taken; returns the observation at that point."""
        self.stream.load_state_dict(state["stream"])  # first: the assortment may depend on the stream's position
        self.simulator.load_state_dict(state["simulator"])
        return self.simulator.observe()


class FinalObs:
    """Gymnasium's array of the N last observations, computed when first read: one-turn training never reads it."""

    def __init__(self, step: Step) -> None:
        self._step = step

    @cached_property
    def _array(self) -> npt.NDArray[np.object_]:
        last = self._step.observation
        observations = np.empty(len(last["query"]), object)
        pairs = zip(last["query"], last["context"], strict=True)
        observations[:] = [{"query": query, "context": context} for query, context in pairs]
        return observations

    def __len__(self) -> int:
        return len(self._step.query)

    def __getitem__(self, index: int) -> dict[str, str]:
        observation: dict[str, str] = self._array[index]
        return observation

    def __iter__(self) -> Iterator[dict[str, str]]:
        return iter(self._array)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[np.object_]:
        return np.array(self._array, dtype)


def _infos(step: Step) -> dict[str, Any]:
    """The step as Gymnasium's infos: arrays and objects, nothing copied."""
    return {
        "query": step.query,
        "hits_before": step.hits_before,
        "hits_after": step.hits_after,
        "grades_before": step.grades_before,
        "grades_after": step.grades_after,
        "reward_terms": {"total": step.terms.total, **step.terms.terms},
        "feedback": step.figures,
    }
