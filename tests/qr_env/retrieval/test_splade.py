"""Learned sparse retrieval: equal to the inner products, ties, weights, filters, save and load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qr_env.common.errors import ConfigError, IndexMismatchError
from qr_env.retrieval import factory
from qr_env.retrieval.factory import make_retriever
from qr_env.retrieval.splade import Splade
from tests.helpers.catalogue import random_titles, shop_of
from tests.helpers.sparse import WordSparseEncoder, save_masked_language_model

TITLES = random_titles(500)
QUERIES = random_titles(150, seed=1, longest=5)
SHOP = shop_of(TITLES)
ENCODER = WordSparseEncoder()
SPLADE = Splade.build(SHOP, ENCODER)


def test_equals_inner_products() -> None:
    scores_NC = (ENCODER.encode(QUERIES) @ ENCODER.encode(TITLES).T).toarray()
    order_NK = np.argsort(-scores_NC, axis=1, kind="stable")[:, :20]
    best_NK = np.take_along_axis(scores_NC, order_NK, axis=1)
    hits = SPLADE.search(QUERIES, 20)
    np.testing.assert_array_equal(hits.rows_NK, np.where(best_NK > 0, order_NK, -1))
    np.testing.assert_array_equal(hits.scores_NK, np.where(best_NK > 0, best_NK, -np.inf))


def test_weights_multiply_vectors() -> None:
    first, second = QUERIES[:2]
    vector = 2.5 * ENCODER.encode([first]) + 0.5 * ENCODER.encode([second])
    scores_C = (vector @ ENCODER.encode(TITLES).T).toarray()[0]
    hits = SPLADE.search([((first, 2.5), (second, 0.5), ("sofa", 0.0))], 10)
    np.testing.assert_allclose(hits.scores_NK[0], np.sort(scores_C)[::-1][:10], rtol=1e-5)


def test_synonyms_find_each_other_and_ties_go_to_the_lower_row() -> None:
    splade = Splade.build(shop_of(["red sofa", "blue lamp", "sofa red", "red lamp"]), ENCODER)
    assert splade.search(["red couch"], 3).rows_NK.tolist() == [[0, 2, 3]]


def test_k_beyond_the_shop_blank_queries_and_filters() -> None:
    splade = Splade.build(shop_of(["red sofa", "blue lamp", "sofa"]), ENCODER)
    hits = splade.search(["sofa", "", " ", ()], 5)
    assert hits.found_NK.sum(axis=1).tolist() == [2, 0, 0, 0]
    on_sale_C = np.array([False, True, True])
    assert splade.search(["sofa"], 2, on_sale_C).rows_NK.tolist() == [[2, -1]]
    assert splade.search([], 3).rows_NK.shape == (0, 3)
    with pytest.raises(ConfigError, match="k is 0"):
        splade.search(["sofa"], 0)


def test_a_shop_without_products_finds_nothing() -> None:
    assert not Splade.build(shop_of([]), ENCODER).search(["sofa"], 3).found_NK.any()


def test_products_are_encoded_once(tmp_path: Path) -> None:
    encoder = WordSparseEncoder()
    first = Splade.cached(SHOP, encoder, tmp_path)
    encoded = encoder.texts_encoded
    again = Splade.cached(SHOP, encoder, tmp_path)
    assert encoder.texts_encoded == encoded
    np.testing.assert_array_equal(again.search(QUERIES, 9).rows_NK, first.search(QUERIES, 9).rows_NK)
    assert Splade.cached(shop_of(TITLES[:9]), encoder, tmp_path).vectors_CV.shape[0] == 9


def test_an_index_of_another_shop_or_encoder_or_damaged_is_refused(tmp_path: Path) -> None:
    SPLADE.save(tmp_path / "index")
    with pytest.raises(IndexMismatchError, match="build the index again"):
        Splade.load(tmp_path / "index", shop_of(TITLES[1:]), ENCODER)
    other = WordSparseEncoder()
    other.name = "other"
    with pytest.raises(IndexMismatchError, match="encoded by sparse words, not by other"):
        Splade.load(tmp_path / "index", SHOP, other)
    file = tmp_path / "index" / "vectors.npz"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(IndexMismatchError, match="damaged"):
        Splade.load(tmp_path / "index", SHOP, ENCODER)


def test_by_name_with_a_model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_masked_language_model(tmp_path / "small")
    retriever = make_retriever(f"splade:{folder}", shop_of(["red sofa", "oak table"]), tmp_path / "cache")
    assert retriever.name == "splade" and retriever.search(["sofa"], 2).found_NK.any()
    named: list[str] = []
    monkeypatch.setattr(factory, "resolve", lambda name: named.append(name) or folder)
    make_retriever("splade", shop_of(["red sofa"]))
    assert named == ["splade-tiny"]
