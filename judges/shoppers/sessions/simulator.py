"""Shoppers visit a shop for some days: sessions of several queries, baskets, users who come back.

    simulator = SessionSimulator(shop, judge, needs=Needs(shop, shop.split("test")))
    visits = simulator.run(searcher, users=2000, days=7, seed=0)         # `Visits`, one row a search
    metrics = commerce(visits)                                            # judges/shoppers/sessions/metrics.py

The searcher answers queries with product lists: a rewriter on an engine, or a service over HTTP. The judge grades what
it shows, for the query as typed; its grades decide what shoppers do.

Every random number belongs to a user, a day and a step, whatever was shown before: two searchers that are visited with
one seed meet the same users with the same needs, luck and patience (common random numbers), so that differences are
those of the searchers. All sessions of a day take their n-th search together, in one search and one grade call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from judges.shoppers.click_models import MODELS, ClickModel
from judges.shoppers.model import PROFILES, ModelShopper, Profile
from judges.shoppers.sessions.needs import Ints, Needs
from judges.shoppers.sessions.settings import SessionSettings
from qr_env.common.protocols import Judge
from qr_env.common.types import Grades, Query, RowArray
from qr_env.shop.shop import Shop

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
NOTHING, CLICKED, SATISFIED, CARTED, BOUGHT = range(5)
DAY = 86_400.0


@dataclass(frozen=True)
class SearchRequest:
    """One search of a shopper."""

    query: Query
    """As typed."""
    user: int
    """Number of the user."""
    session: int
    """Number of the session, unique in a run."""
    time: float
    """Seconds since the run's first day began."""


@dataclass(frozen=True)
class SearchAnswer:
    """What was shown for one search."""

    rows_K: RowArray
    """(K,) int32 product rows, best first; −1 is padding."""
    rewrite: str = ""
    """What was searched; "" kept the query."""
    variant: str = ""
    """Variant of an experiment."""
    propensity: float = 1.0
    """Probability with which this rewrite was served."""
    query_id: str = ""
    """Of the service; "" where there is none."""


class Searcher(Protocol):
    """Answers shoppers."""

    name: str
    """For reports."""

    def answer(self, requests: Sequence[SearchRequest], k: int) -> list[SearchAnswer]:
        """The lists of N searches, at most k products each."""
        ...

    def shown(self, visits: Visits) -> None:
        """Take what shoppers did with the lists of the last call, such as a service's events."""
        ...


@dataclass(frozen=True)
class Visits:
    """N searches and what shoppers did, in the order in which they happened."""

    requests: list[SearchRequest]
    """N searches."""
    answers: list[SearchAnswer]
    """N lists."""
    depth_NK: npt.NDArray[np.int8]
    """(N, K) deepest event: 0 nothing, 1 click, 2 satisfied, 3 cart, 4 bought."""
    pieces_NK: npt.NDArray[np.int16]
    """(N, K) pieces bought."""
    price_NK: Floats
    """(N, K) price of one piece; NaN where unknown."""
    users: int
    """Users of the run, of whom some may never have come."""

    def __len__(self) -> int:
        return len(self.requests)


class UserDraws(np.random.Generator):
    """Random numbers for all users, of which those of some are given: what one gets depends on no other's presence."""

    def __init__(self, key: Sequence[int], users: int, some_N: Ints) -> None:
        super().__init__(np.random.Philox(np.random.SeedSequence(key)))
        self._users, self._some_N = users, some_N

    def random(self, size: tuple[int, ...] | int | None = None, *args: object, **kwargs: object) -> Floats:  # type: ignore[override]
        """Uniform numbers of shape `size`, whose first axis is that of the chosen users."""
        rest = size[1:] if isinstance(size, tuple) else ()
        all_users: Floats = super().random((self._users, *rest))
        return all_users[self._some_N]


class SessionSimulator:
    """Simulates shoppers; see the module docstring.

    Args:
        shop: gives prices, brands and colours.
        judge: grades what is shown.
        needs: what shoppers search for.
        settings: constants.
        profiles: kinds of shoppers, drawn evenly.
        model: click model.
    """

    def __init__(
        self,
        shop: Shop,
        judge: Judge,
        needs: Needs,
        settings: SessionSettings | None = None,
        profiles: Sequence[Profile] = PROFILES,
        model: ClickModel = MODELS["dbn"],
    ) -> None:
        self.shop, self.judge, self.needs = shop, judge, needs
        self.settings = settings or SessionSettings()
        self._shopper = ModelShopper(shop, profiles, model)
        self._price_C = shop.products["price"].to_numpy().astype(np.float64)

    def run(self, searcher: Searcher, users: int, days: int, seed: int = 0) -> Visits:
        """All searches of `users` users in `days` days.

        Raises JudgeError where the judge cannot grade what was shown.
        """
        settings = self.settings
        rng = np.random.default_rng([seed, 0])
        profile_N = rng.integers(len(self._shopper.profiles), size=users)
        rate_N = rng.gamma(2.0, settings.visits_a_week / 2.0, size=users) / 7.0
        factor_N = np.ones(users)
        parts: list[Visits] = []
        session = 0
        for day in range(days):
            chance_N = 1 - np.exp(-rate_N * factor_N)
            came_N = np.flatnonzero(np.random.default_rng([seed, 1, day]).random(users) < chance_N)
            if not len(came_N):
                continue
            visit = _Visit(self, searcher, came_N, profile_N, users, [seed, 2, day], day * DAY, session)
            parts += visit.searches()
            factor_N[came_N] = np.clip(
                factor_N[came_N] * visit.return_factors(), settings.slowest, 1 / settings.slowest
            )
            session += len(came_N)
        return joined(parts, users)

    def behaviour(self, rows_NK: RowArray, grades: Grades, profile_N: Ints, draws: UserDraws) -> npt.NDArray[np.int8]:
        """Sampled depth of each product, (N, K): the list's shopper has the given profile. A product without a verdict
        is never clicked."""
        given_NK4 = np.zeros((*rows_NK.shape, 4))
        for at in range(len(self._shopper.profiles)):
            mine = profile_N == at
            given_NK4[mine] = self._shopper.event_probs(at, rows_NK[mine], Grades(grades.probs_NK4[mine]))
        return self._shopper.model.sample(np.nan_to_num(given_NK4), draws)

    def prices(self, rows_NK: RowArray) -> Floats:
        """(N, K) price of each product; NaN on padding and where unknown."""
        return np.where(rows_NK >= 0, self._price_C[np.maximum(rows_NK, 0)], np.nan)


class _Visit:
    """One day's sessions, one of each user who came."""

    def __init__(
        self,
        simulator: SessionSimulator,
        searcher: Searcher,
        came_N: Ints,
        profile_N: Ints,
        users: int,
        key: Sequence[int],
        start: float,
        first_session: int,
    ) -> None:
        self._simulator, self._searcher, self._came_N, self._users, self._key = simulator, searcher, came_N, users, key
        self._profile_N = profile_N[came_N]
        self._session_N = first_session + np.arange(len(came_N))
        self._time_N = start + 8 * 3600 + 14 * 3600 * UserDraws([*key, 99], users, came_N).random((len(came_N),))
        self._needs_N = np.zeros(len(came_N), np.int64)
        self._satisfied_N = np.zeros(len(came_N), np.int64)

    def searches(self) -> list[Visits]:
        """All searches, step by step."""
        settings, needs = self._simulator.settings, self._simulator.needs
        active_N = np.arange(len(self._came_N))
        query_N = needs.draw(self._uniform(active_N, 0, 0))
        self._needs_N[:] = 1
        parts = []
        for step in range(settings.searches):
            part, satisfied_N = self._search(active_N, query_N, step)
            parts.append(part)
            self._satisfied_N[active_N] += satisfied_N
            more_N = self._uniform(active_N, step, 1) < settings.another_need
            again_N = self._uniform(active_N, step, 2) < settings.reformulate
            other_N = needs.other_words(query_N, self._uniform(active_N, step, 3))
            fresh_N = needs.draw(self._uniform(active_N, step, 4))
            self._needs_N[active_N[satisfied_N & more_N]] += 1
            query_N = np.where(satisfied_N, fresh_N, other_N)
            goes_on_N = np.where(satisfied_N, more_N, again_N & (other_N >= 0))
            active_N, query_N = active_N[goes_on_N], query_N[goes_on_N]
            if not len(active_N):
                break
        return parts

    def _search(self, active_N: Ints, query_N: Ints, step: int) -> tuple[Visits, Bools]:
        """One search of each active session, and whether it satisfied its need."""
        simulator, k = self._simulator, self._simulator.settings.results
        queries = [simulator.needs.queries[at] for at in query_N.tolist()]
        requests = [
            SearchRequest(query, int(self._came_N[at]), int(self._session_N[at]), float(self._time_N[at]) + 60 * step)
            for query, at in zip(queries, active_N.tolist(), strict=True)
        ]
        answers = self._searcher.answer(requests, k)
        rows_NK = np.full((len(answers), k), -1, np.int32)
        for at, answer in enumerate(answers):
            rows_NK[at, : len(answer.rows_K)] = answer.rows_K[:k]
        grades = simulator.judge.grade(queries, rows_NK)
        depth_NK = simulator.behaviour(rows_NK, grades, self._profile_N[active_N], self._draws(active_N, step, 5))
        extra_NK = self._draws(active_N, step, 6).random(rows_NK.shape)
        more = simulator.settings.more_pieces
        extra_pieces = np.floor(np.log(extra_NK) / np.log(more)) if more else np.zeros(rows_NK.shape)
        pieces_NK = np.where(depth_NK == BOUGHT, 1 + np.minimum(extra_pieces, 9), 0).astype(np.int16)
        part = Visits(requests, answers, depth_NK, pieces_NK, simulator.prices(rows_NK), self._users)
        self._searcher.shown(part)
        satisfied_N: Bools = np.any(depth_NK >= SATISFIED, axis=1)
        return part, satisfied_N

    def return_factors(self) -> Floats:
        """Factor of each user's rate of visits that follows from this visit."""
        settings = self._simulator.settings
        all_N, none_N = self._satisfied_N >= self._needs_N, self._satisfied_N == 0
        return np.where(all_N, settings.return_satisfied, np.where(none_N, settings.return_unsatisfied, 1.0))

    def _draws(self, active_N: Ints, step: int, purpose: int) -> UserDraws:
        return UserDraws([*self._key, step, purpose], self._users, self._came_N[active_N])

    def _uniform(self, active_N: Ints, step: int, purpose: int) -> Floats:
        return self._draws(active_N, step, purpose).random((len(active_N),))


def joined(parts: Sequence[Visits], users: int) -> Visits:
    """The searches of all parts, in the order of their time."""
    requests = [request for part in parts for request in part.requests]
    answers = [answer for part in parts for answer in part.answers]
    order = np.argsort([request.time for request in requests], kind="stable") if requests else np.zeros(0, np.int64)
    width = max((part.depth_NK.shape[1] for part in parts), default=0)
    empty = np.zeros((0, width))
    depth_NK, pieces_NK, price_NK = (
        np.concatenate([getattr(part, name) for part in parts] or [empty])[order]
        for name in ("depth_NK", "pieces_NK", "price_NK")
    )
    in_order = order.tolist()
    return Visits(
        [requests[at] for at in in_order], [answers[at] for at in in_order], depth_NK, pieces_NK, price_NK, users
    )
