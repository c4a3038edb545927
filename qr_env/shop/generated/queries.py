"""The queries of the generated shop: needs, worded as merchants or as shoppers, with slips, split and marked.

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

from qr_env.common import tokenize
from qr_env.shop.generated import noise, phrases
from qr_env.shop.generated.intents import Intent, Intents
from qr_env.shop.generated.products import Stock
from qr_env.shop.generated.vocabulary import Vocabulary
from qr_env.shop.generated.wording import Marks, Wording
from qr_env.shop.shop import SPLITS

PLAIN_RATE = 0.37  # queries worded as merchants would, best left alone
HELDOUT_RATE = 0.12  # of the test queries: at 0.30 the test split had 42 % of queries with an unknown word
TYPO_RATE = 0.18  # of the shoppers' queries
SPACING_RATE = 0.10  # of the shoppers' queries: words joined or split
FILLER_RATE = 0.10
CONSTRAINTS = (13, 36, 36, 15)  # how many queries in a hundred have 0, 1, 2, 3 constraints
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
    """Queries by row, in no order that means anything."""

    texts: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    oracle: list[str] = field(default_factory=list)
    marks: list[Marks] = field(default_factory=list)

    @property
    def slices(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Slice name → (queries,) bool."""
        return {name: np.array([name in marks for marks in self.marks], np.bool_) for name in SLICES}


def draw_queries(vocabulary: Vocabulary, stock: Stock, n: int, draw: random.Random) -> Queries:
    """Draw `n` queries with texts that differ, over all types in turn."""
    needs = Intents(vocabulary, stock, draw)
    words = {split: Wording(vocabulary, stock.names, draw) for split in SPLITS}
    known = _words_of(vocabulary)
    queries, seen = Queries(), set()
    # One round of the types for each kind of query: every type's words are heard equally often.
    types: dict[tuple[str, str], Iterator[int]] = {}
    for _ in range(n):
        split, style = _plan(draw)
        turn = types.setdefault((split, style), _in_turn(len(vocabulary.types), draw))
        attempts = _attempts(needs, words[split], turn, style, known, draw)
        # A slip of the keyboard must not make a word that only the test may have.
        text, intent, marks = next(
            one
            for one in attempts
            if one[0] not in seen and (split == "test" or vocabulary.heldout_terms.isdisjoint(tokenize.terms(one[0])))
        )
        seen.add(text)
        queries.texts.append(text)
        queries.splits.append(split)
        queries.intents.append(intent)
        queries.oracle.append(words[split].oracle(intent))
        queries.marks.append(marks)
    return queries


def _in_turn(count: int, draw: random.Random) -> Iterator[int]:
    """Type numbers for ever, each equally often."""
    numbers = list(range(count))
    while True:
        draw.shuffle(numbers)
        yield from numbers


def _plan(draw: random.Random) -> tuple[str, str]:
    """Split and style of one query, 80 / 10 / 10; not by the text's hash: some words belong to the test alone."""
    bucket = draw.randrange(10)
    split = "test" if bucket == 9 else "dev" if bucket == 8 else "train"
    way = draw.random()
    if way < PLAIN_RATE:
        return split, "plain"
    return split, "held-out" if split == "test" and way < PLAIN_RATE + HELDOUT_RATE else "shopper"


def _attempts(
    needs: Intents, words: Wording, types: Iterator[int], style: str, known: frozenset[str], draw: random.Random
) -> Iterator[tuple[str, Intent, Marks]]:
    """Queries of one style for ever, each of the next type."""
    for number in types:
        intent = needs.draw(number, _kinds(draw))
        text, marks = _worded(words, intent, style, known, draw)
        yield text.lower(), intent, marks


def _kinds(draw: random.Random) -> tuple[str, ...]:
    """Up to three different kinds of constraint, the most important first."""
    chosen, weights = _kind_lists()
    return draw.choices(chosen, cum_weights=weights)[0]


@cache
def _kind_lists() -> tuple[list[tuple[str, ...]], list[float]]:
    """Every list of kinds that a query can have, and the running sum of their chances."""
    chance: dict[tuple[str, ...], float] = {}
    for count, share in enumerate(CONSTRAINTS):
        lists = [one for one in permutations(KIND_WEIGHTS, count) if not {"wants", "refuses"} <= set(one)]
        weights = [prod(KIND_WEIGHTS[kind] for kind in one) for one in lists]
        chance |= {one: share * weight / sum(weights) for one, weight in zip(lists, weights, strict=True)}
    return list(chance), list(accumulate(chance.values()))


def _words_of(vocabulary: Vocabulary) -> frozenset[str]:
    """Words at which a longer word may be cut in two."""
    texts = (text for one in vocabulary.types for text in (*one.noun, *one.shopper, *one.purposes, one.category))
    return frozenset(word for text in texts for word in text.lower().split() if word.isalpha())


def _worded(
    words: Wording, intent: Intent, style: str, known: frozenset[str], draw: random.Random
) -> tuple[str, Marks]:
    """The text of one query, and its marks."""
    if style == "plain":
        text, marks = words.merchant(intent), {"plain"}
    else:
        text, marks = words.shopper(intent, heldout=style == "held-out")
        text = _slipped(text, marks, known, draw)
    if intent.has("refuses"):
        marks.add("negation")
    if not intent.constraints:
        marks.add("broad")
    return _filled(text, intent, draw), marks


def _slipped(text: str, marks: Marks, known: frozenset[str], draw: random.Random) -> str:
    """With a typo or a wrong space, now and then; always where nothing else makes the query differ from a plain one."""
    way = draw.random() * (1.0 if marks else TYPO_RATE + SPACING_RATE)
    if way < TYPO_RATE:
        slip, mark = noise.typo(text, draw), "typo"
    elif way < TYPO_RATE + SPACING_RATE:
        slip, mark = noise.split(text, known, draw), "joined/split"
        slip = noise.joined(text, draw) if slip == text else slip
    else:
        return text
    if slip != text:
        marks.add(mark)
    elif not marks:
        marks.add("plain")
    return slip


def _filled(text: str, intent: Intent, draw: random.Random) -> str:
    """With a word that says nothing, now and then."""
    way = draw.random()
    if way < FILLER_RATE / 2:
        return f"{draw.choice(phrases.FILLERS_BEFORE)} {text}"
    if way < FILLER_RATE and not intent.has("refuses"):
        return f"{text} {draw.choice(phrases.FILLERS_AFTER)}"
    return text
