"""The coverage judge: the share of a query's words that a title holds, by stem and after repair."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

from judges.simple.coverage import DOUBT, FIT_SHARES, TYPICAL_REST, CoverageJudge
from qr_env.common.types import Query
from qr_env.language.tokenize import ENGLISH
from qr_env.retrieval.encoder import product_texts
from qr_env.shop.shop import Shop
from tests.helpers.fakes import tiny_shop

SHOP = tiny_shop()
JUDGE = CoverageJudge(SHOP)
ROWS = np.arange(30, dtype=np.int32)


def coverage(judge: CoverageJudge, text: str, rows: np.ndarray = ROWS) -> np.ndarray:
    """Coverage of one query by some products."""
    return judge.score([Query(-1, "", text)], rows[None, :])[0]


TITLES = [ENGLISH.terms(text) for text in product_texts(SHOP)]


def slow_count(*terms: str) -> int:
    """Titles that hold all terms."""
    return sum(set(terms) <= set(title) for title in TITLES)


def slow_idf(term: str) -> float:
    """Lucene's inverse document frequency."""
    return math.log(1 + (len(TITLES) - slow_count(term) + 0.5) / (slow_count(term) + 0.5))


def slow_support(term: str, rest: list[str], own: int) -> float:
    """The docstring's support of a term in a title with the words `rest` besides."""
    above = 0.0
    for other in rest:
        both = slow_count(term, other) - own
        expected = (slow_count(term) - own) * (slow_count(other) - own) / len(TITLES)
        above += slow_idf(other) * min(max(math.log2(both / expected) / 2, 0), 1) if both else 0
    return above / sum(map(slow_idf, rest))


def slow_fit(term: str, title: list[str], query: list[str], own: int) -> float:
    """The docstring's fit, with the constants of the module."""
    low, high = FIT_SHARES
    rest = [other for other in dict.fromkeys(title) if other not in query and slow_count(other)]
    others = slow_count(term) - own
    if not others or not rest:
        return 1.0
    typical = TYPICAL_REST * float(np.median([sum(map(slow_idf, title)) for title in TITLES]))
    evidence = min(sum(map(slow_idf, rest)) / typical, 1) * others / (others + DOUBT)
    holders = [one for one in TITLES if term in one]
    usual = np.mean(
        [slow_support(term, [other for other in dict.fromkeys(one) if other != term], 1) for one in holders]
    )
    evidence *= np.clip((usual - low) / (high - low), 0, 1)
    return float(1 - evidence * (1 - np.clip((slow_support(term, rest, own) - low) / (high - low), 0, 1)))


def slow_coverage(text: str, title: list[str], own: int) -> tuple[float, float]:
    """(coverage, unfitting) of a query without repair, in float64."""
    terms = list(dict.fromkeys(ENGLISH.terms(text)))
    held = [slow_idf(term) for term in terms if term in title and slow_count(term)]
    fitting = [
        slow_idf(term) * slow_fit(term, title, terms, own) for term in terms if term in title and slow_count(term)
    ]
    total = sum(map(slow_idf, terms))
    return sum(fitting) / total, (sum(held) - sum(fitting)) / total


@pytest.mark.parametrize("text", ["red sofa", "frosta refrigerator black", "men size 42", "velo xyz12"])
def test_coverage_equals_a_float64_loop(text: str) -> None:
    slow = np.array([slow_coverage(text, title, own=1) for title in TITLES])
    np.testing.assert_allclose(coverage(JUDGE, text), slow[:, 0], atol=1e-5)
    unfitting = JUDGE.coverage_and_unfitting([Query(-1, "", text)], ROWS[None, :])[1][0]
    np.testing.assert_allclose(unfitting, slow[:, 1], atol=1e-5)


def planted(*titles: str) -> CoverageJudge:
    """The judge for a shop of these titles."""
    products = pa.table({"product_id": [str(row) for row in range(len(titles))], "title": titles})
    empty = sp.csr_matrix((len(SHOP.queries), len(titles)))
    return JUDGE.for_shop(Shop("planted", products, SHOP.queries, empty, SHOP.purchases[:0]))


def test_another_shop_is_graded_with_the_words_of_the_first() -> None:
    titles = ("a red sofa", "a red unheardof", "Velo running shoes red sofa")
    slow = [slow_coverage("red sofa", ENGLISH.terms(title), own=0)[0] for title in titles]
    np.testing.assert_allclose(coverage(planted(*titles), "red sofa", ROWS[:3]), slow, atol=1e-5)


def test_a_stuffed_title_gains_little_and_repeating_gains_nothing() -> None:
    shoes = "Velo running shoes black men size 42"
    judge = planted(shoes, f"{shoes} sofa", f"{shoes} sofa sofa sofa", "Lindholm sofa black 3 seater fabric")
    plain, once, thrice, sofa = coverage(judge, "sofa", ROWS[:4])
    assert plain == 0 and once == thrice < 0.2 and sofa == 1
    fitting, unfitting = judge.coverage_and_unfitting([Query(-1, "", "sofa")], ROWS[None, 1:2])
    assert (fitting + unfitting).item() == pytest.approx(1)


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


def test_an_empty_catalogue_is_no_error() -> None:
    empty = replace(SHOP, products=SHOP.products[:0], qrels=sp.csr_matrix((len(SHOP.queries), 0)))
    padding = np.full((1, 3), -1, np.int32)
    assert np.isnan(CoverageJudge(empty).grade(SHOP.all_queries[:1], padding).gain_NK).all()
