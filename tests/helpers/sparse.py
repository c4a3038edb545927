"""A sparse encoder without weights, and a small untrained masked language model on disk."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from tests.helpers.fakes import SYNONYMS, words

VOCABULARY = 512


class WordSparseEncoder:
    """One entry a word, with weight 1 for the first occurrence and more for further ones; synonyms share an entry."""

    name = "sparse words"

    def __init__(self) -> None:
        self.texts_encoded = 0

    def encode(self, texts: Sequence[str], show_progress: bool = False) -> sp.csr_matrix:
        """(N, 512) counts of hashed words."""
        self.texts_encoded += len(texts)
        entries = [
            (row, zlib.crc32(SYNONYMS.get(word, word).encode()) % VOCABULARY)
            for row, text in enumerate(texts)
            for word in words(text)
        ]
        at = np.array(entries, int).reshape(-1, 2).T
        matrix = sp.coo_matrix((np.ones(at.shape[1], np.float32), (at[0], at[1])), (len(texts), VOCABULARY)).tocsr()
        matrix.sum_duplicates()
        return matrix


def save_masked_language_model(folder: Path) -> Path:
    """Write an untrained BERT of two layers with a tokenizer of a few words, in Hugging Face format."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast, set_seed

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "sofa", "couch", "lamp", "table", "oak"]
    tokenizer = Tokenizer(models.WordPiece({name: n for n, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=16).save_pretrained(folder)
    set_seed(0)
    config = BertConfig(
        vocab_size=len(names), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, initializer_range=1.0,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder)
    return folder
