"""BM25: equal to bm25s and to a float64 loop, weights equal to repetitions, hits share a term, odd queries."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import bm25s
import numpy as np
import pytest

from qr_env.common.errors import ConfigError, IndexMismatchError
from qr_env.language.tokenize import ENGLISH
from qr_env.retrieval.base import META, cache_folder
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.factory import make_retriever
from tests.helpers.catalogue import random_titles, shop_of

TITLES = random_titles(200)
QUERIES = random_titles(60, seed=1, longest=5)
ONLY_TITLE = {"fields": (("title", 1),)}
SHOP = shop_of(TITLES)
PLAIN = BM25.build(SHOP, **ONLY_TITLE)


def loop_scores(query: str, titles: list[str], k1: float = 1.5, b: float = 0.75) -> np.ndarray:
    """Lucene's BM25 in float64, one product and one word at a time."""
    documents = [ENGLISH.terms(title) for title in titles]
    mean = sum(map(len, documents)) / len(documents)
    scores = np.zeros(len(documents))
    for term in ENGLISH.terms(query):
        df = sum(term in document for document in documents)
        if not df:
            continue
        idf = math.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
        for n, document in enumerate(documents):
            tf = document.count(term)
            scores[n] += idf * tf / (tf + k1 * (1 - b + b * len(document) / mean))
    return scores


def test_equals_a_float64_loop() -> None:
    hits = PLAIN.search(QUERIES, len(TITLES))
    for n, query in enumerate(QUERIES):
        expected = loop_scores(query, TITLES)
        rows = hits.rows_NK[n][hits.found_NK[n]]
        assert set(rows) == set(np.flatnonzero(expected))
        np.testing.assert_allclose(hits.scores_NK[n][hits.found_NK[n]], expected[rows], rtol=2e-6)


def test_equals_bm25s_called_directly() -> None:
    engine = bm25s.BM25()
    engine.index([ENGLISH.terms(title) for title in TITLES], show_progress=False)
    known = [[term for term in ENGLISH.terms(query) if term in engine.vocab_dict] for query in QUERIES]
    _, scores_NK = engine.retrieve(known, k=50, show_progress=False)
    mine = PLAIN.search(QUERIES, 50)
    np.testing.assert_array_equal(np.where(mine.found_NK, mine.scores_NK, 0), scores_NK)


def test_best_first_and_ties_by_row() -> None:
    hits = BM25.build(shop_of(["red sofa", "sofa", "blue sofa", "sofa", "sofa"])).search(["sofa"], 5)
    assert hits.rows_NK[0].tolist() == [1, 3, 4, 0, 2]
    many = PLAIN.search(QUERIES, 30)
    better = many.scores_NK[:, :-1] > many.scores_NK[:, 1:]
    tied = (many.scores_NK[:, :-1] == many.scores_NK[:, 1:]) & (many.rows_NK[:, :-1] < many.rows_NK[:, 1:])
    assert (better | tied | ~many.found_NK[:, 1:]).all()


def test_a_short_list_is_the_head_of_a_long_one() -> None:
    np.testing.assert_array_equal(PLAIN.search(QUERIES, 7).rows_NK, PLAIN.search(QUERIES, 200).rows_NK[:, :7])


@pytest.mark.parametrize("weight", [2.0, 3.0])
def test_weight_equals_repetition(weight: float) -> None:
    weighted = PLAIN.search([((a, weight), (b, 1.0)) for a, b in itertools.pairwise(QUERIES)], 20)
    repeated = PLAIN.search([f"{a} " * int(weight) + b for a, b in itertools.pairwise(QUERIES)], 20)
    np.testing.assert_allclose(weighted.scores_NK, repeated.scores_NK, rtol=1e-5)
    assert (
        weighted.rows_NK == repeated.rows_NK
    ).mean() > 0.98  # sums in another order: ties may be ordered differently


def test_fractional_weight_is_exact() -> None:
    full, weighted = PLAIN.search(["zqaaax"], 5), PLAIN.search([(("zqaaax", 0.37),)], 5)
    np.testing.assert_allclose(weighted.scores_NK, full.scores_NK * np.float32(0.37), rtol=1e-6)


def test_weight_zero_ignores_a_text_and_invalid_weights_are_refused() -> None:
    ignored = PLAIN.search([((QUERIES[0], 1.0), (QUERIES[1], 0.0))], 20)
    np.testing.assert_array_equal(ignored.rows_NK, PLAIN.search([QUERIES[0]], 20).rows_NK)
    for weight in (-1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="weight"):
            PLAIN.search([(("sofa", weight),)], 3)


@pytest.mark.parametrize("query", ["", "   ", "unknownword", "the of and", "!?", (), (("", 1.0),)])
def test_queries_that_match_nothing_find_nothing(query: str) -> None:
    hits = PLAIN.search([query], 5)
    assert hits.rows_NK.tolist() == [[-1] * 5]
    assert np.isneginf(hits.scores_NK).all()


def test_only_matching_products_are_found_also_with_k_beyond_the_shop() -> None:
    hits = BM25.build(shop_of(["red sofa", "blue chair", "green lamp"])).search(["sofa unknown", "chair lamp"], 10)
    assert hits.rows_NK.shape == (2, 10)
    assert hits.found_NK.sum(axis=1).tolist() == [1, 2]


def test_a_query_of_ten_thousand_characters() -> None:
    long = ("red sofa " * 1200)[:10_000]
    shop = shop_of(["red sofa", "lamp"])
    assert BM25.build(shop).search([long], 2).rows_NK.tolist() == [[0, -1]]


@pytest.mark.parametrize(
    ("title", "query"),
    [
        ("黑色手机壳", "手机"),
        ("Красный диван", "КРАСНЫЙ диван"),
        ("हिन्दी फ़ोन", "फ़ोन"),
        ("무선 노트북", "노트북"),
        ("Café crème Tassen", "cafe creme"),
        ("Women’s running shoes", "womens shoe"),
        ("HDMI cable 1.7L 27-inch", "27inch"),
        ("RAM 128GB DDR4", "128 gb"),
        ("Sony™ Bravia®", "sony bravia"),
        ("Paper, 1,000 sheets", "1000 sheets"),
        ("cable USB-C", "usb c"),
        ("ＡＢＣ １２３", "abc 123"),
    ],
)
def test_spellings_with_the_same_terms_match(title: str, query: str) -> None:
    assert BM25.build(shop_of(["something else", title])).search([query], 2).rows_NK[0, 0] == 1


def test_decimals_do_not_match_their_digits() -> None:
    engine = BM25.build(shop_of(["kettle 1.7 l", "kettle 7 l"]))
    assert engine.tokens("Kettles of 1.7L") == ["kettl", "1.7", "l"]
    assert engine.search(["1.7"], 2).rows_NK.tolist() == [[0, -1]]


def test_vocabulary_counts_products() -> None:
    engine = BM25.build(shop_of(["red sofa sofa", "red chairs", ""], brand=["Red", "", "Lindholm"]))
    assert engine.vocabulary == {"red": 2, "sofa": 1, "chair": 1, "lindholm": 1}


def test_title_weighs_more_than_attributes() -> None:
    shop = shop_of(["lamp red", "sofa red"], attributes=["sofa cover", "lamp shade"])
    assert BM25.build(shop).search(["sofa"], 2).rows_NK[0].tolist() == [1, 0]
    only = BM25.build(shop, fields=(("attributes", 1),))
    assert only.search(["sofa"], 2).rows_NK[0].tolist() == [0, -1]


@pytest.mark.parametrize("fields", [(("price", 1),), (("nonsense", 1),), (("title", 0),), (("title", 1.5),)])
def test_impossible_fields_are_refused(fields: tuple) -> None:
    with pytest.raises(ConfigError):
        BM25.build(SHOP, fields=fields)


@pytest.mark.parametrize("titles", [[], ["", ""], ["the", "of"]])
def test_a_shop_without_words(titles: list[str]) -> None:
    assert not BM25.build(shop_of(titles)).search(["sofa", ""], 3).found_NK.any()


def test_k_below_one_is_refused_and_no_queries_are_fine() -> None:
    with pytest.raises(ConfigError, match="k is 0"):
        PLAIN.search(["sofa"], 0)
    assert PLAIN.search([], 4).rows_NK.shape == (0, 4)


def test_threads_change_nothing() -> None:
    many = QUERIES * 5
    one, four = BM25.build(SHOP, threads=1, **ONLY_TITLE), BM25.build(SHOP, threads=4, **ONLY_TITLE)
    np.testing.assert_array_equal(one.search(many, 20).rows_NK, four.search(many, 20).rows_NK)


def test_save_load_is_memory_mapped_and_readable_by_bm25s(tmp_path: Path) -> None:
    PLAIN.save(tmp_path / "index")
    loaded = BM25.load(tmp_path / "index", SHOP)
    assert isinstance(loaded.engine.scores["data"], np.memmap)
    assert loaded.settings == PLAIN.settings
    for a, b in ((loaded.search(QUERIES, 20), PLAIN.search(QUERIES, 20)),):
        np.testing.assert_array_equal(a.rows_NK, b.rows_NK)
        np.testing.assert_array_equal(a.scores_NK, b.scores_NK)
    assert bm25s.BM25.load(str(tmp_path / "index"), show_progress=False).scores["num_docs"] == len(TITLES)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_an_index_of_other_products_or_damaged_is_refused(tmp_path: Path) -> None:
    PLAIN.save(tmp_path / "index")
    with pytest.raises(IndexMismatchError, match="build the index again"):
        BM25.load(tmp_path / "index", shop_of(TITLES[:-1]))
    with pytest.raises(IndexMismatchError, match=META):
        BM25.load(tmp_path / "nothing", SHOP)
    data = tmp_path / "index" / "data.csc.index.npy"
    data.write_bytes(data.read_bytes()[:50])
    with pytest.raises(IndexMismatchError, match="damaged"):
        BM25.load(tmp_path / "index", SHOP)


def test_cache_is_used_and_keyed_by_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_retriever("bm25", SHOP, tmp_path).search(QUERIES, 10)
    BM25.cached(SHOP, tmp_path, k1=0.9)
    assert len(list((tmp_path / "indexes").iterdir())) == 2
    monkeypatch.setattr(BM25, "build", lambda *_, **__: pytest.fail("built again"))
    np.testing.assert_array_equal(make_retriever("bm25", SHOP, tmp_path).search(QUERIES, 10).rows_NK, first.rows_NK)


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(PLAIN.engine, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        PLAIN.save(tmp_path / "index")
    assert not list(tmp_path.iterdir())

    assert cache_folder(tmp_path, "bm25", SHOP, {"a": 1}) != cache_folder(tmp_path, "bm25", SHOP, {"a": 2})
