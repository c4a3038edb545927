"""A plan of events in a shop: what they do to traffic, words and products at any clock.

    drift = Drift(shop, load_plan("words"))  # qr_env/traffic/drift_plan.py: the kinds of events, and plans of them
    stream = QueryStream(drift.queries, seed=0, drift=drift)
    retriever = LiveRetriever(engine, drift.assortment)

The clock counts queries. Whatever happens at a clock is a pure function of shop, plan and clock: nothing to save but
the clock. A query whose text drifts keeps its id and row: the need, its labels and its purchases stay the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from qr_env.common.errors import ConfigError
from qr_env.common.hashing import sha256_text
from qr_env.common.types import Query
from qr_env.retrieval.live_catalogue import Assortment
from qr_env.shop.shop import Shop
from qr_env.synthetic.typos import typo_variant
from qr_env.traffic.departments import departments, naming
from qr_env.traffic.drift_plan import CATALOGUE, RANDOM_KINDS, TRAFFIC, Event, Plan
from qr_env.traffic.drift_words import Shift, generated_words, read_words, shift

SWAPS = 8
TREND = 5  # queries of a flash trend
SMALL = 0.1  # share of the phrases or products that a random event replaces
BoolArray = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.float64]


class Drift:
    """A plan in a shop: what is asked, how it is worded and what is on sale at any clock.

    Args:
        shop: holds all products that are ever sold. plan: what happens.
        queries: what can be asked; None takes the train split, or all.

    `assortment` is what is on sale now; the stream calls `settle`, which publishes what is due.
    Raises ConfigError where the shop cannot have an event: no such department or brand, no other words.
    """

    def __init__(self, shop: Shop, plan: Plan, queries: Sequence[Query] | None = None) -> None:
        self.shop, self.plan = shop, plan
        self.queries = list(queries or shop.split("train") or shop.all_queries)
        self._events: list[Event] = []
        self._members: list[BoolArray] = []  # of each event: the queries that its traffic goes to
        self._shifts: dict[int, Shift] = {}
        for event in sorted(plan.events, key=lambda event: event.at):
            self._admit(event)
        self._randoms, self._next_at = 0, self._gap(0)
        self._start_P = self._opening()
        self._mask_P, self._done, self._clock = self._start_P.copy(), 0, 0
        self._moved: dict[int, BoolArray] = {}  # of each event: the products that it moved so far
        self.assortment = Assortment(len(shop.products), self.on_sale(0))

    def events(self, at: int) -> list[Event]:
        """Those that have begun by query `at`, with what was drawn for them."""
        self._draw_until(at)
        return [event for event in self._events if event.at <= at]

    def traffic(self, weights_N: Weights, at: int) -> Weights:
        """Chance of each query at clock `at`, (N,), from its usual weight; 0 for the queries of a brand to come."""
        self._draw_until(at)
        share_N = np.where(self._to_come(at), 0.0, weights_N)
        share_N /= share_N.sum()
        for event, among_N in zip(self._events, self._members, strict=True):
            within_N = share_N * among_N
            if event.kind in TRAFFIC and event.active(at) and within_N.any():
                share_N = (1 - event.share) * share_N + event.share * within_N / within_N.sum()
        return share_N

    def traffic_key(self, at: int) -> tuple[bool, ...]:
        """Changes whenever `traffic` does: which of its events have begun by `at`, and whether they still go on."""
        self._draw_until(at)
        begun = [event for event in self._events if event.kind in TRAFFIC and event.at <= at]
        return tuple(event.active(at) for event in begun)

    def worded(self, query: Query, at: int) -> Query:
        """The query as it is typed at clock `at`: words that shifted, then, for some, a slip drawn for this clock."""
        self._draw_until(at)
        text = self.said(query.text, at)
        for number, event in enumerate(self._events):
            if event.kind == "typos" and event.active(at):
                draw = random.Random(f"{self.plan.seed} {number} {at}")
                text = typo_variant(text, draw) if draw.random() < event.share else text
        return query if text == query.text else replace(query, text=text)

    def said(self, text: str, at: int) -> str:
        """The text in the words of clock `at`, without slips."""
        self._draw_until(at)
        for number, event in enumerate(self._events):
            if event.kind == "words" and event.active(at):
                pattern, other = self._shift(number)
                text = pattern.sub(lambda found, other=other: other[found[0].lower()], text)  # type: ignore[misc]
        return text

    def shop_at(self, at: int) -> Shop:
        """The shop with all its queries in the words of clock `at`: same ids, rows and labels. To evaluate on."""
        texts = [self.said(text, at) for text in self.shop.queries["query"].to_pylist()]
        table = self.shop.queries.set_column(1, "query", pa.array(texts, pa.string()))
        return replace(self.shop, queries=table)

    def settle(self, at: int) -> None:
        """Publish what is on sale at clock `at`, if that is something else than now."""
        self.assortment.publish(self.on_sale(at))

    def on_sale(self, at: int) -> BoolArray:
        """(products,) at clock `at`; asked in rising order it goes on from the last, else from the start."""
        self._draw_until(at)
        if at < self._clock:
            self._rewind()
        self._clock = at
        for _, number, delivery, of in self._deliveries(at)[self._done :]:
            self._deliver(number, delivery, of)
            self._done += 1
        return self._mask_P

    @property
    def clock(self) -> int:
        """What was settled last."""
        return self._clock

    @property
    def deliveries(self) -> int:
        """How often products came or left up to `clock`."""
        return self._done

    @property
    def shifts(self) -> int:
        """How often words or products changed up to `clock`: scores of before and after are of different exams."""
        words = [event for event in self.events(self._clock) if event.kind == "words"]
        return self._done + len(words) + sum(not event.active(self._clock) for event in words)

    def fingerprint(self) -> str:
        """Of the plan: a stream's state belongs to one."""
        return sha256_text(repr(asdict(self.plan)), 16)

    def _to_come(self, at: int) -> BoolArray:
        """(N,) queries of brands that are not there yet."""
        held = [m for e, m in zip(self._events, self._members, strict=True) if e.kind == "brand" and e.at > at]
        return np.any(held, axis=0) if held else np.zeros(len(self.queries), np.bool_)

    def _gap(self, number: int) -> int:
        """Clock from the last random event, or the start, to the next."""
        if not self.plan.every:
            return 0
        return 1 + int(np.random.default_rng([self.plan.seed, 1, number]).exponential(self.plan.every))

    def _draw_until(self, at: int) -> None:
        """Random events up to a clock come into being, each a function of its number."""
        while self.plan.every and self._next_at <= at:
            rng = np.random.default_rng([self.plan.seed, 2, self._randoms])
            kind = str(rng.choice([kind for kind in RANDOM_KINDS if self._can(kind)]))
            length = int(self.plan.every * rng.uniform(0.5, 1.5))
            share = SMALL if kind in ("words", "churn") else float(rng.uniform(0.2, 0.5))
            self._admit(Event(kind, self._next_at, length, share))
            self._randoms += 1
            self._next_at += self._gap(self._randoms)

    def _can(self, kind: str) -> bool:
        """Whether the shop can have a random event of a kind."""
        if kind == "season":
            return bool(self.department_N.any())
        if kind == "words":
            return bool(self._other_words)
        return kind != "churn" or self.plan.reserve > 0

    def _admit(self, event: Event) -> None:
        """Take an event up: draw what it leaves open, find its queries."""
        rng = np.random.default_rng([self.plan.seed, 3, len(self._events)])
        find: Callable[[Event, np.random.Generator], tuple[str, BoolArray]] | None
        find = {"season": self._season, "trend": self._trend, "brand": self._brand}.get(event.kind)
        what, among_N = find(event, rng) if find else (event.what, np.zeros(len(self.queries), np.bool_))
        self._events.append(replace(event, what=what))
        self._members.append(among_N)
        if event.kind == "words":
            self._shift(len(self._events) - 1)  # a shop without other words is refused now, not at the event

    @cached_property
    def department_N(self) -> npt.NDArray[np.str_]:
        """Department of each of the stream's queries, "" where unknown."""
        names = departments(self.shop)
        return np.array([names[query.row] if query.row >= 0 else "" for query in self.queries], np.str_)

    def _season(self, event: Event, rng: np.random.Generator) -> tuple[str, BoolArray]:
        known = np.unique(self.department_N[self.department_N != ""]).tolist()
        if not known or (event.what and event.what not in known):
            raise ConfigError(f"no department {event.what!r} among the queries'; there are {known}")
        what = event.what or str(rng.choice(known))
        return what, self.department_N == what

    def _trend(self, event: Event, rng: np.random.Generator) -> tuple[str, BoolArray]:
        if event.what:
            among_N = naming(self.queries, event.what)
            if not among_N.any():
                raise ConfigError(f"trend: no query holds {event.what!r}")
            return event.what, among_N
        frequency_N = np.array([query.frequency for query in self.queries])
        tail = np.flatnonzero(frequency_N <= np.median(frequency_N))
        chosen = rng.choice(tail, min(TREND, len(tail)), replace=False)
        among_N = np.zeros(len(self.queries), np.bool_)
        among_N[chosen] = True
        return " | ".join(self.queries[n].text for n in chosen.tolist()), among_N

    def _brand(self, event: Event, rng: np.random.Generator) -> tuple[str, BoolArray]:
        sold = self.shop.products["brand"].unique().to_pylist()
        for what in [event.what] if event.what else rng.permutation(sorted(filter(None, sold))).tolist():
            if what in sold and (among_N := naming(self.queries, what)).any():
                return what, among_N
        raise ConfigError(f"brand: no product and query of brand {event.what!r}: name another, or leave it open")

    @cached_property
    def _other_words(self) -> dict[str, str]:
        return generated_words() if self.shop.name.startswith("generated") else {}

    def _shift(self, number: int) -> Shift:
        """What event `number` replaces, drawn once."""
        if number not in self._shifts:
            event = self._events[number]
            pairs = read_words(event.what) if event.what else self._other_words
            if not pairs:
                raise ConfigError(f"{self.shop!r} knows no other words: name a YAML file of `phrase: other` in `what`")
            self._shifts[number] = shift(pairs, event.share, np.random.default_rng([self.plan.seed, 4, number]))
        return self._shifts[number]

    def _opening(self) -> BoolArray:
        """What is on sale at the start: all but the reserve and the brands to come."""
        mask_P = ~self._of_brands(-1)
        rng = np.random.default_rng([self.plan.seed, 5])
        mask_P[rng.permutation(len(mask_P))[: round(self.plan.reserve * len(mask_P))]] = False
        return mask_P

    def _rewind(self) -> None:
        """Back to the opening."""
        self._mask_P, self._done, self._clock = self._start_P.copy(), 0, 0
        self._moved.clear()

    def _of_brands(self, at: int) -> BoolArray:
        """(products,) of brands that are still to come at `at`."""
        names = [event.what for event in self._events if event.kind == "brand" and event.at > at]
        held = pa.compute.is_in(self.shop.products["brand"], value_set=pa.array(names, pa.string()))
        return np.asarray(held.to_numpy(), np.bool_)

    def _deliveries(self, at: int) -> list[tuple[int, int, int, int]]:
        """(clock, event, which delivery, of how many), due by `at`, in the order in which they happen."""
        due = []
        for number, event in enumerate(self._events):
            if event.kind in CATALOGUE:
                of = SWAPS if event.length and event.kind != "brand" else 1
                due += [(event.at + event.length * j // of, number, j, of) for j in range(of)]
        return sorted(one for one in due if one[0] <= at)

    def _deliver(self, number: int, delivery: int, of: int) -> None:
        """Products leave and come by one delivery of an event."""
        event, mask_P = self._events[number], self._mask_P
        if event.kind == "brand":
            mask_P |= np.asarray(pa.compute.equal(self.shop.products["brand"], event.what).to_numpy(), np.bool_)
            return
        whole = event.share * np.count_nonzero(self._start_P)
        n = round(whole * (delivery + 1) / of) - round(whole * delivery / of)
        rng = np.random.default_rng([self.plan.seed, 6, number, delivery])
        moved_P = self._moved.setdefault(number, np.zeros(len(mask_P), np.bool_))  # nobody moves twice in one event
        on, off = np.flatnonzero(mask_P & ~moved_P), np.flatnonzero(~mask_P & ~moved_P & ~self._of_brands(event.at))
        leaving, coming = rng.permutation(on), rng.permutation(off)[:n]
        if event.kind != "add":
            leaving = leaving[: n if event.kind == "remove" else len(coming)]
            mask_P[leaving], moved_P[leaving] = False, True
        if event.kind != "remove":
            mask_P[coming], moved_P[coming] = True, True
