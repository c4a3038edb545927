"""A changing assortment: equal to a brute-force search of the products on sale, one epoch a search."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from judges.simple.labels import LabelsJudge
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import FilteredRetriever
from qr_env.common.types import Hits
from qr_env.environment.env import QueryRewriteEnv
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.dense import Dense
from qr_env.retrieval.hybrid import DEPTH, Hybrid, fuse
from qr_env.retrieval.live_catalogue import Assortment, LiveRetriever
from tests.helpers.catalogue import random_titles, shop_of
from tests.helpers.fakes import CountingJudge, HashEncoder, tiny_shop

SIZE, K = 1_200, 10
# No two titles of the same words: equal vectors are ties that FAISS may break either way at the end of a list.
SHOP = shop_of(list({tuple(sorted(t.split())): t for t in random_titles(2 * SIZE, vocabulary=200)}.values())[:SIZE])
QUERIES = random_titles(100, seed=1, vocabulary=200, longest=4)
ENCODER = HashEncoder()
WORDS = BM25.build(SHOP)
FLAT = Dense.build(SHOP, ENCODER)
CELLS = Dense.build(SHOP, ENCODER, flat_limit=100)
ENGINES: dict[str, FilteredRetriever] = {
    "bm25": WORDS,
    "dense": FLAT,
    "cells": CELLS,
    "hybrid": Hybrid((WORDS, FLAT)),
}


def masks() -> list[np.ndarray]:
    """All products on sale, nine tenths, 2 %, a block of rows missing, one product, none."""
    rng = np.random.default_rng(0)
    block_C = np.arange(SIZE) >= 400
    return [rng.random(SIZE) < share for share in (1.0, 0.9, 0.02)] + [block_C, np.arange(SIZE) == 77, block_C & False]


def filtered(everything: Hits, mask_C: np.ndarray, k: int) -> list[list[int]]:
    """Brute force: the complete ranking without products off sale, one list at a time."""
    lists = [[row for row in rows if row >= 0 and mask_C[row]][:k] for rows in everything.rows_NK.tolist()]
    return [rows + [-1] * (k - len(rows)) for rows in lists]


@pytest.mark.parametrize("name", ["bm25", "dense", "cells"])
def test_equals_the_full_ranking_without_products_off_sale(name: str) -> None:
    engine = ENGINES[name]
    everything = engine.search(QUERIES, SIZE)
    for mask_C in masks():
        hits = engine.search(QUERIES, K, mask_C)
        assert hits.rows_NK.tolist() == filtered(everything, mask_C, K)
        place = {(n, row): s for n, rows in enumerate(everything.rows_NK.tolist()) for s, row in enumerate(rows)}
        for n, rows in enumerate(hits.rows_NK.tolist()):
            known = [everything.scores_NK[n, place[n, row]] for row in rows if row >= 0]
            np.testing.assert_allclose(hits.scores_NK[n][: len(known)], known, atol=1.01e-5)


def test_a_hybrid_fuses_lists_of_one_assortment() -> None:
    for mask_C in masks():
        lists = [np.array(filtered(engine.search(QUERIES, SIZE), mask_C, DEPTH), np.int32) for engine in (WORDS, FLAT)]
        expected = fuse(lists, K)
        hits = ENGINES["hybrid"].search(QUERIES, K, mask_C)
        assert hits.rows_NK.tolist() == expected.rows_NK.tolist()


def test_threads_and_weights_do_not_change_what_a_mask_hides() -> None:
    many = BM25(WORDS.engine, WORDS.products_hash, WORDS.settings, WORDS.tokenizer, threads=3)
    mask_C = masks()[1]
    texts = [((text, 2.0), (other, 1.0)) for text, other in zip(QUERIES, reversed(QUERIES), strict=True)]
    one, three = (engine.search(texts, K, mask_C).rows_NK for engine in (WORDS, many))
    assert one.tolist() == three.tolist() == filtered(WORDS.search(texts, SIZE), mask_C, K)


def test_an_epoch_is_frozen_and_counted() -> None:
    assortment = Assortment(5)
    first = assortment.now
    assert first.mask_C is None, "everything on sale costs a search nothing"
    second = assortment.swap(remove=[1, 2], add=[2])
    assert (second.number, second.on_sale_C.tolist()) == (1, [True, False, True, True, True])
    assert first.on_sale_C.all() and assortment.now is second
    assert assortment.publish(second.on_sale_C) is second, "nothing changed: no new epoch"
    with pytest.raises(ValueError, match="read-only"):
        second.on_sale_C[0] = False
    for bad in ([5], [-1]):
        with pytest.raises(ConfigError, match=r"0 … 4"):
            assortment.swap(remove=bad)
    with pytest.raises(ConfigError, match="5 products"):
        assortment.publish(np.ones(4, np.bool_))


def test_a_search_during_a_swap_is_of_one_epoch() -> None:
    """Two epochs without a product in common, swapped by a second thread: no list, and no batch, mixes them."""
    even_C = np.arange(SIZE) % 2 == 0
    live = LiveRetriever(ENGINES["hybrid"], Assortment(SIZE, even_C))
    searched, mixed = 0, 0
    with ThreadPoolExecutor(1) as pool:
        swaps = pool.submit(lambda: [live.assortment.publish(even_C ^ bool(i % 2)) for i in range(4_000)])
        while not swaps.done() or searched < 30:
            rows = live.search(QUERIES[:20], K).rows_NK
            parity = rows[rows >= 0] % 2
            searched, mixed = searched + 1, mixed + int(parity.min() != parity.max())
    assert live.assortment.now.number >= 2_000
    assert mixed == 0


@pytest.mark.parametrize("name", ["bm25", "hybrid"])
def test_a_hundred_thousand_results_during_churn_equal_brute_force(name: str) -> None:
    """10 % of the products replaced in 110 swaps: every list equals the brute-force list of its epoch."""
    assert check_churn(ENGINES[name], QUERIES, SIZE, swaps=110) >= 100_000


def check_churn(engine: FilteredRetriever, queries: list[str], size: int, swaps: int) -> int:
    """Results checked while 10 % of the products are replaced in `swaps` steps; AssertionError at the first wrong."""
    rng = np.random.default_rng(3)
    start_C = rng.random(size) < 0.9
    live = LiveRetriever(engine, Assortment(size, start_C))
    each, checked = max(1, size // 10 // swaps), 0
    parts = engine.retrievers if isinstance(engine, Hybrid) else (engine,)
    rankings = [part.search(queries, size).rows_NK for part in parts]
    for _ in range(swaps):
        rows = live.search(queries, K).rows_NK
        mask_C = live.assortment.now.on_sale_C
        expected = [ranked(rows_NK, mask_C, max(K, DEPTH) if len(parts) > 1 else K) for rows_NK in rankings]
        truth = fuse(expected, K).rows_NK if len(parts) > 1 else expected[0]
        assert np.array_equal(rows, truth)
        checked += int((rows >= 0).sum())
        on, off = np.flatnonzero(mask_C), np.flatnonzero(~mask_C)
        live.assortment.swap(
            rng.choice(on, each, replace=False).tolist(), rng.choice(off, each, replace=False).tolist()
        )
    return checked


def ranked(rows_NK: np.ndarray, mask_C: np.ndarray, k: int) -> np.ndarray:
    """The first k of each ranking that are on sale, by a stable sort of the complete ranking."""
    hidden_NK = (rows_NK < 0) | ~mask_C[rows_NK]
    first_NK = np.argsort(hidden_NK, axis=1, kind="stable")[:, :k]
    return np.where(np.take_along_axis(hidden_NK, first_NK, 1), -1, np.take_along_axis(rows_NK, first_NK, 1))


TINY = tiny_shop()
TRAIN = TINY.split("train")


def live_tiny(on_sale_C: np.ndarray | None = None) -> LiveRetriever:
    return LiveRetriever(BM25.build(TINY), Assortment(len(TINY.products), on_sale_C))


def envs_over(retriever: LiveRetriever, **settings: Any) -> QueryRewriteVectorEnv:
    return QueryRewriteVectorEnv(TINY, retriever, LabelsJudge(TINY), num_envs=len(TRAIN), **settings)


@pytest.mark.parametrize("max_turns", [1, 2])
def test_an_episode_stays_in_its_epoch_and_the_next_begins_in_the_newest(max_turns: int) -> None:
    """Swaps after every reset and step: each list holds only products of the epoch that its episode began in."""
    rng = np.random.default_rng(0)
    live = live_tiny()
    envs = envs_over(live, max_turns=max_turns)
    envs.reset(seed=0)
    for turn in range(30):
        began_C = envs.simulator.retriever.epoch.on_sale_C  # type: ignore[attr-defined]
        live.assortment.publish(rng.random(len(TINY.products)) < 0.7)
        _, _, ended_N, _, infos = envs.step(["sofa", "", "refrigerator", "shoes 42", "red", "", "sofa"])
        for name in ("hits_before", "hits_after"):
            rows = infos[name].rows_NK
            assert began_C[rows[rows >= 0]].all(), (turn, name)
        now_C = live.assortment.now.on_sale_C
        if ended_N.all():
            rows = envs.simulator.before()[0].rows_NK
            assert now_C[rows[rows >= 0]].all(), "the next queries' own lists are of the newest epoch"
            expected = live.search([query.text for query in envs.simulator.queries_P], 10)
            assert rows.tolist() == expected.rows_NK.tolist()


def test_cached_queries_are_graded_again_after_a_swap_and_only_then() -> None:
    judge, live = CountingJudge(LabelsJudge(TINY)), live_tiny()
    env = QueryRewriteEnv(TINY, live, judge)
    ask = {"query": TRAIN[0]}
    first, _ = env.reset(options=ask)
    env.reset(options=ask)
    assert judge.calls == 1
    best = int(env.simulator.before()[0].rows_NK[0, 0])
    live.assortment.swap(remove=[best])
    second, _ = env.reset(options=ask)
    assert judge.calls == 2 and best not in env.simulator.before()[0].rows_NK
    assert first["context"] != second["context"], "the observation shows what is on sale"
    live.assortment.swap(add=[best])
    assert env.reset(options=ask)[0] == first


def test_bought_products_count_only_while_on_sale() -> None:
    bought = envs_over(live_tiny()).simulator.cache.bought_PM[TRAIN[0].row]
    without_C = np.ones(len(TINY.products), np.bool_)
    without_C[bought[bought >= 0]] = False
    for on_sale_C, defined in ((None, True), (without_C, False)):
        envs = envs_over(live_tiny(on_sale_C))
        envs.reset(options={"queries": TRAIN})
        *_, infos = envs.step(["sofa"] * len(TRAIN))
        assert infos["feedback"].hitrate_defined[0] == defined


def test_only_a_swap_needs_a_second_retrieval_call() -> None:
    live = live_tiny()
    calls: list[int] = []
    search = live.engine.search
    live.engine.search = lambda *a: calls.append(len(a[0])) or search(*a)  # type: ignore[method-assign,func-returns-value]
    envs = envs_over(live)
    envs.reset(options={"queries": TRAIN})
    for swap in (False, True, False):
        calls.clear()
        if swap:
            live.assortment.swap(remove=[0])
        envs.step(["red sofa"] * len(TRAIN))
        assert len(calls) == 1 + swap


def test_resume_restores_the_epoch() -> None:
    live = live_tiny()
    envs = envs_over(live)
    envs.reset(seed=1)
    live.assortment.swap(remove=range(5))
    envs.step(["sofa"] * len(TRAIN))
    state = json.loads(json.dumps(envs.state_dict()))
    expected = envs.step(["couch"] * len(TRAIN))
    other = envs_over(live_tiny(live.assortment.now.on_sale_C))
    other.load_state_dict(state)
    again = other.step(["couch"] * len(TRAIN))
    assert again[0] == expected[0]
    np.testing.assert_array_equal(again[1], expected[1])
