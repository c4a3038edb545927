"""`QueryRewrite-v0`: one query and one rewrite at a time. The batched class is in vector_env.py.

env = gymnasium.make("qr_env:QueryRewrite-v0", shop="generated", retriever="bm25", judge="auto")
observation, info = env.reset(seed=0)
observation, reward, terminated, truncated, info = env.step("sofa")
"""

from __future__ import annotations

import os
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.spaces import Dict, Space

from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Judge, Retriever, Shopper, Stream
from qr_env.common.types import Grades, Hits, Query
from qr_env.environment.arguments import check_rewrite, given_query
from qr_env.environment.by_name import open_judge, open_retriever, open_reward, open_shop
from qr_env.environment.original_results import CONTEXT_CHARS, QUERY_CHARS
from qr_env.environment.simulator import Simulator
from qr_env.environment.spaces import text_space
from qr_env.retrieval.combine import ORIGINAL_WEIGHT
from qr_env.reward.reward import RewardFunction
from qr_env.shop.shop import Shop
from qr_env.traffic.stream import QueryStream


class QueryRewriteEnv(gymnasium.Env[dict[str, str], str]):
    """A shop's search box in which a shopper's query is rewritten before it is searched.

    ## Description
    A query arrives from the shop's traffic. The agent writes another text for it. The shop searches with the rewrite
    (`combine` sets how), a judge grades the hits for the ORIGINAL query, and the reward measures how much better the
    result list became. Most queries are best left alone: knowing when is half of the skill.

    ## Action Space
    `Text`: the rewrite, up to 512 characters of Unicode's basic plane (a longer text, and any character, is searched
    all the same). A rewrite that is empty, or equal to the query except for case and spaces, keeps the original.

    ## Observation Space
    `Dict` of `Text`: `query`, as typed, and `context`, up to five titles found by the original; on later turns, by
    the last rewrite. What the space cannot hold (control characters, emoji, a 10,000-character query) is replaced or
    cut in the observation only: `info["query"]` is the true text.

    ## Starting State
    The next query of the stream: drawn by popularity among the training queries, or as the given `stream` does.
    `reset(seed=…)` restarts the stream's draws; `reset()` continues them, from a random start where no seed was given.
    `reset(options={"query": …})` starts on a given query: a text, or a `Query` of the shop. Other options are refused.

    ## Rewards
    The sum of named terms, formula in `qr_env.reward.reward`: the gain in DCG@10 over the original, in [−1, 1], behind
    a relevance gate, a loss weighing more than a gain, minus penalties for length and for copying. Keeping the original
    earns exactly 0. With several turns, the reward of turn t is the change that it made
    (`qr_env.environment.simulator`), so the sum is the reward of the last rewrite. NaN where the judge could not grade:
    mask it, it is not 0.

    ## Episode End
    `terminated` after `max_turns` steps. Never truncated.

    ## Information
    From `reset`: `query`, `query_id`, `hits_before` ((k,) product rows, int32, −1 where fewer were found), `ids_before`
    (ids of the products found), `grades_before` ((k, 4) probabilities of Irrelevant, Complement, Substitute, Exact: NaN
    without a verdict, 0 without a product). From `step` the same, and `hits_after`, `ids_after`, `grades_after`,
    `reward_terms` (term → float), `feedback` (figure → float, see `qr_env.reward.feedback`).

    ## Arguments
    - `shop`: a `Shop`, or a name of `qr_env.shop.load_shop` ("generated", "icecat", a folder, …).
    - `retriever` = "bm25": over the same shop; "bm25", "dense", "hybrid", or an object.
    - `judge` = "auto": grades products for queries; "auto" (labels where the shop knows every grade, else embedding),
      "labels", "embedding", "llm", "cross-encoder:MODEL", … (`judges/factory.py`), or an object.
    - `reward` = "default": feedback → `RewardTerms`; "default" is `Reward()`, a name of
      `qr_env.reward.paper_rewards`, or a function.
    - `max_turns` = 1: steps an episode.
    - `combine` = "expand": "replace" searches the rewrite alone, "expand" the original's words, `original_weight`
      (1.0) times as heavy, with the rewrite's, "union" fuses both result lists.
    - `k` = 10: products a result list.
    - `original_weight` = 1.0: weight of the original's words in "expand".
    - `stream`: where queries come from, a `QueryStream` or a `ReplayLog`; None draws from the training queries.
    - `shopper`: simulates engagement with the lists before and after, a `qr_env.common.protocols.Shopper`; `click`,
      `cart` and `purchase` then join feedback and reward. None: no engagement.

    ## Several environments
    `make_vec` without a mode makes `QueryRewriteVectorEnv`, the fast one. With `vectorization_mode="sync"` or "async"
    it makes N of this one, each with its own draws; "async" works with and without shared memory. An object given as
    `stream` is shared by the N of "sync" and copied into each process of "async", where all copies draw the same until
    `reset(seed=…)` gives each its own seed.

    ## Version History
    - v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        shop: Shop | str,
        retriever: Retriever | str = "bm25",
        judge: Judge | str = "auto",
        reward: RewardFunction | str = "default",
        max_turns: int = 1,
        combine: str = "expand",
        k: int = 10,
        original_weight: float = ORIGINAL_WEIGHT,
        stream: Stream | None = None,
        shopper: Shopper | None = None,
    ) -> None:
        shop = open_shop(shop)
        self.simulator = Simulator(
            shop,
            open_retriever(retriever, shop),
            open_judge(judge, shop),
            open_reward(reward),
            max_turns=max_turns,
            mode=combine,
            k=k,
            original_weight=original_weight,
            shopper=shopper,
        )
        self.shop = shop
        self.stream: Stream = stream or default_stream(shop)
        spaces: dict[str, Space[Any]] = {"query": text_space(QUERY_CHARS), "context": text_space(CONTEXT_CHARS)}
        self._closed = False
        self.observation_space = cast(Space[dict[str, str]], Dict(spaces))
        self.action_space = text_space(QUERY_CHARS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Start on the next query of the stream, or on `options["query"]`. Raises ConfigError for another option."""
        self._check_open()
        given = given_query(options)
        super().reset(seed=seed)
        reseed(self.stream, seed)
        query = given or self.stream.take(1)[0]
        self.simulator.reset([query])
        before, grades = self.simulator.before()
        return _first(self.simulator.observe()), self._info(query, "before", before, grades)

    def step(self, action: str) -> tuple[dict[str, str], float, bool, bool, dict[str, Any]]:
        """Search with the rewrite. Raises ConfigError if the action is no text, or after the episode's end."""
        self._check_open()
        check_rewrite(action)
        step = self.simulator.step([action])
        info = self._info(step.query[0], "before", step.hits_before, step.grades_before)
        info |= self._info(step.query[0], "after", step.hits_after, step.grades_after)
        info["reward_terms"] = {name: float(values[0]) for name, values in step.terms.terms.items()}
        figures = {name: getattr(step.figures, name) for name in step.figures.__slots__}
        info["feedback"] = {name: float(values[0]) for name, values in figures.items() if values is not None}
        return _first(step.observation), float(step.rewards_N[0]), step.done, False, info

    def _info(self, query: Query, when: str, hits: Hits, grades: Grades) -> dict[str, Any]:
        """One result list. The arrays keep their padding: Gymnasium's vectors stack them, so lengths must be equal."""
        rows_K, found_K = hits.rows_NK[0], hits.found_NK[0]
        return {
            "query": query.text,
            "query_id": query.id,
            f"hits_{when}": rows_K,
            f"ids_{when}": self.shop.products["product_id"].take(rows_K[found_K]).to_pylist(),
            f"grades_{when}": np.where(found_K[:, None], grades.probs_NK4[0], np.float32(0)),
        }

    def close(self) -> None:
        """End the environment: `reset` and `step` raise ConfigError from now on."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigError("the environment is closed: make a new one")

    def state_dict(self) -> dict[str, Any]:
        """Stream position, query and the rewrites of this episode, as JSON values."""
        return {"stream": self.stream.state_dict(), "simulator": self.simulator.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state` was taken."""
        self.stream.load_state_dict(state["stream"])  # first: the assortment may depend on the stream's position
        self.simulator.load_state_dict(state["simulator"])


def _first(observation: dict[str, tuple[str, ...]]) -> dict[str, str]:
    return {name: texts[0] for name, texts in observation.items()}


def default_stream(shop: Shop) -> QueryStream:
    """Traffic of the training queries, or of all queries in a shop without splits, from a random start.

    The system's own randomness: environments of one process and of forked ones draw different queries.
    """
    return QueryStream(shop.split("train") or shop.all_queries, seed=int.from_bytes(os.urandom(8)))


def reseed(stream: Stream, seed: int | None) -> None:
    """Restart the stream with a seed, in place; None leaves it where it is."""
    if seed is not None:
        stream.reseed(seed)
