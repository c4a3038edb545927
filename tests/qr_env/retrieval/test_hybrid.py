"""Hybrid: reciprocal rank fusion against a slow loop, over any retrievers, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qr_env.common.errors import ConfigError, IndexMismatchError
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.dense import Dense
from qr_env.retrieval.factory import make_retriever
from qr_env.retrieval.hybrid import Hybrid, fuse
from tests.helpers.catalogue import random_titles, shop_of
from tests.helpers.fakes import HashEncoder

SHOP = shop_of(random_titles(300))
QUERIES = random_titles(30, seed=1, longest=4)
ENCODER = HashEncoder()


def loop_fuse(lists: list[np.ndarray], k: int, rrf_k: int) -> list[list[int]]:
    """One query and one product at a time; best first, ties by row."""
    fused = []
    for rankings in zip(*lists, strict=True):
        scores: dict[int, float] = {}
        for ranking in rankings:
            for rank, row in enumerate(ranking.tolist(), start=1):
                if row >= 0:
                    scores[row] = scores.get(row, 0.0) + 1 / (rrf_k + rank)
        best = sorted(scores, key=lambda row: (-np.float32(scores[row]), row))[:k]
        fused.append(best + [-1] * (k - len(best)))
    return fused


def test_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    lists = [np.array([rng.permutation(40)[:width] for _ in range(50)], np.int32) for width in (12, 7, 20)]
    for ranking in lists:
        ranking[rng.random(50) < 0.2, 3:] = -1
    assert fuse(lists, 15).rows_NK.tolist() == loop_fuse(lists, 15, 60)
    assert fuse(lists, 60, rrf_k=5).rows_NK.tolist() == loop_fuse(lists, 60, 5)


def test_scores_are_reciprocal_ranks() -> None:
    hits = fuse([np.array([[4, 2]], np.int32), np.array([[2, -1]], np.int32)], 3)
    assert hits.rows_NK.tolist() == [[2, 4, -1]]
    np.testing.assert_allclose(hits.scores_NK[0], [1 / 62 + 1 / 61, 1 / 61, -np.inf], rtol=1e-6)


def test_nothing_found_and_no_queries() -> None:
    assert fuse([np.full((2, 3), -1, np.int32)] * 2, 4).rows_NK.tolist() == [[-1] * 4] * 2
    assert fuse([np.full((0, 3), -1, np.int32)], 4).rows_NK.shape == (0, 4)


def test_both_retrievers_contribute() -> None:
    shop = shop_of(["red sofa", "crimson settee", "lamp"])  # the encoder knows settee = couch, BM25 does not
    hybrid = Hybrid.build(shop, ENCODER)
    assert hybrid.search(["couch"], 3).rows_NK[0, 0] in (0, 1)
    assert hybrid.search(["lamp"], 1).rows_NK.tolist() == [[2]]
    assert not hybrid.search([""], 3).found_NK.any()
    weighted = hybrid.search([(("lamp", 3.0), ("couch", 0.1))], 3)
    assert weighted.rows_NK[0, 0] == 2


def test_equals_its_parts_fused() -> None:
    parts = (BM25.build(SHOP), Dense.build(SHOP, ENCODER))
    lists = [part.search(QUERIES, 100).rows_NK for part in parts]
    assert Hybrid(parts).search(QUERIES, 10).rows_NK.tolist() == loop_fuse(lists, 10, 60)


def test_save_load_and_cache(tmp_path: Path) -> None:
    hybrid = make_retriever("hybrid", SHOP, tmp_path / "cache", ENCODER)
    expected = hybrid.search(QUERIES, 10).rows_NK
    hybrid.save(tmp_path / "index")
    loaded = Hybrid.load(tmp_path / "index", SHOP, ENCODER)
    np.testing.assert_array_equal(loaded.search(QUERIES, 10).rows_NK, expected)
    again = make_retriever("hybrid", SHOP, tmp_path / "cache", ENCODER)
    np.testing.assert_array_equal(again.search(QUERIES, 10).rows_NK, expected)
    with pytest.raises(IndexMismatchError):
        Hybrid.load(tmp_path / "index", shop_of(["sofa"]), ENCODER)


def test_it_needs_a_retriever() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        Hybrid(())
