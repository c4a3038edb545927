"""The queries of the generated shop: intents in merchants' or shoppers' words, with typos, splits and slice labels.

queries = draw_queries(vocabulary, stock, 13_000, random.Random(0))
queries.texts[0], queries.intents[0], queries.oracle[0], queries.slices["typo"][0]
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate, permutations
from math import prod

import numpy as np
import numpy.typing as npt

from qr_env.language.tokenize import ENGLISH
from qr_env.shop.generated import noise, phrases
from qr_env.shop.generated.intents import Intent, Intents
from qr_env.shop.generated.products import Stock
from qr_env.shop.generated.vocabulary import Vocabulary
from qr_env.shop.generated.wording import Flags, Wording
from qr_env.shop.shop import SPLITS

PLAIN_RATE = 0.37  # queries in the merchants' words, which need no rewrite
HELDOUT_RATE = 0.12  # of the test queries; with 0.30, 42 % of test queries would have an unknown word
TYPO_RATE = 0.18  # of the shoppers' queries
SPACING_RATE = 0.10  # of the shoppers' queries: words joined or split
FILLER_RATE = 0.10
CONSTRAINTS = (13, 36, 36, 15)  # percentage of queries with 0, 1, 2, 3 constraints
KIND_WEIGHTS = {"color": 4.0, "material": 3.6, "size": 3.5, "wants": 2.5, "brand": 1.6, "refuses": 0.4}
SLICES = (
    "held-out words",
    "typo",
    "synonym",
    "unit",
    "colour/material",
    "purpose",
    "brand misspelt",
    "negation",
    "joined/split",
    "broad",
    "plain",
)


@dataclass
class Queries:
    """Columns over the queries; the order of rows carries no information."""

    texts: list[str] = field(default_factory=list)
    """Query texts, lower-case, all different."""
    splits: list[str] = field(default_factory=list)
    """"train", "dev" or "test"."""
    intents: list[Intent] = field(default_factory=list)
    """The intent of each query."""
    oracle: list[str] = field(default_factory=list)
    """The oracle rewrite of each query."""
    flags: list[Flags] = field(default_factory=list)
    """Names of the slices that each query belongs to."""

    @property
    def slices(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Slice name → (queries,) bool."""
        return {name: np.array([name in flags for flags in self.flags], np.bool_) for name in SLICES}


def draw_queries(vocabulary: Vocabulary, stock: Stock, n: int, draw: random.Random) -> Queries:
    """Draw `n` queries with different texts, round-robin over all types."""
    intents = Intents(vocabulary, stock, draw)
    words = {split: Wording(vocabulary, stock.names, draw) for split in SPLITS}
    known = _words_of(vocabulary)
    queries, seen = Queries(), set()
    # A separate round-robin for each split and style: the words of all types are equally frequent.
    types: dict[tuple[str, str], Iterator[int]] = {}
    for _ in range(n):
        split, style = _plan(draw)
        turn = types.setdefault((split, style), _in_turn(len(vocabulary.types), draw))
        attempts = _attempts(intents, words[split], turn, style, known, draw)
        # A typo must not produce a held-out word outside the test split.
        text, intent, flags = next(
            one
            for one in attempts
            if one[0] not in seen and (split == "test" or vocabulary.heldout_terms.isdisjoint(ENGLISH.terms(one[0])))
        )
        seen.add(text)
        queries.texts.append(text)
        queries.splits.append(split)
        queries.intents.append(intent)
        queries.oracle.append(words[split].oracle(intent))
        queries.flags.append(flags)
    return queries


def _in_turn(count: int, draw: random.Random) -> Iterator[int]:
    """Endless type numbers, all equally frequent."""
    numbers = list(range(count))
    while True:
        draw.shuffle(numbers)
        yield from numbers


def _plan(draw: random.Random) -> tuple[str, str]:
    """Split and style of one query, 80 / 10 / 10; not by a hash: some words are for the test split only."""
    bucket = draw.randrange(10)
    split = "test" if bucket == 9 else "dev" if bucket == 8 else "train"
    way = draw.random()
    if way < PLAIN_RATE:
        return split, "plain"
    return split, "held-out" if split == "test" and way < PLAIN_RATE + HELDOUT_RATE else "shopper"


def _attempts(
    intents: Intents, words: Wording, types: Iterator[int], style: str, known: frozenset[str], draw: random.Random
) -> Iterator[tuple[str, Intent, Flags]]:
    """Endless candidate queries of one style, each of the next type."""
    for number in types:
        intent = intents.draw(number, _kinds(draw))
        text, flags = _query_text(words, intent, style, known, draw)
        yield text.lower(), intent, flags


def _kinds(draw: random.Random) -> tuple[str, ...]:
    """Up to three different kinds of constraint."""
    chosen, weights = _kind_lists()
    return draw.choices(chosen, cum_weights=weights)[0]


@cache
def _kind_lists() -> tuple[list[tuple[str, ...]], list[float]]:
    """Every possible list of kinds, and their cumulative weights."""
    chance: dict[tuple[str, ...], float] = {}
    for count, share in enumerate(CONSTRAINTS):
        lists = [one for one in permutations(KIND_WEIGHTS, count) if not {"wants", "refuses"} <= set(one)]
        weights = [prod(KIND_WEIGHTS[kind] for kind in one) for one in lists]
        chance |= {one: share * weight / sum(weights) for one, weight in zip(lists, weights, strict=True)}
    return list(chance), list(accumulate(chance.values()))


def _words_of(vocabulary: Vocabulary) -> frozenset[str]:
    """Known words, at which a longer word may be split."""
    texts = (text for one in vocabulary.types for text in (*one.noun, *one.shopper, *one.purposes, one.category))
    return frozenset(word for text in texts for word in text.lower().split() if word.isalpha())


def _query_text(
    words: Wording, intent: Intent, style: str, known: frozenset[str], draw: random.Random
) -> tuple[str, Flags]:
    """The text of one query, and the slices that it belongs to."""
    if style == "plain":
        text, flags = words.merchant(intent), {"plain"}
    else:
        text, flags = words.shopper(intent, heldout=style == "held-out")
        text = _with_typo(text, flags, known, draw)
    if intent.has("refuses"):
        flags.add("negation")
    if not intent.constraints:
        flags.add("broad")
    return _with_filler(text, intent, draw), flags


def _with_typo(text: str, flags: Flags, known: frozenset[str], draw: random.Random) -> str:
    """The text, in some cases with a typo or a wrong space; always where it would otherwise be a plain query."""
    way = draw.random() * (1.0 if flags else TYPO_RATE + SPACING_RATE)
    if way < TYPO_RATE:
        changed, flag = noise.typo(text, draw), "typo"
    elif way < TYPO_RATE + SPACING_RATE:
        changed, flag = noise.split(text, known, draw), "joined/split"
        changed = noise.joined(text, draw) if changed == text else changed
    else:
        return text
    if changed != text:
        flags.add(flag)
    elif not flags:
        flags.add("plain")
    return changed


def _with_filler(text: str, intent: Intent, draw: random.Random) -> str:
    """The text, in 10 % of the cases with a filler phrase."""
    way = draw.random()
    if way < FILLER_RATE / 2:
        return f"{draw.choice(phrases.FILLERS_BEFORE)} {text}"
    if way < FILLER_RATE and not intent.has("refuses"):
        return f"{text} {draw.choice(phrases.FILLERS_AFTER)}"
    return text
