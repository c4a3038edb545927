"""Combining a rewrite with its original: searched texts, fused lists, and kept originals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qr_env.common.errors import ConfigError
from qr_env.common.types import Hits
from qr_env.retrieval import combine
from qr_env.retrieval.bm25 import BM25
from tests.helpers.catalogue import shop_of
from tests.helpers.fakes import WordRetriever, tiny_shop


def test_what_each_mode_searches() -> None:
    assert combine.combined_texts(["couch"], ["sofa"], "replace", 3.0) == ["sofa"]
    assert combine.combined_texts(["couch"], ["sofa"], "union", 3.0) == ["sofa"]
    assert combine.combined_texts(["couch"], ["sofa"], "expand", 3.0) == [(("couch", 3.0), ("sofa", 1.0))]


@pytest.mark.parametrize("mode", combine.MODES)
def test_kept_rows_get_exactly_the_originals_hits_in_one_call(mode: str) -> None:
    shop = tiny_shop()
    retriever = WordRetriever(shop)
    originals = ["red sofa", "couch", "fridge black"]
    hits = combine.search(retriever, originals, ["RED sofa ", "sofa", ""], mode, 2.0, 10)
    assert retriever.calls == 1
    alone = WordRetriever(shop).search(originals, 10)
    for n in (0, 2):
        np.testing.assert_array_equal(hits.rows_NK[n], alone.rows_NK[n])
        np.testing.assert_array_equal(hits.scores_NK[n], alone.scores_NK[n])
    assert hits.found_NK[1].all()


def test_equal_texts_are_searched_once() -> None:
    retriever = WordRetriever(tiny_shop())
    combine.search(retriever, ["couch"] * 8, ["sofa"] * 6 + [""] * 2, "replace", 2.0, 5)
    assert retriever.texts == [["sofa", "couch"]]


def test_expand_weights_the_originals_words_more() -> None:
    retriever = WordRetriever(tiny_shop())
    hits = combine.search(retriever, ["red sofa"], ["refrigerator"], "expand", 2.0, 10)
    assert hits.rows_NK[0, 0] == 0 and hits.scores_NK[0, 0] == 4.0


def test_union_ranks_products_of_both_lists_first_then_interleaves_from_the_original() -> None:
    first = Hits(np.array([[1, 2, 3, -1]], np.int32), np.zeros((1, 4), np.float32))
    second = Hits(np.array([[7, 3, 8, 9]], np.int32), np.zeros((1, 4), np.float32))
    fused = combine.fuse(first, second)
    assert fused.rows_NK.tolist() == [[3, 1, 7, 2]]
    assert fused.scores_NK[0, 0] == pytest.approx(1 / 63 + 1 / 62)


@given(st.lists(st.permutations(range(8)), min_size=2, max_size=2), st.integers(0, 6), st.integers(0, 6))
def test_union_equals_a_slow_loop(lists: list[list[int]], short: int, shorter: int) -> None:
    a, b = lists[0][:short], lists[1][:shorter]
    scores: dict[int, float] = {}
    for rank in range(6):
        for found in (a, b):
            if rank < len(found):
                scores[found[rank]] = scores.get(found[rank], 0.0) + 1 / (61 + rank)
    slow = sorted(scores, key=lambda row: -scores[row])[:6]
    padded = [np.array([[*found, *[-1] * 6][:6]], np.int32) for found in (a, b)]
    fused = combine.fuse(*(Hits(rows, np.zeros((1, 6), np.float32)) for rows in padded))
    assert fused.rows_NK[0].tolist() == [*slow, *[-1] * 6][:6]


def test_lists_are_padded_to_k() -> None:
    hits = combine.search_unique(WordRetriever(tiny_shop()), ["sofa", "couch", "sofa"], 100)
    assert hits.rows_NK.shape == (3, 100) and hits.found_NK.sum(axis=1).tolist() == [10, 0, 10]
    assert combine.search_unique(WordRetriever(tiny_shop()), [], 5).rows_NK.shape == (0, 5)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="mixed"):
        combine.check("mixed", 1.0)
    with pytest.raises(ConfigError, match="original_weight=0"):
        combine.check("expand", 0)


def test_words_of_a_rewrite_have_weights_of_their_own() -> None:
    texts = combine.combined_texts(["red 2^3"], ["sofa couch^0.3"], "expand", 2.0)
    assert texts == [(("red 2^3", 2.0), ("sofa", 1.0), ("couch", 0.3))]
    assert combine.combined_texts(["red"], ["sofa couch^0.3"], "replace", 2.0) == [(("sofa", 1.0), ("couch", 0.3))]
    assert combine.combined_texts(["red"], ["sofa couch"], "union", 2.0) == ["sofa couch"]


def test_a_weighted_word_counts_in_bm25_by_its_weight() -> None:
    bm25 = BM25.build(shop_of(["red sofa", "red couch", "blue couch", "green chair"]))
    weighted = combine.search(bm25, ["red"], ["couch^0.5"], "expand", 1.0, k=4)
    red, couch = (bm25.search([word], k=4) for word in ("red", "couch"))
    scores = dict.fromkeys(range(4), 0.0)
    for hits, weight in ((red, 1.0), (couch, 0.5)):
        for row, score in zip(hits.rows_NK[0].tolist(), hits.scores_NK[0].tolist(), strict=True):
            if row >= 0:
                scores[row] += weight * score
    assert weighted.rows_NK[0].tolist() == [1, 0, 2, -1]
    assert weighted.scores_NK[0, :3].tolist() == pytest.approx([scores[1], scores[0], scores[2]], rel=1e-5)
