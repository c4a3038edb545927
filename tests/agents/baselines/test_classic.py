"""Rewriters without training: which queries they change and which they keep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.baselines.classic import RM3, Identity, Oracle, Spell
from qr_env.common.errors import ConfigError
from qr_env.common.types import Hits
from qr_env.shop.shop import Shop
from tests.helpers.fakes import WordRetriever, tiny_shop


@pytest.fixture(scope="module")
def shop() -> Shop:
    return tiny_shop()


def test_the_oracle_needs_a_shop_that_has_one(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="no oracle"):
        Oracle(replace(shop, oracle={}))


def test_identity_and_oracle(shop: Shop) -> None:
    assert Identity().rewrite(["a b"]) == [["a b"]]
    assert Oracle(shop).rewrite(["blue couch", "unknown text"]) == [["blue sofa"], ["unknown text"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("runing shoos", "running shoes"),
        ("refrigirator BLACK", "refrigerator BLACK"),
        ("red sofas", "red sofas"),  # the stem is known
        ("sof", "sof"),  # three letters
        ("size 421x", "size 421x"),  # digits; "size" is known
        ("zzzzzzzzz", "zzzzzzzzz"),  # far from everything
        ("lindhlom-sofa", "lindholm-sofa"),  # a swap is one edit; punctuation stays
        ("", ""),
    ],
)
def test_spelling(shop: Shop, query: str, expected: str) -> None:
    assert Spell(shop).rewrite([query]) == [[expected]]


def test_spelling_prefers_the_more_frequent_of_equally_near_words(shop: Shop) -> None:
    agent = Spell(shop)
    # "blaci": black in titles of three types; nothing else is one edit away.
    assert agent.rewrite(["blaci"])[0][0] == "black"


def test_rm3_equals_the_textbook_sum(shop: Shop) -> None:
    retriever = WordRetriever(shop)
    agent = RM3(shop, retriever, fb_docs=4, fb_terms=3, max_share=0.5)
    hits = retriever.search(["red"], 4)
    scores = {row: score for row, score in zip(hits.rows_NK[0], hits.scores_NK[0], strict=True) if row >= 0}
    weight: dict[str, float] = {}
    for row, score in scores.items():
        title = shop.titles[row].lower().split()
        for word in title:
            if len(word) > 1 and word not in ("red",):
                weight[word] = weight.get(word, 0) + float(score) / sum(scores.values()) / len(title)
    picked = agent.rewrite(["red"])[0][0].split()
    assert len(picked) == 3
    assert "red" not in picked
    assert min(weight[word] for word in picked) >= sorted(weight.values())[-3] - 1e-9


def test_rm3_keeps_a_query_without_results_and_accepts_negative_scores(shop: Shop) -> None:
    class Negative:
        name = "dense"

        def search(self, queries: list[str], k: int) -> Hits:
            rows = np.tile(np.arange(k, dtype=np.int32), (len(queries), 1))
            return Hits(rows, np.linspace(-0.1, -0.9, k, dtype=np.float32)[None].repeat(len(queries), 0))

        def save(self, folder: Path) -> None: ...

    assert RM3(shop, WordRetriever(shop)).rewrite(["icebox"]) == [["icebox"]]
    added = RM3(shop, Negative(), fb_docs=2, max_share=0.5).rewrite(["couch"])[0][0].split()
    # The better title of two carries nearly all of the weight.
    assert set(added) & {"red"} and len(added) == len(set(added))
