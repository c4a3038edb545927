"""`QueryRewrite-v0`: one query and one rewrite at a time. The batched class is in vector_env.py.

env = gymnasium.make("qr_env:QueryRewrite-v0", shop="generated", retriever="bm25", judge="auto")
observation, info = env.reset(seed=0)
observation, reward, terminated, truncated, info = env.step("sofa")
"""

from __future__ import annotations

from copy import copy
from functools import lru_cache
from typing import Any, cast

import gymnasium
from gymnasium.spaces import Dict, Space, Text

from qr_env.common.protocols import Judge, Retriever, Shopper, Stream
from qr_env.common.types import Grades, Hits, Query
from qr_env.environment.by_name import open_judge, open_retriever, open_reward, open_shop
from qr_env.environment.original_results import CONTEXT_CHARS, QUERY_CHARS
from qr_env.environment.simulator import Simulator
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
    `reset(seed=…)` restarts the stream's draws; `reset()` continues them. `reset(options={"query": …})` starts on a
    given query: a text, or a `Query` of the shop.

    ## Rewards
    The sum of named terms, formula in `qr_env.reward.reward`: the gain in DCG@10 over the original, in [−1, 1], behind
    a relevance gate, a loss weighing more than a gain, minus penalties for length and for copying. Keeping the original
    earns exactly 0. With several turns, the reward of turn t is the change that it made
    (`qr_env.environment.simulator`), so the sum is the reward of the last rewrite. NaN where the judge could not grade:
    mask it, it is not 0.

    ## Episode End
    `terminated` after `max_turns` steps. Never truncated.

    ## Information
    From `reset`: `query`, `query_id`, `hits_before` (product rows, int32), `ids_before` (their ids), `grades_before`
    ((hits, 4) probabilities of Irrelevant, Complement, Substitute, Exact). From `step` the same, and `hits_after`,
    `ids_after`, `grades_after`, `reward_terms` (term → float), `feedback` (figure → float, see
    `qr_env.reward.feedback`).

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
        self.observation_space = cast(Space[dict[str, str]], Dict(spaces))
        self.action_space = text_space(QUERY_CHARS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Start on the next query of the stream, or on `options["query"]`."""
        super().reset(seed=seed)
        reseed(self.stream, seed)
        given = (options or {}).get("query")
        query = self.stream.take(1)[0] if given is None else as_query(given)
        self.simulator.reset([query])
        before, grades = self.simulator.before()
        return _first(self.simulator.observe()), self._info(query, "before", before, grades)

    def step(self, action: str) -> tuple[dict[str, str], float, bool, bool, dict[str, Any]]:
        """Search with the rewrite. Raises ConfigError if the action is no text, or after the episode's end."""
        step = self.simulator.step([action])
        info = self._info(step.query[0], "before", step.hits_before, step.grades_before)
        info |= self._info(step.query[0], "after", step.hits_after, step.grades_after)
        info["reward_terms"] = {name: float(values[0]) for name, values in step.terms.terms.items()}
        figures = {name: getattr(step.figures, name) for name in step.figures.__slots__}
        info["feedback"] = {name: float(values[0]) for name, values in figures.items() if values is not None}
        return _first(step.observation), float(step.rewards_N[0]), step.done, False, info

    def _info(self, query: Query, when: str, hits: Hits, grades: Grades) -> dict[str, Any]:
        """One result list, without its padding."""
        found_K = hits.found_NK[0]
        rows_K = hits.rows_NK[0][found_K]
        return {
            "query": query.text,
            "query_id": query.id,
            f"hits_{when}": rows_K,
            f"ids_{when}": self.shop.products["product_id"].take(rows_K).to_pylist(),
            f"grades_{when}": grades.probs_NK4[0][found_K],
        }

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
    """Traffic of the training queries, or of all queries in a shop without splits."""
    return QueryStream(shop.split("train") or shop.all_queries)


def reseed(stream: Stream, seed: int | None) -> None:
    """Restart the stream with a seed, in place; None leaves it where it is."""
    if seed is not None:
        stream.reseed(seed)


def as_query(given: str | Query) -> Query:
    """The query; a text becomes one that is not of the shop."""
    return given if isinstance(given, Query) else Query(-1, "", given)


@lru_cache
def _printable_space() -> Text:
    printable = "".join(filter(str.isprintable, map(chr, range(0x10000))))
    return Text(QUERY_CHARS, min_length=0, charset=printable)


def text_space(max_length: int) -> Text:
    """Texts of printable characters of the basic plane: Gymnasium's own default refuses even spaces.

    A shallow copy of one cached space: its 60,000 characters are set up once, its random state is not shared.
    """
    space = copy(_printable_space())
    space.max_length = max_length
    return space
