"""The sparse encoder: equation 6 of SPLADE computed directly, and sentence-transformers, which trains such models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qr_env.common.errors import ConfigError
from qr_env.retrieval import sparse_encoder
from qr_env.retrieval.sparse_encoder import DECIMALS, SparseEncoder
from tests.helpers.sparse import save_masked_language_model

TEXTS = ["red sofa", "oak table", "blue couch lamp sofa red", "", "red sofa", "sofa " * 40]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained masked language model."""
    return save_masked_language_model(tmp_path_factory.mktemp("models") / "small")


def test_equals_the_formula_on_the_whole_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    monkeypatch.setattr(sparse_encoder, "_CHUNK", 5)  # entries of the vocabulary, so that there are several chunks
    vectors = SparseEncoder(folder).encode(TEXTS)
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for text, row in zip(TEXTS, vectors.toarray(), strict=True):
        with torch.inference_mode():
            logits = model(**tokenizer(text, truncation=True, return_tensors="pt")).logits[0]
        np.testing.assert_allclose(row, torch.log1p(logits.clamp(min=0)).amax(0).numpy(), atol=0.6 * 10**-DECIMALS)
    assert vectors.dtype == np.float32 and vectors.has_canonical_format and (vectors.data > 0).all()


def test_equals_sentence_transformers(folder: Path) -> None:
    from sentence_transformers import SparseEncoder as Theirs

    theirs = Theirs(str(folder), device="cpu").encode(TEXTS, show_progress_bar=False).to_dense().numpy()
    np.testing.assert_allclose(SparseEncoder(folder).encode(TEXTS).toarray(), theirs, atol=0.6 * 10**-DECIMALS)


def test_alone_and_in_a_batch_are_the_same(folder: Path) -> None:
    encoder = SparseEncoder(folder)
    together = encoder.encode(TEXTS).toarray()
    for text, row in zip(TEXTS, together, strict=True):
        np.testing.assert_array_equal(encoder.encode([text]).toarray()[0], row)
    assert encoder.encode([]).shape == (0, together.shape[1])


def test_the_name_depends_on_the_weights(folder: Path, tmp_path: Path) -> None:
    other = save_masked_language_model(tmp_path / "small")
    assert SparseEncoder(folder).name == SparseEncoder(other).name
    config = other / "config.json"
    config.write_text(config.read_text() + " ")
    assert SparseEncoder(folder).name != SparseEncoder(other).name


def test_a_folder_that_is_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no model folder.*splade-tiny"):
        SparseEncoder(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(ConfigError, match="does not load as a masked language model"):
        SparseEncoder(tmp_path).encode(["sofa"])
