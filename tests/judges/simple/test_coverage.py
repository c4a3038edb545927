"""The coverage judge: the share of a query's words that a title holds, by stem and after repair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

from judges.simple.coverage import CoverageJudge
from qr_env.common import tokenize
from qr_env.common.types import Query
from qr_env.retrieval.encoder import product_texts
from qr_env.shop.shop import Shop
from tests.helpers.fakes import tiny_shop

SHOP = tiny_shop()
JUDGE = CoverageJudge(SHOP)
ROWS = np.arange(30, dtype=np.int32)


def coverage(judge: CoverageJudge, text: str, rows: np.ndarray = ROWS) -> np.ndarray:
    """Coverage of one query by some products."""
    return judge.score([Query(-1, "", text)], rows[None, :])[0]


def slow_coverage(text: str, title: str) -> float:
    """The formula for a query without repair, in float64."""
    titles = [set(tokenize.terms(text)) for text in product_texts(SHOP)]
    terms = list(dict.fromkeys(tokenize.terms(text)))
    held = [sum(term in title for title in titles) for term in terms]
    idf = np.log1p((len(titles) - np.array(held) + 0.5) / (np.array(held) + 0.5))
    return float(idf[[term in tokenize.terms(title) for term in terms]].sum() / idf.sum())


@pytest.mark.parametrize("text", ["red sofa", "frosta refrigerator black", "men size 42", "velo xyz12"])
def test_coverage_equals_a_float64_loop(text: str) -> None:
    slow = [slow_coverage(text, title) for title in product_texts(SHOP)]
    np.testing.assert_allclose(coverage(JUDGE, text), slow, atol=1e-6)


def test_a_word_counts_by_stem_once_and_after_repair() -> None:
    assert coverage(JUDGE, "sofas")[0] == 1, "by stem"
    np.testing.assert_allclose(coverage(JUDGE, "red red sofa"), coverage(JUDGE, "red sofa"))
    np.testing.assert_array_equal(coverage(JUDGE, "refrigeratr"), coverage(JUDGE, "refrigerator"))
    np.testing.assert_array_equal(coverage(JUDGE, "runningshoes"), coverage(JUDGE, "running shoes"))


def test_missing_verdicts_are_nan() -> None:
    queries = [SHOP.all_queries[0], Query(-1, "", " "), Query(-1, "", "of the")]
    probs = JUDGE.grade(queries, np.array([[0, -1], [0, 1], [0, 1]], np.int32)).probs_NK4
    np.testing.assert_array_equal(np.isnan(probs[..., 0]), [[False, True], [True, True], [True, True]])
    np.testing.assert_allclose(probs[0, 0].sum(), 1, atol=1e-6)
    assert JUDGE.grade([], np.zeros((0, 5), np.int32)).probs_NK4.shape == (0, 5, 4)


def test_all_words_are_exact_and_none_is_irrelevant() -> None:
    gains = JUDGE.grade([Query(-1, "", "red sofa")], ROWS[None, :]).gain_NK[0]
    assert gains[0] > 0.8 and gains.argmax() == 0
    assert gains[25] < 0.01


def test_another_shop_is_graded_with_the_words_of_the_first() -> None:
    products = pa.table({"product_id": ["a", "b"], "title": ["a red sofa", "a red unheardof"]})
    other = Shop("other", products, SHOP.queries, sp.csr_matrix((len(SHOP.queries), 2)), SHOP.purchases[:0])
    moved = JUDGE.for_shop(other)
    expected = [slow_coverage("red sofa", title) for title in ("a red sofa", "a red unheardof")]
    np.testing.assert_allclose(coverage(moved, "red sofa", ROWS[:2]), expected, atol=1e-6)


def test_an_empty_catalogue_is_no_error() -> None:
    empty = replace(SHOP, products=SHOP.products[:0], qrels=sp.csr_matrix((len(SHOP.queries), 0)))
    padding = np.full((1, 3), -1, np.int32)
    assert np.isnan(CoverageJudge(empty).grade(SHOP.all_queries[:1], padding).gain_NK).all()
