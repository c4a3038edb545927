"""`agents.suggestions.query_log`, with both statistics computed by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pytest
import scipy.sparse as sp

from agents.suggestions.query_log import LogSource
from agents.suggestions.title_words import TitleStems
from qr_env.shop.shop import PURCHASE_SCHEMA, QUERY_SCHEMA, Shop
from tests.helpers.catalogue import shop_of

TITLES = [
    *["leather sofa"] * 3,
    *["garden hose reel"] * 3,
    *["brass nozzle"] * 3,
    *[f"oak floor {name}" for name in ("ash", "elm", "fir", "yew", "box") for _ in range(15)],
]


def shop_with(queries: Sequence[tuple[str, str]], bought: Sequence[tuple[int, int]] = ()) -> Shop:
    """A shop with (text, split) queries and (query row, product row) purchases."""
    shop = shop_of(TITLES)
    names = [f"q{row}" for row in range(len(queries))]
    columns = {"query_id": names, "query": [q[0] for q in queries], "split": [q[1] for q in queries]}
    log = {"query_id": [f"q{q}" for q, _ in bought], "product_id": [f"p{p}" for _, p in bought]}
    return replace(
        shop,
        queries=pa.table({**columns, "frequency": [1.0] * len(queries)}, schema=None).select(QUERY_SCHEMA.names),
        qrels=sp.csr_matrix((len(queries), len(TITLES)), dtype="int8"),
        purchases=pa.table({**log, "source": ["search"] * len(bought)}).select(PURCHASE_SCHEMA.names)
        if bought
        else PURCHASE_SCHEMA.empty_table(),
    )


def words(shop: Shop, query: str) -> dict[str, float]:
    """Suggested word → weight."""
    [suggestions] = LogSource(shop, TitleStems(shop.titles, shop.tokenizer)).suggest([query])
    assert all(one.source == "log" for one in suggestions)
    return {one.word: one.weight for one in suggestions}


def test_words_of_titles_bought_for_a_query_word() -> None:
    # "couch": four purchases, three of sofas, one of a hose.
    shop = shop_with([("red couch", "train"), ("blue couch", "train")], [(0, 0), (0, 1), (1, 2), (1, 3)])
    assert words(shop, "couch") == {
        "leather": 0.75, "sofa": 0.75, "garden": 0.25, "hose": 0.25, "reel": 0.25,
    }  # fmt: skip
    # One of two words is unknown: half of that; a known query's own purchases count as much as its words'.
    assert words(shop, "green couch")["sofa"] == pytest.approx(0.375)
    assert words(shop, "red couch")["sofa"] == pytest.approx((0.75 / 2 + 1.0) / 2)


def test_few_purchases_of_a_word_suggest_nothing_for_other_queries() -> None:
    shop = shop_with([("couch", "train")], [(0, 0), (0, 1)])
    assert words(shop, "old couch") == {}
    assert words(shop, "couch")["sofa"] == 0.5  # its own purchases


def test_words_that_go_together_in_other_queries() -> None:
    texts = ["hose nozzle", "brass hose nozzle", "hose nozzle green", "hose", "sofa", "oak floor ash", "red sofa"]
    shop = shop_with([(text, "train") for text in texts])
    npmi = math.log(3 * 7 / (4 * 3)) / -math.log(3 / 7)
    assert words(shop, "hose") == pytest.approx({"nozzle": npmi})
    assert words(shop, "sofa") == {}  # two queries are too few


def test_only_train_queries_are_read() -> None:
    shop = shop_with([("couch", "test"), ("couch red", "dev"), ("hose", "train")], [(0, 0), (0, 1), (0, 2), (1, 0)])
    assert words(shop, "couch") == {}


def test_a_shop_without_queries_suggests_nothing() -> None:
    shop = shop_of(TITLES)
    assert LogSource(shop, TitleStems(shop.titles, shop.tokenizer)).suggest(["couch", ""]) == [[], []]
