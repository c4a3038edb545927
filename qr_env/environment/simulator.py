"""One step of the environment for a batch of rewrites; the scalar and the vector environment both use it.

    simulator = Simulator(shop, retriever, judge, Reward(), blocks=16, group_size=8)
    simulator.reset(queries_P)
    step = simulator.step(rewrites_N, next_queries_P)       # one retrieval and one judge call, next queries included

N = blocks × group_size; the `group_size` neighbours of a block work on the same query. All N are at the same turn.

Several turns. Let R_t be the reward of the rewrite of turn t against the ORIGINAL query, and R_0 = 0. The reward of
turn t is R_t − R_{t−1}, term by term, so an episode's rewards sum to the reward of its last rewrite, and one turn is
the special case R_1. Keeping the original leaves the result list as it is and earns exactly 0 on every turn. A turn
whose verdicts are missing has reward NaN; the next turn's reward is the difference to the last turn that had verdicts.

A changing assortment (`LiveRetriever`). An episode keeps the epoch that it began in, so that the lists before, after
and of every turn are of one assortment. The next episodes begin in the newest epoch, and cached results are searched
again.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Judge, Retriever, Shopper
from qr_env.common.types import Engagement, Grades, Hits, Query, RewardTerms, SearchText
from qr_env.environment.arguments import check_rewrites
from qr_env.environment.original_results import OriginalResultsCache, Slots, check_capacity, excellent_products
from qr_env.environment.results import Results, choose_rows, take_rows
from qr_env.retrieval import combine
from qr_env.retrieval.live_catalogue import LiveRetriever, View
from qr_env.reward.feedback import Feedback, feedback
from qr_env.reward.reward import Reward, RewardFunction
from qr_env.reward.text_figures import text_figures
from qr_env.shop.shop import Shop

CAPACITY = 16_384  # queries in the cache of original results
Observation = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Step:
    """Result of one step for N rewrites."""

    query: list[Query]
    """N original queries"""
    query_texts: tuple[str, ...]
    """(N,) their texts as the observation shows them"""
    cache: OriginalResultsCache
    """product titles for `observation`"""
    rewards_N: npt.NDArray[np.float64]
    """(N,) reward of this turn; NaN where verdicts are missing"""
    terms: RewardTerms
    """this turn's reward by term"""
    figures: Feedback
    """feedback of the current result lists against the originals'"""
    hits_before: Hits
    """(N, K) result lists of the original queries"""
    hits_after: Hits
    """(N, K) current result lists"""
    grades_before: Grades
    """verdicts on `hits_before`"""
    grades_after: Grades
    """verdicts on `hits_after`"""
    done: bool
    """the episodes ended with this step"""

    @property
    def observation(self) -> Observation:
        """The observation after the step, before any new episode. Computed on access: few callers need it."""
        return {"query": self.query_texts, "context": tuple(self.cache.contexts(self.hits_after))}


class Simulator:
    """State of a batch: query of each block, turn, current result lists. Arguments: see `QueryRewriteEnv`."""

    def __init__(
        self,
        shop: Shop,
        retriever: Retriever,
        judge: Judge,
        reward: RewardFunction,
        blocks: int = 1,
        group_size: int = 1,
        max_turns: int = 1,
        mode: str = "expand",
        k: int = 10,
        original_weight: float = combine.ORIGINAL_WEIGHT,
        capacity: int = CAPACITY,
        shopper: Shopper | None = None,
    ) -> None:
        combine.check(mode, original_weight)
        for name, value in {"blocks": blocks, "group_size": group_size, "max_turns": max_turns, "k": k}.items():
            if value < 1:
                raise ConfigError(f"{name}={value}: must be at least 1")
        check_capacity(capacity, blocks)
        if shopper is None and isinstance(reward, Reward) and reward.weights.needs_shopper:
            raise ConfigError(
                f"{reward.weights}: click, cart and purchase need a shopper: give the environment shopper=…"
            )
        self.source, self.judge, self.reward, self.shopper = retriever, judge, reward, shopper
        self.blocks, self.group_size, self.max_turns = blocks, group_size, max_turns
        self.mode, self.k, self.original_weight = mode, k, original_weight
        self.cache = OriginalResultsCache(shop, k, capacity)
        self.excellent_C = excellent_products(shop, "train")
        self.turn = 0
        self.queries_P: list[Query] = []
        self._rewrites: list[list[str]] = []
        self._slots_N: Slots = np.zeros(0, np.int64)
        self._current: Results | None = None
        self._last_reward: dict[str, npt.NDArray[np.float32]] = {}
        self.retriever = retriever  # of a `LiveRetriever`: its view at the start of the current episodes
        self._take_newest_epoch()

    def _take_newest_epoch(self) -> bool:
        """Switch to the newest epoch of a live retriever, before episodes begin; True if the assortment changed."""
        if not isinstance(self.source, LiveRetriever):
            return False
        view = self.source.view()
        if isinstance(self.retriever, View) and self.retriever.epoch is view.epoch:
            return False
        self.retriever = view
        self.cache.expire(view.epoch.on_sale_C)
        return True

    @property
    def queries_N(self) -> list[Query]:
        """Original query of each of N rewrites."""
        return [query for query in self.queries_P for _ in range(self.group_size)]

    @property
    def last_rewrites_N(self) -> list[str]:
        """Rewrites of the previous turn, (N,); empty on the first turn."""
        return self._rewrites[-1] if self._rewrites else []

    def fork(self, group_size: int) -> Simulator:
        """A one-turn simulator on the same queries and cache, for other rewrites; this one's episodes do not change."""
        other = copy.copy(self)
        other.group_size, other.max_turns = group_size, 1
        return other

    def before(self) -> tuple[Hits, Grades]:
        """Hits and grades of the N original queries."""
        return self.cache.hits(self._slots_N), self.cache.grades(self._slots_N)

    def reset(self, queries_P: Sequence[Query]) -> None:
        """Start episodes on these queries, one a block; those not cached are searched and graded in one call each."""
        self._check_blocks(queries_P)
        self._take_newest_epoch()
        self._fill_cache(queries_P)
        self._begin_episodes(queries_P)

    def _fill_cache(self, queries_P: Sequence[Query]) -> None:
        """Search and grade the queries that are not in the cache."""
        self._search_and_grade([], np.zeros(0, np.int64), self.cache.missing(queries_P))

    def step(self, rewrites_N: Sequence[str], next_P: Sequence[Query] | None = None) -> Step:
        """Search, grade and reward N rewrites; where episodes end and `next_P` is given, start on those queries.

        Raises ConfigError for a wrong number of rewrites, one that is no text, or a step after the end.
        """
        self.check_actions(rewrites_N)
        done = self.turn + 1 >= self.max_turns
        following = list(next_P) if done and next_P is not None else []
        step = self._evaluate_rewrites(rewrites_N, done, self.cache.missing(following))
        self.turn += 1
        self._rewrites.append(list(rewrites_N))
        if following:
            self._check_blocks(following)
            if self._take_newest_epoch():  # they were searched in the previous epoch
                self._fill_cache(following)
            self._begin_episodes(following)
        return step

    def observe(self) -> Observation:
        """Query and context of each of the N rewrites to come, as texts that the observation space holds."""
        if self._current is not None:
            return {"query": self._query_texts(), "context": tuple(self.cache.contexts(self._current.hits))}
        slots_P = self._slots_N[:: self.group_size].tolist()
        return {"query": self._query_texts(), "context": self._repeated(self.cache.context, slots_P)}

    def _query_texts(self) -> tuple[str, ...]:
        return self._repeated(self.cache.text, self._slots_N[:: self.group_size].tolist())

    def _repeated(self, texts: list[str], slots_P: list[int]) -> tuple[str, ...]:
        """The text of each block's slot, once for each of its rewrites."""
        return tuple(text for slot in slots_P for text in (texts[slot],) * self.group_size)

    def state_dict(self) -> dict[str, Any]:
        """Queries and rewrites of this episode, as JSON values: enough to restore the state."""
        return {"queries": [asdict(query) for query in self.queries_P], "rewrites": self._rewrites}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state by searching its queries and stepping through its rewrites again."""
        self.reset([Query(**query) for query in state["queries"]])
        for rewrites_N in state["rewrites"]:
            self.step(rewrites_N)

    def _check_blocks(self, queries_P: Sequence[Query]) -> None:
        if len(queries_P) != self.blocks:
            raise ConfigError(f"{len(queries_P)} queries for {self.blocks} blocks of {self.group_size}: give one each")

    def check_actions(self, rewrites_N: Sequence[str]) -> None:
        """Raise ConfigError unless the next step can take these rewrites."""
        if not self.queries_P:
            raise ConfigError("step before reset: call reset first")
        if self.turn >= self.max_turns:
            raise ConfigError("step after the episode's end: call reset first")
        check_rewrites(rewrites_N, len(self._slots_N))

    def _begin_episodes(self, queries_P: Sequence[Query]) -> None:
        """Begin the first turn on queries that are in the cache."""
        self.queries_P = list(queries_P)
        self._slots_N = np.repeat(self.cache.slots_of(queries_P), self.group_size)
        self.turn, self._current, self._last_reward, self._rewrites = 0, None, {}, []

    def _evaluate_rewrites(self, rewrites_N: Sequence[str], done: bool, fresh: Sequence[Query]) -> Step:
        """Compute a step without advancing. Equal rewrites of one query are computed once (axis U)."""
        pairs = list(zip(self._slots_N.tolist(), rewrites_N, strict=True))
        place = {pair: at for at, pair in enumerate(dict.fromkeys(pairs))}
        inverse_N = np.fromiter(map(place.__getitem__, pairs), np.int64, len(pairs))
        slots, rewrites_U = zip(*place, strict=True)
        slots_U, originals_U = np.array(slots, np.int64), [self.cache.queries[slot].text for slot in slots]
        texts = text_figures(originals_U, rewrites_U)
        before, grades_before = self.cache.hits(slots_U), self.cache.grades(slots_U)
        query, bought = self.queries_N, self.cache.bought(slots_U)
        after, grades_after = self._results_after(slots_U, originals_U, rewrites_U, texts.kept, fresh)
        engaged = (
            None if self.shopper is None else self._engagement(slots_U, before, grades_before, after, grades_after)
        )
        figures = feedback(before, after, grades_before, grades_after, texts, self.excellent_C, bought, engaged)
        results = Results(after, grades_after, figures, self.reward(figures))
        terms, now = self._turn_reward(take_rows(results, inverse_N), texts.kept[inverse_N])
        return Step(
            query=query,
            query_texts=self._query_texts(),
            cache=self.cache,
            rewards_N=terms.total.astype(np.float64),
            terms=terms,
            figures=now.figures,
            hits_before=before[inverse_N],
            hits_after=now.hits,
            grades_before=Grades(grades_before.probs_NK4[inverse_N]),
            grades_after=now.grades,
            done=done,
        )

    def _results_after(
        self,
        slots_U: Slots,
        originals_U: Sequence[str],
        rewrites_U: Sequence[str],
        kept_U: npt.NDArray[np.bool_],
        fresh: Sequence[Query],
    ) -> tuple[Hits, Grades]:
        """Result lists and grades after U rewrites; a kept original has its own, unchanged."""
        changed = np.flatnonzero(~kept_U)
        mode, weight = self.mode, self.original_weight
        if len(changed) == len(kept_U):
            return self._search_and_grade(combine.combined_texts(originals_U, rewrites_U, mode, weight), slots_U, fresh)
        originals, rewrites = ([texts_U[u] for u in changed.tolist()] for texts_U in (originals_U, rewrites_U))
        wanted = combine.combined_texts(originals, rewrites, mode, weight)
        hits, grades = self.cache.hits(slots_U), self.cache.grades(slots_U)
        found, verdicts = self._search_and_grade(wanted, slots_U[changed], fresh)
        hits.rows_NK[changed], hits.scores_NK[changed] = found.rows_NK, found.scores_NK
        grades.probs_NK4[changed] = verdicts.probs_NK4
        return hits, grades

    def _search_and_grade(self, wanted: list[SearchText], slots: Slots, fresh: Sequence[Query]) -> tuple[Hits, Grades]:
        """Hits and grades of `wanted`, search texts for the queries at `slots`, by one retrieval and one judge call.

        The same two calls search and grade the `fresh` queries, which are added to the cache.
        """
        n = len(wanted)
        queries = self.cache.queries
        originals = [queries[slot] for slot in slots.tolist()]
        both = combine.search_unique(self.retriever, [*wanted, *(query.text for query in fresh)], self.k)
        after, found = both[:n], both[n:]
        if self.mode == "union" and n:
            after = combine.fuse(self.cache.hits(slots), after)
        rows = after.rows_NK
        if fresh:
            own = self.cache.rows_to_grade(fresh, found)
            rows = np.concatenate([combine.padded(after, own.shape[1]).rows_NK, own])
        if len(rows) == 0:
            return after, Grades(np.zeros((0, self.k, 4), np.float32))
        grades = self.judge.grade([*originals, *fresh], rows)
        self.cache.add(fresh, found, Grades(grades.probs_NK4[n:]))
        return after, Grades(grades.probs_NK4[:n, : self.k])

    def _engagement(
        self, slots_U: Slots, before: Hits, grades_before: Grades, after: Hits, grades_after: Grades
    ) -> tuple[Engagement, Engagement]:
        """One call of the shopper for both lists of U rewrites; each original's list is included once."""
        assert self.shopper is not None
        slots_P, first_P, place_U = np.unique(slots_U, return_index=True, return_inverse=True)
        queries = [self.cache.queries[slot] for slot in (*slots_P.tolist(), *slots_U.tolist())]
        rows = np.concatenate([before.rows_NK[first_P], after.rows_NK])
        probs = np.concatenate([grades_before.probs_NK4[first_P], grades_after.probs_NK4])
        both = self.shopper.engage(queries, rows, Grades(probs))
        return both[place_U], both[len(slots_P) :]

    def _turn_reward(self, new: Results, kept_N: npt.NDArray[np.bool_]) -> tuple[RewardTerms, Results]:
        """Reward of the turn, R_t − R_{t−1} by term, and the current results; a kept original changes neither."""
        if self.max_turns == 1:
            return new.terms, new
        if self._current is not None:
            new = choose_rows(kept_N, self._current, new)
        now = {"total": new.terms.total, **new.terms.terms}
        reward = {name: values - self._last_reward.get(name, np.float32(0)) for name, values in now.items()}
        reward = {name: np.where(kept_N, np.float32(0), values) for name, values in reward.items()}
        unknown_N = np.isnan(new.terms.total)
        start = np.zeros(len(kept_N), np.float32)
        self._last_reward = {
            n: np.where(unknown_N, self._last_reward.get(n, start), values) for n, values in now.items()
        }
        self._current = new
        return RewardTerms(reward.pop("total"), reward), new
