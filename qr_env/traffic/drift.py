"""The effect of a plan of events on traffic, wording and assortment at any clock.

    drift = Drift(shop, load_plan("words"))  # qr_env/traffic/drift_plan.py has the kinds of events
    stream = QueryStream(drift.queries, seed=0, drift=drift)
    retriever = LiveRetriever(engine, drift.assortment)

The clock counts queries. The state at a clock is a pure function of shop, plan and clock: only the clock is saved. A
query whose text changes keeps its id and row, since its intent, labels and purchases stay the same.
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
from qr_env.traffic.departments import departments, queries_naming
from qr_env.traffic.drift_plan import CATALOGUE, RANDOM_KINDS, TRAFFIC, Event, Plan
from qr_env.traffic.drift_words import Replacement, draw_replacement, generated_words, read_words

BATCHES = 8  # in which a churn, add or remove event with a length changes the assortment
TREND_QUERIES = 5
RANDOM_SHARE = 0.1  # share of the phrases or products that a random event replaces
BoolArray = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.float64]


class Drift:
    """A plan applied to a shop: query probabilities, query texts and products on sale at any clock.

    `assortment` holds the products on sale now; the stream calls `apply_until`, which publishes due changes.

    Args:
        shop: holds all products that are ever on sale.
        plan: the events.
        queries: queries of the stream; None takes the train split, or all queries if it is empty.

    Raises:
        ConfigError: an event is impossible in this shop: unknown department or brand, or no known synonyms.
    """

    def __init__(self, shop: Shop, plan: Plan, queries: Sequence[Query] | None = None) -> None:
        self.shop, self.plan = shop, plan
        self.queries = list(queries or shop.split("train") or shop.all_queries)
        self._events: list[Event] = []
        self._targets: list[BoolArray] = []  # of each event: (N,) queries that its traffic goes to
        self._replacements: dict[int, Replacement] = {}
        for event in sorted(plan.events, key=lambda event: event.at):
            self._add(event)
        self._random_events, self._next_at = 0, self._gap(0)
        self._start_C = self._initial_assortment()
        self._on_sale_C, self._batches_done, self._clock = self._start_C.copy(), 0, 0
        self._moved: dict[int, BoolArray] = {}  # of each event: (C,) products that it added or removed so far
        self.assortment = Assortment(len(shop.products), self.on_sale(0))

    def events(self, at: int) -> list[Event]:
        """Events that have begun by clock `at`, with their drawn targets."""
        self._draw_until(at)
        return [event for event in self._events if event.at <= at]

    def traffic(self, weights_N: Weights, at: int) -> Weights:
        """Probability of each query at clock `at`, (N,), from its usual weight; 0 for a brand not yet launched."""
        self._draw_until(at)
        share_N = np.where(self._not_launched(at), 0.0, weights_N)
        share_N /= share_N.sum()
        for event, target_N in zip(self._events, self._targets, strict=True):
            within_N = share_N * target_N
            if event.kind in TRAFFIC and event.active(at) and within_N.any():
                share_N = (1 - event.share) * share_N + event.share * within_N / within_N.sum()
        return share_N

    def traffic_key(self, at: int) -> tuple[bool, ...]:
        """Cache key of `traffic`: for each of its events that has begun by `at`, whether it is still active."""
        self._draw_until(at)
        begun = [event for event in self._events if event.kind in TRAFFIC and event.at <= at]
        return tuple(event.active(at) for event in begun)

    def query_at(self, query: Query, at: int) -> Query:
        """The query as typed at clock `at`: with replaced words, and in some cases a typo drawn for this clock."""
        self._draw_until(at)
        text = self.text_at(query.text, at)
        for number, event in enumerate(self._events):
            if event.kind == "typos" and event.active(at):
                draw = random.Random(f"{self.plan.seed} {number} {at}")
                text = typo_variant(text, draw) if draw.random() < event.share else text
        return query if text == query.text else replace(query, text=text)

    def text_at(self, text: str, at: int) -> str:
        """The text with the word replacements of clock `at`, without typos."""
        self._draw_until(at)
        for number, event in enumerate(self._events):
            if event.kind == "words" and event.active(at):
                text = self._replacement(number)(text)
        return text

    def shop_at(self, at: int) -> Shop:
        """The shop with all query texts as of clock `at`, for evaluation; ids, rows and labels are unchanged."""
        texts = [self.text_at(text, at) for text in self.shop.queries["query"].to_pylist()]
        table = self.shop.queries.set_column(1, "query", pa.array(texts, pa.string()))
        return replace(self.shop, queries=table)

    def apply_until(self, at: int) -> None:
        """Publish the products on sale at clock `at`, if they changed."""
        self.assortment.publish(self.on_sale(at))

    def on_sale(self, at: int) -> BoolArray:
        """(C,) products on sale at clock `at`; incremental for rising clocks, else recomputed from the start."""
        self._draw_until(at)
        if at < self._clock:
            self._rewind()
        self._clock = at
        for _, number, batch, n_batches in self._batches(at)[self._batches_done :]:
            self._apply_batch(number, batch, n_batches)
            self._batches_done += 1
        return self._on_sale_C

    @property
    def clock(self) -> int:
        """The clock of the last `on_sale`."""
        return self._clock

    @property
    def assortment_changes(self) -> int:
        """Number of batches of products added or removed up to `clock`."""
        return self._batches_done

    @property
    def changes(self) -> int:
        """Number of word and product changes up to `clock`; scores across one are not comparable."""
        words = [event for event in self.events(self._clock) if event.kind == "words"]
        return self._batches_done + len(words) + sum(not event.active(self._clock) for event in words)

    def fingerprint(self) -> str:
        """16 digits that identify the plan in a stream's state."""
        return sha256_text(repr(asdict(self.plan)), 16)

    def _not_launched(self, at: int) -> BoolArray:
        """(N,) queries of brands launched after `at`."""
        launches = [m for e, m in zip(self._events, self._targets, strict=True) if e.kind == "brand" and e.at > at]
        return np.any(launches, axis=0) if launches else np.zeros(len(self.queries), np.bool_)

    def _gap(self, number: int) -> int:
        """Number of queries between random events `number` − 1 and `number`."""
        if not self.plan.every:
            return 0
        return 1 + int(np.random.default_rng([self.plan.seed, 1, number]).exponential(self.plan.every))

    def _draw_until(self, at: int) -> None:
        """Add the random events up to a clock; each is a function of its number."""
        while self.plan.every and self._next_at <= at:
            rng = np.random.default_rng([self.plan.seed, 2, self._random_events])
            kind = str(rng.choice([kind for kind in RANDOM_KINDS if self._possible(kind)]))
            length = int(self.plan.every * rng.uniform(0.5, 1.5))
            share = RANDOM_SHARE if kind in ("words", "churn") else float(rng.uniform(0.2, 0.5))
            self._add(Event(kind, self._next_at, length, share))
            self._random_events += 1
            self._next_at += self._gap(self._random_events)

    def _possible(self, kind: str) -> bool:
        """Whether a random event of this kind is possible in the shop."""
        if kind == "season":
            return bool(self.department_N.any())
        if kind == "words":
            return bool(self._synonyms)
        return kind != "churn" or self.plan.reserve > 0

    def _add(self, event: Event) -> None:
        """Append an event: draw its target where `what` is empty, and find the target's queries."""
        rng = np.random.default_rng([self.plan.seed, 3, len(self._events)])
        find: Callable[[Event, np.random.Generator], tuple[str, BoolArray]] | None
        find = {"season": self._season, "trend": self._trend, "brand": self._brand}.get(event.kind)
        what, target_N = find(event, rng) if find else (event.what, np.zeros(len(self.queries), np.bool_))
        self._events.append(replace(event, what=what))
        self._targets.append(target_N)
        if event.kind == "words":
            self._replacement(len(self._events) - 1)  # raises now, not at the event, where no synonyms are known

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
            target_N = queries_naming(self.queries, event.what, self.shop.tokenizer)
            if not target_N.any():
                raise ConfigError(f"trend: no query holds {event.what!r}")
            return event.what, target_N
        frequency_N = np.array([query.frequency for query in self.queries])
        tail = np.flatnonzero(frequency_N <= np.median(frequency_N))
        chosen = rng.choice(tail, min(TREND_QUERIES, len(tail)), replace=False)
        target_N = np.zeros(len(self.queries), np.bool_)
        target_N[chosen] = True
        return " | ".join(self.queries[n].text for n in chosen.tolist()), target_N

    def _brand(self, event: Event, rng: np.random.Generator) -> tuple[str, BoolArray]:
        brands = self.shop.products["brand"].unique().to_pylist()
        for what in [event.what] if event.what else rng.permutation(sorted(filter(None, brands))).tolist():
            if what in brands and (target_N := queries_naming(self.queries, what, self.shop.tokenizer)).any():
                return what, target_N
        raise ConfigError(f"brand: no product and query of brand {event.what!r}: name another, or leave `what` empty")

    @cached_property
    def _synonyms(self) -> dict[str, str]:
        return generated_words() if self.shop.name.startswith("generated") else {}

    def _replacement(self, number: int) -> Replacement:
        """The phrases that event `number` replaces, drawn once."""
        if number not in self._replacements:
            event = self._events[number]
            pairs = read_words(event.what) if event.what else self._synonyms
            if not pairs:
                raise ConfigError(
                    f"{self.shop!r} has no known synonyms: name a YAML file of `phrase: other phrase` in `what`"
                )
            self._replacements[number] = draw_replacement(
                pairs, event.share, np.random.default_rng([self.plan.seed, 4, number])
            )
        return self._replacements[number]

    def _initial_assortment(self) -> BoolArray:
        """(C,) products on sale at the start: all but the reserve and the brands launched later."""
        on_sale_C = ~self._unlaunched(-1)
        rng = np.random.default_rng([self.plan.seed, 5])
        on_sale_C[rng.permutation(len(on_sale_C))[: round(self.plan.reserve * len(on_sale_C))]] = False
        return on_sale_C

    def _rewind(self) -> None:
        """Reset to the initial assortment."""
        self._on_sale_C, self._batches_done, self._clock = self._start_C.copy(), 0, 0
        self._moved.clear()

    def _unlaunched(self, at: int) -> BoolArray:
        """(C,) products of brands launched after `at`."""
        names = [event.what for event in self._events if event.kind == "brand" and event.at > at]
        unlaunched = pa.compute.is_in(self.shop.products["brand"], value_set=pa.array(names, pa.string()))
        return np.asarray(unlaunched.to_numpy(), np.bool_)

    def _batches(self, at: int) -> list[tuple[int, int, int, int]]:
        """(clock, event, batch, number of batches) of the assortment changes due by `at`, in order."""
        due = []
        for number, event in enumerate(self._events):
            if event.kind in CATALOGUE:
                n_batches = BATCHES if event.length and event.kind != "brand" else 1
                due += [(event.at + event.length * j // n_batches, number, j, n_batches) for j in range(n_batches)]
        return sorted(one for one in due if one[0] <= at)

    def _apply_batch(self, number: int, batch: int, n_batches: int) -> None:
        """Remove and add the products of one batch of an event."""
        event, on_sale_C = self._events[number], self._on_sale_C
        if event.kind == "brand":
            on_sale_C |= np.asarray(pa.compute.equal(self.shop.products["brand"], event.what).to_numpy(), np.bool_)
            return
        total = event.share * np.count_nonzero(self._start_C)
        n = round(total * (batch + 1) / n_batches) - round(total * batch / n_batches)
        rng = np.random.default_rng([self.plan.seed, 6, number, batch])
        moved_C = self._moved.setdefault(
            number, np.zeros(len(on_sale_C), np.bool_)
        )  # a product moves at most once per event
        on, off = (
            np.flatnonzero(on_sale_C & ~moved_C),
            np.flatnonzero(~on_sale_C & ~moved_C & ~self._unlaunched(event.at)),
        )
        leaving, coming = rng.permutation(on), rng.permutation(off)[:n]
        if event.kind != "add":
            leaving = leaving[: n if event.kind == "remove" else len(coming)]
            on_sale_C[leaving], moved_C[leaving] = False, True
        if event.kind != "remove":
            on_sale_C[coming], moved_C[coming] = True, True
