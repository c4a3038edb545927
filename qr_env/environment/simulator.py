"""One step of the shop for a batch of rewrites: the only implementation, behind the scalar and the vector environment.

    simulator = Simulator(shop, retriever, judge, Reward(), blocks=16, group_size=8)
    simulator.reset(queries_P)
    step = simulator.step(rewrites_N, next_queries_P)       # ONE retrieval and ONE judge call, next queries included

N = blocks × group_size; the `group_size` neighbours of a block work on the same query. All N are at the same turn.

Several turns. Let R_t be the reward of the rewrite of turn t against the ORIGINAL query, and R_0 = 0. Turn t is paid
R_t − R_{t−1}, term by term, so an episode's rewards add up to the reward of its last rewrite, and one turn is the
special case R_1. "Keep" leaves what is shown as it is and earns exactly 0 on every turn. A turn whose verdicts are
missing is NaN, and the next one is measured from the last turn that is known.

A changing assortment (`LiveRetriever`). An episode keeps the epoch that it began in, so before, after and every turn
are of one assortment; the next episodes begin in the newest, and what was known of their queries is asked again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Judge, Retriever, Shopper
from qr_env.common.types import Engagement, Grades, Hits, Query, RewardTerms, SearchText
from qr_env.environment.original_results import OriginalResultsCache, Slots, check_capacity, excellent
from qr_env.retrieval import combine
from qr_env.retrieval.live_catalogue import LiveRetriever, View
from qr_env.reward.feedback import Feedback, feedback
from qr_env.reward.reward import Reward, RewardFunction
from qr_env.reward.text_figures import text_figures
from qr_env.shop.shop import Shop

CAPACITY = 16_384


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did, for N rewrites.

    query: the N original queries. look: makes `seen`. rewards_N: float64, NaN where verdicts were missing.
    terms: this turn's reward, term by term. figures: feedback of what is shown now against the original.
    hits_before, grades_before: of the original query; hits_after, grades_after: of what is shown now. done: the
    episodes ended with this step.
    """

    query: list[Query]
    look: Callable[[], dict[str, tuple[str, ...]]]
    rewards_N: npt.NDArray[np.float64]
    terms: RewardTerms
    figures: Feedback
    hits_before: Hits
    hits_after: Hits
    grades_before: Grades
    grades_after: Grades
    done: bool

    @property
    def seen(self) -> dict[str, tuple[str, ...]]:
        """The observation after the step, before any new episode; made on demand: few ask at an episode's end."""
        return self.look()


@dataclass(frozen=True, slots=True)
class _Shown:
    """What each of N shoppers sees: hits, their grades, the figures and R_t against the original."""

    hits: Hits
    grades: Grades
    figures: Feedback
    terms: RewardTerms


class Simulator:
    """The batch state: which query each block works on, the turn, what is shown. Arguments: see `QueryRewriteEnv`."""

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
            raise ConfigError(f"{reward.weights}: click, cart and purchase need a shopper, and there is none")
        self.source, self.judge, self.reward, self.shopper = retriever, judge, reward, shopper
        self.blocks, self.group_size, self.max_turns = blocks, group_size, max_turns
        self.mode, self.k, self.original_weight = mode, k, original_weight
        self.store = OriginalResultsCache(shop, k, capacity)
        self.excellent_C = excellent(shop, "train")
        self.turn = 0
        self.queries_P: list[Query] = []
        self._played: list[list[str]] = []
        self._slots_N: Slots = np.zeros(0, np.int64)
        self._shown: _Shown | None = None
        self._known: dict[str, npt.NDArray[np.float32]] = {}
        self.retriever = retriever  # what this episode searches: of a live one, the view that the episode began with
        self._renew()

    def _renew(self) -> bool:
        """Before episodes begin: take the newest epoch. True where the assortment changed."""
        if not isinstance(self.source, LiveRetriever):
            return False
        view = self.source.view()
        if isinstance(self.retriever, View) and self.retriever.epoch is view.epoch:
            return False
        self.retriever = view
        self.store.expire(view.epoch.on_sale_C)
        return True

    @property
    def queries_N(self) -> list[Query]:
        """The query that each of N rewrites is for."""
        return [query for query in self.queries_P for _ in range(self.group_size)]

    @property
    def last_rewrites_N(self) -> list[str]:
        """The rewrites of the last turn; none on the first."""
        return self._played[-1] if self._played else []

    def fork(self, group_size: int) -> Simulator:
        """The same shop, and the same memory of its queries, for other rewrites of one turn; this episode goes on."""
        other = copy.copy(self)
        other.group_size, other.max_turns = group_size, 1
        return other

    def before(self) -> tuple[Hits, Grades]:
        """Own hits and grades of each of N's query."""
        return self.store.hits(self._slots_N), self.store.grades(self._slots_N)

    def reset(self, queries_P: Sequence[Query]) -> None:
        """Start episodes on these queries, one a block; those not remembered are searched and graded in one go."""
        self._check_blocks(queries_P)
        self._renew()
        self._learn(queries_P)
        self._enter(queries_P)

    def _learn(self, queries_P: Sequence[Query]) -> None:
        """Search and grade those of the queries that the store does not know."""
        self._look([], np.zeros(0, np.int64), self.store.missing(queries_P))

    def step(self, rewrites_N: Sequence[str], next_P: Sequence[Query] | None = None) -> Step:
        """Search, grade and pay N rewrites; where episodes end and `next_P` is given, start on those queries.

        Raises ConfigError for a wrong number of rewrites, one that is no text, or a step after the end.
        """
        self._check_actions(rewrites_N)
        done = self.turn + 1 >= self.max_turns
        following = list(next_P) if done and next_P is not None else []
        step = self._play(rewrites_N, done, self.store.missing(following))
        self.turn += 1
        self._played.append(list(rewrites_N))
        if following:
            self._check_blocks(following)
            if self._renew():  # found with this step's view, which is no longer the newest
                self._learn(following)
            self._enter(following)
        return step

    def observe(self) -> dict[str, tuple[str, ...]]:
        """Query and context of each of N, as texts that the observation space holds."""
        if self._shown is not None:
            return self._look_at(self._shown.hits)()
        slots_P = self._slots_N[:: self.group_size].tolist()
        return {"query": self._spread(self.store.text, slots_P), "context": self._spread(self.store.context, slots_P)}

    def _look_at(self, shown: Hits) -> Callable[[], dict[str, tuple[str, ...]]]:
        """`observe` where the shopper was just shown these N result lists, right whenever it is called."""
        texts = self._spread(self.store.text, self._slots_N[:: self.group_size].tolist())
        return lambda: {"query": texts, "context": tuple(self.store.contexts(shown))}

    def _spread(self, texts: list[str], slots_P: list[int]) -> tuple[str, ...]:
        """The text of each block's slot, once for each of its rewrites."""
        return tuple(text for slot in slots_P for text in (texts[slot],) * self.group_size)

    def state_dict(self) -> dict[str, Any]:
        """Queries and the rewrites of this episode, as JSON values: enough to come back to the same state."""
        return {"queries": [asdict(query) for query in self.queries_P], "rewrites": self._played}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Come back to a saved state by asking the queries, and playing the rewrites, again."""
        self.reset([Query(**query) for query in state["queries"]])
        for rewrites_N in state["rewrites"]:
            self.step(rewrites_N)

    def _check_blocks(self, queries_P: Sequence[Query]) -> None:
        if len(queries_P) != self.blocks:
            raise ConfigError(f"{len(queries_P)} queries for {self.blocks} blocks of {self.group_size}: give one each")

    def _check_actions(self, rewrites_N: Sequence[str]) -> None:
        if self.turn >= self.max_turns or not self.queries_P:
            raise ConfigError("step before reset, or after the episode's end: call reset first")
        if isinstance(rewrites_N, str) or len(rewrites_N) != len(self._slots_N):
            raise ConfigError(f"expected {len(self._slots_N)} rewrites, got {rewrites_N!r:.80}")
        if wrong := [rewrite for rewrite in rewrites_N if not isinstance(rewrite, str)]:
            raise ConfigError(f"a rewrite must be a text, got {wrong[0]!r:.80}")

    def _enter(self, queries_P: Sequence[Query]) -> None:
        """Begin the first turn on queries that the store knows."""
        self.queries_P = list(queries_P)
        self._slots_N = np.repeat(self.store.slots_of(queries_P), self.group_size)
        self.turn, self._shown, self._known, self._played = 0, None, {}, []

    def _play(self, rewrites_N: Sequence[str], done: bool, fresh: Sequence[Query]) -> Step:
        """Everything of a step but moving on. Equal rewrites of one query are worked on once (axis U)."""
        pairs = list(zip(self._slots_N.tolist(), rewrites_N, strict=True))
        place = {pair: at for at, pair in enumerate(dict.fromkeys(pairs))}
        inverse_N = np.fromiter(map(place.__getitem__, pairs), np.int64, len(pairs))
        slots, rewrites_U = zip(*place, strict=True)
        slots_U, originals_U = np.array(slots, np.int64), [self.store.queries[slot].text for slot in slots]
        texts = text_figures(originals_U, rewrites_U)
        before, grades_before = self.store.hits(slots_U), self.store.grades(slots_U)
        query, bought = self.queries_N, self.store.bought(slots_U)
        after, grades_after = self._after(slots_U, originals_U, rewrites_U, texts.kept, fresh)
        engaged = None if self.shopper is None else self._engaged(slots_U, before, grades_before, after, grades_after)
        figures = feedback(before, after, grades_before, grades_after, texts, self.excellent_C, bought, engaged)
        shown = _Shown(after, grades_after, figures, self.reward(figures))
        terms, now = self._settle(_take(shown, inverse_N), texts.kept[inverse_N])
        return Step(
            query=query,
            look=self._look_at(now.hits),
            rewards_N=terms.total.astype(np.float64),
            terms=terms,
            figures=now.figures,
            hits_before=before[inverse_N],
            hits_after=now.hits,
            grades_before=Grades(grades_before.probs_NK4[inverse_N]),
            grades_after=now.grades,
            done=done,
        )

    def _after(
        self,
        slots_U: Slots,
        originals_U: Sequence[str],
        rewrites_U: Sequence[str],
        kept_U: npt.NDArray[np.bool_],
        fresh: Sequence[Query],
    ) -> tuple[Hits, Grades]:
        """What the shoppers see after U rewrites; a kept original's hits and grades are its own, untouched."""
        asked = np.flatnonzero(~kept_U)
        mode, weight = self.mode, self.original_weight
        if len(asked) == len(kept_U):
            return self._look(combine.joined(originals_U, rewrites_U, mode, weight), slots_U, fresh)
        originals, rewrites = ([texts_U[u] for u in asked.tolist()] for texts_U in (originals_U, rewrites_U))
        wanted = combine.joined(originals, rewrites, mode, weight)
        hits, grades = self.store.hits(slots_U), self.store.grades(slots_U)
        found, verdicts = self._look(wanted, slots_U[asked], fresh)
        hits.rows_NK[asked], hits.scores_NK[asked] = found.rows_NK, found.scores_NK
        grades.probs_NK4[asked] = verdicts.probs_NK4
        return hits, grades

    def _look(self, wanted: list[SearchText], slots: Slots, fresh: Sequence[Query]) -> tuple[Hits, Grades]:
        """One retrieval and one judge call: texts wanted for the queries at `slots`, and fresh queries' own hits."""
        n = len(wanted)
        queries = self.store.queries
        askers = [queries[slot] for slot in slots.tolist()]
        both = combine.search_unique(self.retriever, [*wanted, *(query.text for query in fresh)], self.k)
        after, found = both[:n], both[n:]
        if self.mode == "union" and n:
            after = combine.fuse(self.store.hits(slots), after)
        rows = after.rows_NK
        if fresh:
            own = self.store.rows_to_grade(fresh, found)
            rows = np.concatenate([combine.padded(after, own.shape[1]).rows_NK, own])
        if len(rows) == 0:
            return after, Grades(np.zeros((0, self.k, 4), np.float32))
        grades = self.judge.grade([*askers, *fresh], rows)
        self.store.add(fresh, found, Grades(grades.probs_NK4[n:]))
        return after, Grades(grades.probs_NK4[:n, : self.k])

    def _engaged(
        self, slots_U: Slots, before: Hits, grades_before: Grades, after: Hits, grades_after: Grades
    ) -> tuple[Engagement, Engagement]:
        """One call of the shopper for both lists of U rewrites; the list of a query's original is shown once."""
        assert self.shopper is not None
        slots_B, first_B, place_U = np.unique(slots_U, return_index=True, return_inverse=True)
        queries = [self.store.queries[slot] for slot in (*slots_B.tolist(), *slots_U.tolist())]
        rows = np.concatenate([before.rows_NK[first_B], after.rows_NK])
        probs = np.concatenate([grades_before.probs_NK4[first_B], grades_after.probs_NK4])
        both = self.shopper.engage(queries, rows, Grades(probs))
        return both[place_U], both[len(slots_B) :]

    def _settle(self, new: _Shown, kept_N: npt.NDArray[np.bool_]) -> tuple[RewardTerms, _Shown]:
        """Pay the turn: R_t − R_{t−1}, term by term; "keep" leaves what is shown."""
        if self.max_turns == 1:
            return new.terms, new
        if self._shown is not None:
            new = _where(kept_N, self._shown, new)
        now = {"total": new.terms.total, **new.terms.terms}
        paid = {name: values - self._known.get(name, np.float32(0)) for name, values in now.items()}
        paid = {name: np.where(kept_N, np.float32(0), values) for name, values in paid.items()}
        unknown_N = np.isnan(new.terms.total)
        start = np.zeros(len(kept_N), np.float32)
        self._known = {n: np.where(unknown_N, self._known.get(n, start), values) for n, values in now.items()}
        self._shown = new
        return RewardTerms(paid.pop("total"), paid), new


def _take(shown: _Shown, index_N: npt.NDArray[np.int64]) -> _Shown:
    """Line index_N[n] of everything."""
    terms = RewardTerms(shown.terms.total[index_N], {n: values[index_N] for n, values in shown.terms.terms.items()})
    return _Shown(shown.hits[index_N], Grades(shown.grades.probs_NK4[index_N]), shown.figures[index_N], terms)


def _where(mask_N: npt.NDArray[np.bool_], yes: _Shown, no: _Shown) -> _Shown:
    """Line n of `yes` where mask_N[n], else of `no`: the two lists one after the other, then a take."""
    n = len(mask_N)
    hits = Hits(*(np.concatenate([getattr(yes.hits, f), getattr(no.hits, f)]) for f in ("rows_NK", "scores_NK")))
    grades = Grades(np.concatenate([yes.grades.probs_NK4, no.grades.probs_NK4]))
    names = Feedback.__dataclass_fields__
    figures = Feedback(*(_joined(getattr(yes.figures, f), getattr(no.figures, f)) for f in names))
    parts = {t: np.concatenate([yes.terms.terms[t], no.terms.terms[t]]) for t in no.terms.terms}
    terms = RewardTerms(np.concatenate([yes.terms.total, no.terms.total]), parts)
    return _take(_Shown(hits, grades, figures, terms), np.where(mask_N, np.arange(n), n + np.arange(n)))


def _joined(first: Any, second: Any) -> Any:
    """One array after the other; a figure that nobody computed stays None."""
    return None if first is None else np.concatenate([first, second])
