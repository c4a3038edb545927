"""The encoder on the real MiniLM (fetched before the tests), and functions that take any encoder with a fake one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from qr_env.common.errors import ConfigError, DataError
from qr_env.models.hub import model_folder, resolve
from qr_env.retrieval.encoder import Encoder, encode_queries, product_vectors
from tests.helpers.catalogue import shop_of
from tests.helpers.fakes import HashEncoder

TEXTS = ["red sofa", "crimson couch", "", "usb cable " * 30, "noise cancelling headphones", "黑色手机", "red sofa"]


@cache
def minilm() -> Encoder:
    """MiniLM from the cache: tests have no network."""
    if not model_folder("minilm-l6").is_dir():
        pytest.fail("MiniLM is not in the cache; run `qr models fetch minilm-l6` (`make test` does)")
    return Encoder(resolve("minilm-l6"), remember=8)


def test_equals_sentence_transformers_called_directly() -> None:
    mine = minilm().encode(TEXTS)
    theirs = minilm().model.encode(TEXTS, show_progress_bar=False)
    assert mine.shape == (7, 384) and mine.dtype == np.float32
    np.testing.assert_allclose(mine, theirs, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(mine, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(mine[0], mine[6])
    assert mine[0] @ mine[1] > 0.5 > mine[0] @ mine[4]


def test_cached_texts_are_not_embedded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(minilm().model_dir, remember=3)
    encoder.__dict__["model"] = minilm().model
    encoder.__dict__["dim"] = 384
    embed, embedded = encoder._embed, []
    monkeypatch.setattr(encoder, "_embed", lambda texts, show: embedded.extend(texts) or embed(texts, show))
    first = encoder.encode(["a", "b", "a"])
    assert embedded == ["a", "b"]
    np.testing.assert_array_equal(encoder.encode(["b", "a"]), first[[1, 0]])
    encoder.encode(["c", "d"])  # "b" was used least recently
    encoder.encode(["a", "b"])
    assert embedded == ["a", "b", "c", "d", "b"]
    assert len(encoder._vectors) == 3
    encoder.clear_cache()
    np.testing.assert_allclose(encoder.encode(["b"])[0], first[1], atol=1e-6)  # another batch, another order of sums
    assert embedded == ["a", "b", "c", "d", "b", "b"] and len(encoder._vectors) == 1
    assert encoder.encode([]).shape == (0, 384)


def test_very_long_text_is_cut() -> None:
    cut, longer = minilm().encode(["lamp " * 2000, "lamp " * 3000])
    np.testing.assert_allclose(cut, longer, atol=1e-6)


def test_the_name_depends_on_the_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    names = [Encoder(tmp_path).name]
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    names.append(Encoder(tmp_path).name)
    assert len(set(names)) == 2 and all(name.startswith(tmp_path.name) for name in names)


def test_a_folder_without_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model folder"):
        Encoder(tmp_path)


def test_queries_with_weights() -> None:
    encoder = HashEncoder()
    a, b = encoder.encode(["sofa", "lamp"])
    vectors = encode_queries(encoder, ["sofa", (("sofa", 1.0), ("lamp", 3.0)), " ", (("lamp", 0.0),)])
    mean = (a + 3 * b) / np.linalg.norm(a + 3 * b)
    np.testing.assert_allclose(vectors[:2], [a, mean], atol=1e-6)
    assert not vectors[2:].any()


def test_product_vectors_are_kept_by_products_and_encoder(tmp_path: Path) -> None:
    encoder, shop = HashEncoder(), shop_of(["red sofa", "lamp"])
    first = product_vectors(shop, encoder, tmp_path)
    assert encoder.texts_encoded == 2
    np.testing.assert_array_equal(product_vectors(shop, encoder, tmp_path), first)
    assert encoder.texts_encoded == 2
    product_vectors(shop_of(["lamp"]), encoder, tmp_path)
    encoder.name = "other"
    product_vectors(shop, encoder, tmp_path)
    assert encoder.texts_encoded == 5
    for file in tmp_path.rglob("*.npy"):
        file.write_bytes(b"broken")
    with pytest.raises(DataError, match="delete it"):
        product_vectors(shop, encoder, tmp_path)
