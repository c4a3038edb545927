"""Samples of graded pairs: only of the given splits, retrieved and random products."""

from __future__ import annotations

import numpy as np
import pytest

from judges.validation.samples import labelled_sample
from qr_env.common.errors import JudgeError
from qr_env.shop.shop import Shop
from tests.helpers.fakes import WordRetriever, tiny_shop

SHOP = tiny_shop()
ALL = ("train", "dev", "test")


def test_samples_are_graded_pairs_of_the_splits_only() -> None:
    sparse = Shop(SHOP.name, SHOP.products, SHOP.queries, SHOP.qrels, SHOP.purchases)
    sample = labelled_sample(sparse, ("dev",), pairs=25)
    assert {query.split for query in sample.queries} == {"dev"} and sample.pairs == 25
    np.testing.assert_array_equal(sample.levels_PK >= 0, sample.rows_PK >= 0)
    levels = SHOP.levels([query.row for query in sample.queries], sample.rows_PK)
    np.testing.assert_array_equal(levels, sample.levels_PK)
    again = labelled_sample(sparse, ("dev",), pairs=25)
    np.testing.assert_array_equal(sample.rows_PK, again.rows_PK)
    unlabelled = Shop(SHOP.name, SHOP.products, SHOP.queries, SHOP.qrels * 0, SHOP.purchases)
    with pytest.raises(JudgeError, match="no labels for dev"):
        labelled_sample(unlabelled, ("dev",))


@pytest.mark.parametrize("retriever", [None, WordRetriever(SHOP)])
def test_with_complete_labels_lists_are_retrieved_and_random_products(retriever: WordRetriever | None) -> None:
    sample = labelled_sample(SHOP, ALL, pairs=60, retriever=retriever, k=3)
    assert len(sample.queries) == 10
    for rows_K in sample.rows_PK:
        rows = rows_K[rows_K >= 0].tolist()
        assert len(set(rows)) == len(rows) <= 6
    assert len(set(sample.levels_PK[sample.levels_PK >= 0].tolist())) > 1
