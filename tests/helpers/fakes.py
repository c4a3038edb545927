"""Fakes for tests: a shop of 30 products with complete labels, an encoder, a retriever, judges, a language model.

    from tests.helpers.fakes import HashEncoder, WordRetriever, tiny_shop

No network, no weights, no index: everything is computed from the texts, the same on every machine.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from agents.prompted.language_model import Answers
from judges.simple.labels import LabelsJudge
from qr_env.common.protocols import Shopper
from qr_env.common.types import (
    COMPLEMENT,
    EXACT,
    IRRELEVANT,
    SUBSTITUTE,
    Engagement,
    FloatArray,
    Grades,
    Hits,
    Query,
    RowArray,
    SearchText,
)
from qr_env.environment.simulator import Simulator
from qr_env.reward.reward import Reward
from qr_env.shop.shop import PRODUCT_SCHEMA, PURCHASE_SCHEMA, QUERY_SCHEMA, Shop

COLORS = ("red", "blue", "green", "black", "white", "grey", "brown", "pink", "yellow", "beige")
# Ten products of each type: (type, category, brand, tail of the title).
TYPES = (
    ("sofa", "furniture", "Lindholm", "3 seater fabric"),
    ("refrigerator", "appliances", "Frosta", "freezer 300 l"),
    ("running shoes", "sports", "Velo", "men size 42"),
)
# id → (text, frequency, split, type that is Exact, colour or "" for all, best rewrite).
QUERIES: dict[str, tuple[str, float, str, str, str, str]] = {
    "q00": ("sofa", 90.0, "train", "sofa", "", "sofa"),
    "q01": ("couch", 60.0, "train", "sofa", "", "sofa"),
    "q02": ("red sofa", 30.0, "train", "sofa", "red", "red sofa"),
    "q03": ("fridge", 45.0, "train", "refrigerator", "", "refrigerator"),
    "q04": ("blue couch", 12.0, "train", "sofa", "blue", "blue sofa"),
    "q05": ("trainers", 40.0, "train", "running shoes", "", "running shoes"),
    "q06": ("runing shoos", 8.0, "train", "running shoes", "", "running shoes"),
    "q07": ("frosta fridge black", 6.0, "dev", "refrigerator", "black", "frosta refrigerator black"),
    "q08": ("settee", 5.0, "dev", "sofa", "", "sofa"),
    "q09": ("running shoes", 25.0, "test", "running shoes", "", "running shoes"),
    "q10": ("couch white", 4.0, "test", "sofa", "white", "sofa white"),
    "q11": ("icebox", 2.0, "test", "refrigerator", "", "refrigerator"),
}
SYNONYMS = {
    "couch": "sofa",
    "settee": "sofa",
    "fridge": "refrigerator",
    "icebox": "refrigerator",
    "trainers": "shoes",
    "runing": "running",
    "shoos": "shoes",
}


def words(text: str) -> list[str]:
    """Lower-cased words of a text."""
    return re.findall(r"\w+", text.lower())


def tiny_shop() -> Shop:
    """30 products, 12 queries, complete qrels and purchases; `oracle` holds the best rewrite of every query."""
    products = _products()
    queries = {"query_id": list(QUERIES), "query": [q[0] for q in QUERIES.values()]}
    queries |= {"frequency": [q[1] for q in QUERIES.values()], "split": [q[2] for q in QUERIES.values()]}
    levels_PC = np.array([_levels(q[3], q[4]) for q in QUERIES.values()])
    bought = [
        (query, products["product_id"][row], source)
        for query, levels_C in zip(QUERIES, levels_PC, strict=True)
        for row, source in zip(np.flatnonzero(levels_C == EXACT)[:2], ("search", "outside"), strict=False)
    ]
    purchases = dict(zip(PURCHASE_SCHEMA.names, map(list, zip(*bought, strict=True)), strict=True))
    return Shop(
        name="tiny",
        products=pa.table(products, schema=PRODUCT_SCHEMA),
        queries=pa.table(queries, schema=QUERY_SCHEMA),
        qrels=sp.csr_matrix((levels_PC + 1).astype(np.int8)),
        purchases=pa.table(purchases, schema=PURCHASE_SCHEMA),
        qrels_complete=True,
        oracle={name: query[5] for name, query in QUERIES.items()},
        slices={"color": np.array([bool(query[4]) for query in QUERIES.values()])},
    )


def tiny_simulator(blocks: int, group_size: int) -> Simulator:
    """The tiny shop searched by words, graded by its labels, with the default reward."""
    shop = tiny_shop()
    return Simulator(shop, WordRetriever(shop), LabelsJudge(shop), Reward(), blocks=blocks, group_size=group_size)


def _products() -> dict[str, list[str] | list[float]]:
    rows = [(kind, color) for kind in TYPES for color in COLORS]
    return {
        "product_id": [f"p{row:02d}" for row in range(len(rows))],
        "title": [f"{brand} {name} {color} {tail}" for (name, _, brand, tail), color in rows],
        "description": [f"A {color} {name} by {brand}." for (name, _, brand, _), color in rows],
        "brand": [kind[2] for kind, _ in rows],
        "category": [kind[1] for kind, _ in rows],
        "color": [color for _, color in rows],
        "price": [100.0 + 10 * row for row in range(len(rows))],
        "attributes": [kind[3] for kind, _ in rows],
    }


def _levels(type_name: str, color: str) -> list[int]:
    """Exact: right type and colour. Substitute: right type, another colour. Complement: another type, same colour."""
    return [
        (EXACT if color in ("", other) else SUBSTITUTE)
        if kind[0] == type_name
        else (COMPLEMENT if color == other else IRRELEVANT)
        for kind in TYPES
        for other in COLORS
    ]


class HashEncoder:
    """An encoder without weights: the normalized sum of one fixed random vector a word; synonyms share a vector."""

    name = "hash"

    def __init__(self, dim: int = 64) -> None:
        self.dim = dim
        self.texts_encoded = 0

    def encode(self, texts: Sequence[str], show_progress: bool = False) -> FloatArray:
        """(N, dim) float32 unit vectors; the zero text gets a unit vector too."""
        self.texts_encoded += len(texts)
        vectors_ND = np.array([self._vector(text) for text in texts], np.float32).reshape(len(texts), self.dim)
        return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True).clip(1e-9)

    def _vector(self, text: str) -> np.ndarray:
        keys = [SYNONYMS.get(word, word) for word in words(text)] or [""]
        return np.sum([np.random.default_rng(zlib.crc32(key.encode())).normal(size=self.dim) for key in keys], axis=0)


class WordRetriever:
    """Scores a product by the weighted number of query words in its title; ties by row; counts its calls."""

    name = "words"

    def __init__(self, shop: Shop) -> None:
        titles = [set(words(title)) for title in shop.titles]
        self.vocabulary = {word: n for n, word in enumerate(sorted(set().union(*titles)))}
        self.holds_VC = np.array([[word in title for title in titles] for word in self.vocabulary], np.float32)
        self.calls = 0
        self.texts: list[list[SearchText]] = []

    def search(self, queries: Sequence[SearchText], k: int) -> Hits:
        """Best k products of each text; padding where fewer hold any of its words."""
        self.calls += 1
        self.texts.append(list(queries))
        weights_NV = np.zeros((len(queries), len(self.vocabulary)), np.float32)
        for n, query in enumerate(queries):
            for text, weight in ((query, 1.0),) if isinstance(query, str) else query:
                for word in words(text):
                    if word in self.vocabulary:
                        weights_NV[n, self.vocabulary[word]] += weight
        scores_NC = weights_NV @ self.holds_VC
        k = min(k, scores_NC.shape[1])
        order_NK = np.argsort(-scores_NC, axis=1, kind="stable")[:, :k]
        scores_NK = np.take_along_axis(scores_NC, order_NK, axis=1)
        found_NK = scores_NK > 0
        return Hits(
            np.where(found_NK, order_NK, -1).astype(np.int32),
            np.where(found_NK, scores_NK, -np.inf).astype(np.float32),
        )


class CountingJudge:
    """Wraps a judge and counts `calls` and graded `pairs`."""

    def __init__(self, judge: object) -> None:
        self.judge = judge
        self.name = "counting"
        self.calls = 0
        self.pairs = 0

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """The inner judge's verdicts."""
        self.calls += 1
        self.pairs += int((rows_NK >= 0).sum())
        return self.judge.grade(queries, rows_NK)  # type: ignore[attr-defined,no-any-return]


class CountingShopper:
    """Wraps a shopper and counts `calls` and result `lists`."""

    def __init__(self, shopper: Shopper) -> None:
        self.shopper = shopper
        self.name = "counting"
        self.calls = 0
        self.lists = 0

    def engage(self, queries: Sequence[Query], rows_NK: RowArray, grades: Grades) -> Engagement:
        """The inner shopper's engagement."""
        self.calls += 1
        self.lists += len(rows_NK)
        return self.shopper.engage(queries, rows_NK, grades)


class ScriptedModel:
    """A language model that answers by a table from the prompt's query, in reverse order; other queries time out.
    `asked` lists the queries of all prompts."""

    name, settings = "scripted", {"decoding": "greedy"}

    def __init__(self, table: dict[str, str]) -> None:
        self.table = table
        self.asked: list[str] = []

    def generate(self, prompts: Sequence[str], max_tokens: int, json_schema: bool) -> Answers:
        """The table's texts."""
        for index, prompt in reversed(list(enumerate(prompts))):
            query = prompt.split("Query: ")[-1].split("\n")[0]
            self.asked.append(query)
            yield (index, self.table[query], "") if query in self.table else (index, "", "timeout")


class FailingJudge:
    """A judge whose verdicts are all missing, as if its service were down."""

    name = "failing"

    def grade(self, queries: Sequence[Query], rows_NK: RowArray) -> Grades:
        """NaN everywhere."""
        return Grades(np.full((*rows_NK.shape, 4), np.nan, np.float32))
