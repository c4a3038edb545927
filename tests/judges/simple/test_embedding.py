"""The embedding judge: its fits, lazy vectors; and the real MiniLM where its weights are cached."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from judges.factory import JudgeOptions, build_embedding
from judges.simple.embedding import EmbeddingJudge
from judges.simple.thresholds import Thresholds
from qr_env.common.errors import JudgeError
from qr_env.common.types import EXACT, IRRELEVANT, Query
from qr_env.shop.shop import Shop
from tests.helpers.fakes import HashEncoder, tiny_shop

SHOP = tiny_shop()


def all_pairs(shop: Shop) -> tuple[list[int], np.ndarray, np.ndarray]:
    """(query rows, product rows, levels) of every pair."""
    queries = np.repeat(np.arange(len(shop.queries)), len(shop.products))
    rows = np.tile(np.arange(len(shop.products)), len(shop.queries)).astype(np.int32)
    return queries.tolist(), rows, shop.levels(queries, rows[:, None])[:, 0].astype(int)


def test_grades_are_gathered_products_of_vectors() -> None:
    encoder = HashEncoder()
    judge = EmbeddingJudge(SHOP, encoder)
    rows = np.array([[3, 12, -1], [25, -1, -1], [0, 1, 2]], np.int32)
    queries = [SHOP.all_queries[1], SHOP.all_queries[5], Query(-1, "", "  ")]
    similarity = judge.similarity([query.text for query in queries], rows)
    for n, k in ((0, 0), (0, 1), (1, 0)):
        pair = encoder.encode([queries[n].text, SHOP.titles[rows[n, k]]])
        assert similarity[n, k] == pytest.approx(float(pair[0] @ pair[1]), abs=1e-6)
    grades = judge.grade(queries, rows)
    np.testing.assert_array_equal(np.isnan(grades.gain_NK), [[False, False, True], [False, True, True], [True] * 3])
    np.testing.assert_allclose(grades.probs_NK4[0, 0].sum(), 1, atol=1e-6)


def test_product_vectors_are_computed_once_and_only_where_needed() -> None:
    encoder = HashEncoder()
    judge = EmbeddingJudge(SHOP, encoder)
    query, rows = [SHOP.all_queries[0]], np.array([[4, 5, 6, 4]], np.int32)
    judge.grade(query, rows)
    assert encoder.texts_encoded == 1 + 3
    judge.grade(query, rows)
    assert encoder.texts_encoded == 1 + 3 + 1
    given = EmbeddingJudge(SHOP, encoder, vectors_CD=encoder.encode(SHOP.titles))
    np.testing.assert_array_equal(given.grade(query, rows).probs_NK4, judge.grade(query, rows).probs_NK4)
    with pytest.raises(JudgeError, match="2 product vectors"):
        EmbeddingJudge(SHOP, encoder, vectors_CD=np.zeros((2, 4), np.float32))


def test_fit_on_labels_beats_the_given_thresholds() -> None:
    judge = EmbeddingJudge(SHOP, HashEncoder())
    queries, rows, levels = all_pairs(SHOP)

    def log_loss() -> float:
        asked = [SHOP.all_queries[row] for row in queries]
        probs = judge.grade(asked, rows[:, None]).probs_NK4[:, 0]
        return float(-np.log(probs[np.arange(len(levels)), levels]).mean())

    before = log_loss()
    judge.fit(queries, rows, levels)
    assert log_loss() < before
    with pytest.raises(JudgeError, match="0 pairs"):
        judge.fit([], np.zeros(0, np.int32), np.zeros(0, int))


def test_fit_without_labels_uses_purchases_only_and_repeats() -> None:
    unlabelled = replace(SHOP, qrels=SHOP.qrels * 0)
    first, second = (EmbeddingJudge(unlabelled, HashEncoder()) for _ in range(2))
    assert first.fit_purchases(seed=1) == second.fit_purchases(seed=1)
    queries, rows, levels = all_pairs(SHOP)
    gains = first.grade([SHOP.all_queries[row] for row in queries], rows[:, None]).gain_NK[:, 0]
    assert gains[levels == EXACT].mean() > gains[levels == IRRELEVANT].mean() + 0.3
    with pytest.raises(JudgeError, match="no purchases for dev"):
        EmbeddingJudge(replace(SHOP, purchases=SHOP.purchases[:0]), HashEncoder()).fit_purchases("dev")


def test_factory_fits_on_purchases_where_there_are_any() -> None:
    options = JudgeOptions(encoder=HashEncoder())
    fitted = build_embedding(SHOP, "", options)
    plain = build_embedding(replace(SHOP, purchases=SHOP.purchases[:0]), "", options)
    given = build_embedding(SHOP, "", replace(options, thresholds=Thresholds()))
    assert isinstance(fitted, EmbeddingJudge) and isinstance(plain, EmbeddingJudge)
    assert isinstance(given, EmbeddingJudge)
    assert fitted.thresholds != Thresholds() == plain.thresholds == given.thresholds


def test_minilm_knows_that_a_couch_is_a_sofa() -> None:
    from qr_env.models.hub import resolve
    from qr_env.retrieval.encoder import Encoder

    judge = EmbeddingJudge(SHOP, Encoder(resolve("minilm-l6")))
    queries = [SHOP.all_queries[row] for row in (1, 3, 5)]
    rows = np.array([[3, 13, 23]] * 3, np.int32)
    gains = judge.grade(queries, rows).gain_NK
    assert gains.argmax(axis=1).tolist() == [0, 1, 2]
    assert gains[0, 0] > gains[0, 1] + 0.1
