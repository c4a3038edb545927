"""Tokens of query–product pairs against the tokenizer's own layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from judges.cross_encoder.pair_tokens import PairTokens
from judges.cross_encoder.training import load_classifier
from qr_env.common.errors import ConfigError
from tests.helpers.cross_models import PAIRS
from tests.helpers.fakes import tiny_shop
from tests.helpers.models import small_model

SHOP = tiny_shop()


def test_pair_layout_equals_the_tokenizers(exported: Path) -> None:
    _, tokenizer = load_classifier(exported)
    queries, products = zip(*PAIRS, strict=True)
    ids, types, lengths = PairTokens(tokenizer, 64).layout(queries, products)
    wanted = tokenizer(list(queries), list(products), padding=True, return_token_type_ids=True)
    assert ids.tolist() == wanted["input_ids"] and types.tolist() == wanted["token_type_ids"]
    assert lengths.tolist() == np.sum(wanted["attention_mask"], axis=1).tolist()


def test_long_pairs_are_cut_and_keep_both_texts(exported: Path) -> None:
    _, tokenizer = load_classifier(exported)
    long, short = "sofa red blue green " * 9, "sofa red"
    ids, types, lengths = PairTokens(tokenizer, 16).layout([long, short, long], [long, long, ""])
    assert lengths.tolist() == [16, 16, 9], "a query takes half of the 13 places at most, a product all that is left"
    assert (types == 1).sum(axis=1).tolist() == [8, 12, 1]
    assert (ids[0] == tokenizer.sep_token_id).sum() == 2
    with pytest.raises(ConfigError, match="max_length=4"):
        PairTokens(tokenizer, 4)


def test_a_causal_lm_tokenizes_pairs() -> None:
    _, tokenizer = small_model()
    ids, _, lengths = PairTokens(tokenizer, 32).layout(["red sofa"], ["couch"])
    text = tokenizer.decode(ids[0][: lengths[0]])
    assert "red sofa" in text and "couch" in text and len(text) > len("red sofacouch"), "a separator is between them"
