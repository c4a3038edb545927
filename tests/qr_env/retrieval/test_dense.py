"""Dense retrieval: equal to FAISS called directly, IVF above a limit, no id -1, weighted means, save and load."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from qr_env.common.errors import ConfigError, IndexMismatchError
from qr_env.retrieval.dense import Dense
from qr_env.retrieval.encoder import product_texts
from qr_env.retrieval.factory import make_retriever
from tests.helpers.catalogue import random_titles, shop_of
from tests.helpers.fakes import HashEncoder

TITLES = random_titles(500)
QUERIES = random_titles(40, seed=1, longest=5)
SHOP = shop_of(TITLES)
ENCODER = HashEncoder()
DENSE = Dense.build(SHOP, ENCODER)


def test_equals_faiss_called_directly() -> None:
    index = faiss.IndexFlatIP(ENCODER.dim)
    index.add(ENCODER.encode(product_texts(SHOP)))
    cosines, rows = index.search(ENCODER.encode(QUERIES), 20)
    mine = DENSE.search(QUERIES, 20)
    np.testing.assert_allclose(mine.scores_NK, cosines, atol=2e-5)
    agree = [len(set(a) & set(b)) for a, b in zip(mine.rows_NK, rows, strict=True)]
    assert np.mean(agree) > 19.5  # equal titles tie at the end of a list
    assert (np.diff(mine.scores_NK) <= 0).all()


def test_ties_go_to_the_lower_row() -> None:
    dense = Dense.build(shop_of(["red sofa", "blue lamp", "sofa red", "red sofa"]), ENCODER)
    assert dense.search(["red sofa"], 3).rows_NK.tolist() == [[0, 2, 3]]


def test_alone_and_in_a_batch_are_the_same() -> None:
    alone = np.concatenate([DENSE.search([query], 20).rows_NK for query in QUERIES])
    assert (alone == DENSE.search(QUERIES, 20).rows_NK).mean() > 0.999


def test_k_beyond_the_shop_and_empty_queries() -> None:
    dense = Dense.build(shop_of(["red sofa", "blue lamp"]), ENCODER)
    hits = dense.search(["sofa", "", " ", (), (("sofa", 0.0),)], 5)
    assert hits.found_NK.sum(axis=1).tolist() == [2, 0, 0, 0, 0]
    assert hits.rows_NK[0, :2].tolist() == [0, 1]
    assert np.isneginf(hits.scores_NK[~hits.found_NK]).all()
    assert dense.search([], 3).rows_NK.shape == (0, 3)
    with pytest.raises(ConfigError, match="k is -1"):
        dense.search(["sofa"], -1)


def test_a_shop_without_products_finds_nothing() -> None:
    assert not Dense.build(shop_of([]), ENCODER).search(["sofa"], 3).found_NK.any()


@pytest.mark.parametrize("query", ["黑色手机", "word " * 2000])
def test_queries_of_every_kind(query: str) -> None:
    assert DENSE.search([query], 3).found_NK.all()


def test_weights_are_the_weighted_mean() -> None:
    a, b = ENCODER.encode(QUERIES[:2])
    mean = 2.5 * a + b
    mean /= np.linalg.norm(mean)
    expected = DENSE.search_vectors(mean[None].astype(np.float32), 10)
    mine = DENSE.search([((QUERIES[0], 2.5), (QUERIES[1], 1.0))], 10)
    np.testing.assert_array_equal(mine.rows_NK, expected.rows_NK)
    one = DENSE.search([((QUERIES[0], 3.0),)], 10)
    np.testing.assert_array_equal(one.rows_NK, DENSE.search([QUERIES[0]], 10).rows_NK)


def test_brand_and_colour_are_embedded_where_the_title_lacks_them() -> None:
    shop = shop_of(["Sofa by LINDHOLM", "lamp"], brand=["Lindholm", "Lux"], color=["red", ""])
    assert product_texts(shop) == ["Sofa by LINDHOLM red", "lamp Lux"]


def test_inverted_file_above_the_limit() -> None:
    big = Dense.build(SHOP, ENCODER, flat_limit=100, probe=1.0)
    assert isinstance(big.index, faiss.IndexIVFFlat)
    np.testing.assert_array_equal(big.search(QUERIES, 10).scores_NK, DENSE.search(QUERIES, 10).scores_NK)
    few = Dense.build(SHOP, ENCODER, flat_limit=100, probe=0.01).search(QUERIES, 400)
    assert not few.found_NK.all()  # FAISS pads with id -1 when its cells hold fewer
    assert few.rows_NK.min() == -1 and np.isneginf(few.scores_NK[few.rows_NK < 0]).all()


@pytest.mark.parametrize("limit", [100, 1_000_000])
def test_save_load(tmp_path: Path, limit: int) -> None:
    built = Dense.build(SHOP, ENCODER, flat_limit=limit)
    built.save(tmp_path / "index")
    loaded = Dense.load(tmp_path / "index", SHOP, ENCODER)
    assert loaded.settings == built.settings
    np.testing.assert_array_equal(loaded.search(QUERIES, 9).rows_NK, built.search(QUERIES, 9).rows_NK)


def test_an_index_of_another_shop_or_encoder_or_damaged_is_refused(tmp_path: Path) -> None:
    DENSE.save(tmp_path / "index")
    with pytest.raises(IndexMismatchError, match="build the index again"):
        Dense.load(tmp_path / "index", shop_of(TITLES[1:]), ENCODER)
    other = HashEncoder()
    other.name = "other"
    with pytest.raises(IndexMismatchError, match="embedded by hash, not by other"):
        Dense.load(tmp_path / "index", SHOP, other)
    file = tmp_path / "index" / "index.faiss"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(IndexMismatchError, match="damaged"):
        Dense.load(tmp_path / "index", SHOP, ENCODER)


def test_products_are_embedded_once(tmp_path: Path) -> None:
    encoder = HashEncoder()
    first = make_retriever("dense", SHOP, tmp_path, encoder).search(QUERIES, 5)
    encoded = encoder.texts_encoded
    again = make_retriever("dense", SHOP, tmp_path, encoder)
    assert encoder.texts_encoded == encoded
    np.testing.assert_array_equal(again.search(QUERIES, 5).rows_NK, first.rows_NK)
    Dense.cached(SHOP, encoder, tmp_path, flat_limit=100)  # other settings, same vectors
    assert encoder.texts_encoded == encoded + len(set(QUERIES))
