"""Difficulty of a shop's queries for BM25: against slow counting, by split and slice, with samples."""

from __future__ import annotations

import numpy as np
import pytest

from qr_env.evaluation.scorers import LabelScorer
from qr_env.evaluation.shop_difficulty import describe, word_gaps
from qr_env.language.tokenize import ENGLISH
from qr_env.retrieval.bm25 import BM25
from tests.helpers.fakes import tiny_shop


def test_word_gaps_equal_a_slow_count() -> None:
    shop = tiny_shop()
    bm25 = BM25.build(shop)
    texts = [query.text for query in shop.all_queries] + ["", "the", "red refrigerator sofa", "sofa red", "zzz"]
    columns = [shop.products[name].to_pylist() for name, _ in bm25.settings.fields]
    bags = [set(ENGLISH.terms(" \n ".join(cells))) for cells in zip(*columns, strict=True)]
    known = set().union(*bags)
    unknown_N, none_N = word_gaps(bm25, texts)
    assert unknown_N.tolist() == [not set(ENGLISH.terms(text)) <= known for text in texts]
    assert none_N.tolist() == [not any(set(ENGLISH.terms(text)) <= bag for bag in bags) for text in texts]
    assert 0 < none_N.sum() < len(texts)


def test_difficulty_is_by_split_and_by_slice() -> None:
    shop = tiny_shop()
    rows = describe(shop)["difficulty"]
    assert [(row["split"], row["slice"], row["queries"]) for row in rows[:3]] == [
        ("train", "all", 7),
        ("dev", "all", 2),
        ("test", "all", 3),
    ]
    assert {row["slice"] for row in rows[3:]} >= {"head", "torso", "tail"}
    unknown_N, _ = word_gaps(BM25.build(shop), [query.text for query in shop.split("train")])
    assert rows[0]["unknown word"] == pytest.approx(unknown_N.mean())
    for row in rows:
        assert row["no product has all words"] >= row["unknown word"]
        assert 0 <= row["nDCG@10"] <= 1
        assert 0 <= row["R@100"] <= 1


def test_ndcg_equals_that_of_the_evaluation() -> None:
    shop = tiny_shop()
    queries = shop.split("train")
    hits = BM25.build(shop).search([query.text for query in queries], 30)
    scorer = LabelScorer(shop, queries, k=30)
    expected = scorer.rank(hits, scorer.grade(hits))["nDCG@10"].mean()
    assert describe(shop, "train")["difficulty"][0]["nDCG@10"] == pytest.approx(expected, abs=1e-6)


def test_samples_show_a_relevant_title() -> None:
    shop = tiny_shop()
    samples = describe(shop, samples=2)["samples"]
    assert samples == describe(shop, samples=2)["samples"]
    text_of = {query.text: query for query in shop.all_queries}
    for row in samples:
        levels = shop.levels(
            [text_of[row["query"]].row], np.array([[shop.titles.index(row["relevant title"])]], np.int32)
        )
        assert levels[0, 0] >= 2
