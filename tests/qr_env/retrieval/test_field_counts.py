"""Engines made from counts find what an index with the same settings finds."""

from __future__ import annotations

import numpy as np
import pytest

from qr_env.retrieval.bm25 import BM25, BM25Settings
from qr_env.retrieval.field_counts import FieldCounts
from tests.helpers.fakes import tiny_shop

SHOP = tiny_shop()
TEXTS = [query.text for query in SHOP.all_queries] + ["red 3 seater", "", "zzz"]


@pytest.mark.parametrize(
    "settings",
    [
        BM25Settings(),
        BM25Settings(fields=(("title", 1),), k1=0.6, b=0.2),
        BM25Settings(fields=(("title", 2), ("brand", 1), ("category", 3)), k1=2.4, b=1.0),
    ],
)
def test_lists_equal_those_of_an_index(settings: BM25Settings) -> None:
    built = BM25.build(SHOP, fields=settings.fields, k1=settings.k1, b=settings.b).search(TEXTS, 10)
    counted = FieldCounts.of(SHOP).restricted(TEXTS).bm25(settings).search(TEXTS, 10)
    np.testing.assert_array_equal(counted.rows_NK, built.rows_NK)
    np.testing.assert_allclose(counted.scores_NK, built.scores_NK, rtol=1e-5)


def test_only_fields_that_some_product_has_are_present() -> None:
    counts = FieldCounts.of(SHOP)
    filled = [name for name in ("title", "description", "brand", "category", "color", "attributes")
              if any(SHOP.products[name].to_pylist())]  # fmt: skip
    assert list(counts.fields) == filled
    column = counts.vocabulary["sofa"]
    assert counts.matrices["title"][:, column].sum() == sum("sofa" in title.lower().split() for title in SHOP.titles)
