"""The judge of fields: its formula, words of several fields, padding."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

from judges.factory import open_judge
from judges.simple.fields import HALF, SMOOTHING, FieldsJudge
from qr_env.common.types import Query
from qr_env.shop.shop import PURCHASE_SCHEMA, Shop

TITLES = ["quiet fan", "fan", "lamp", "fan fan"]
DESCRIPTIONS = ["a fan for bedrooms", "for bedrooms", "desk light", ""]


def shop() -> Shop:
    products = pa.table({"product_id": list("abcd"), "title": TITLES, "description": DESCRIPTIONS})
    queries = pa.table({"query_id": ["1", "2"], "query": ["fan", "!"]})
    return Shop("fans", products, queries, sp.csr_matrix((2, 4), dtype=np.int8), PURCHASE_SCHEMA.empty_table())


def test_the_value_is_the_formula() -> None:
    value = FieldsJudge(shop()).value(["fan"], np.array([[0, 1, 2]], np.int32))[0]
    title_share, description_share = (4 + 0.5) / 6, (1 + 0.5) / 5  # "fan" among the terms of a field; "for" is no term

    def evidence(count: int, length: int, share: float) -> float:
        x = math.log(1 + (1 - SMOOTHING) / SMOOTHING * count / max(length, 1) / share)
        return x / (x + HALF)

    both = 1 - (1 - evidence(1, 2, title_share)) * (1 - evidence(1, 2, description_share))
    assert value == pytest.approx([both, evidence(1, 1, title_share), 0.0])
    assert value[0] > value[1]  # title and description confirm each other


def test_padding_and_a_wordless_query_have_no_verdict() -> None:
    fans = shop()
    judge = open_judge("fields", fans)
    gain_NK = judge.grade([fans.all_queries[0], fans.all_queries[1]], np.array([[0, -1], [0, 1]], np.int32)).gain_NK
    assert np.isnan(gain_NK).tolist() == [[False, True], [True, True]]
    assert np.isnan(judge.grade([Query(-1, "", "")], np.full((1, 2), -1, np.int32)).gain_NK).all()


def test_an_unknown_word_lowers_the_value() -> None:
    judge = FieldsJudge(shop())
    known, longer = judge.value(["fan", "fan zzzz"], np.array([[1], [1]], np.int32))[:, 0]
    assert 0 < longer < known < 1
