"""Planted products: added after the shop's own, relevant to nothing, found again by kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from judges.validation.planted import plant, planted_kinds, shown
from judges.validation.probes import KINDS
from qr_env.common.errors import ConfigError
from tests.helpers.fakes import WordRetriever, tiny_shop

SHOP = tiny_shop()
PLANTED = plant(SHOP, 14, seed=3)


def test_the_shops_own_products_keep_their_rows_and_grades() -> None:
    assert PLANTED.products[:30].equals(SHOP.products) and len(PLANTED.products) == 44
    assert (PLANTED.qrels[:, :30] != SHOP.qrels).nnz == 0
    assert plant(SHOP, 14, seed=3).hash == PLANTED.hash != SHOP.hash
    assert plant(SHOP, 0) is SHOP


@pytest.mark.parametrize(("complete", "level"), [(True, 0), (False, -1)])
def test_planted_products_answer_no_query(complete: bool, level: int) -> None:
    shop = plant(replace(SHOP, qrels_complete=complete), 6)
    rows = np.tile(np.arange(30, 36, dtype=np.int32), (12, 1))
    assert (shop.levels(np.arange(12), rows) == level).all()


def test_every_kind_is_planted_for_the_most_frequent_queries() -> None:
    kinds = planted_kinds(PLANTED)
    assert list(kinds) == list(KINDS) and sum(map(len, kinds.values())) == 14
    first, second = (PLANTED.titles[row] for row in kinds["query"][:2])
    assert first.endswith(" sofa") and second.endswith(" couch"), "asked 90 and 60 times"
    assert planted_kinds(SHOP) == {}


def test_shares_of_lists_that_show_one() -> None:
    kinds = planted_kinds(PLANTED)
    hits = WordRetriever(PLANTED).search(["couch couch", "icebox"], 20)
    shares = shown(kinds, hits.rows_NK)
    assert shares["stuffed"] == shares["all"] == 0.5
    below = np.concatenate([np.tile(np.arange(10), (1, 1)), np.full((1, 5), 40)], axis=1).astype(np.int32)
    assert shown(kinds, below)["all"] == 0, "below the first ten nobody sees it"
    assert np.isnan(shown(kinds, below[:0])["all"]) and shown({}, below) == {}


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="plant=-1"):
        plant(SHOP, -1)
    silent = replace(SHOP, queries=SHOP.queries[:0], qrels=SHOP.qrels[:0], slices={})
    with pytest.raises(ConfigError, match="needs queries and products"):
        plant(silent, 3)
