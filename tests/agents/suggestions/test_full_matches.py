"""`agents.suggestions.full_matches`."""

from __future__ import annotations

import numpy as np

from agents.suggestions.full_matches import FullMatches
from qr_env.common.types import Hits
from qr_env.query_text.repair import Repair
from tests.helpers.catalogue import shop_of

TITLES = ["premium deck paint", "deck paint roller", "deckpaint", "paint rollers", "oak floor"]


def count(query: str, rows: list[int]) -> int:
    shop = shop_of(TITLES)
    rows_NK = np.array([rows], np.int32)
    return int(FullMatches(shop, Repair(shop)).count([query], Hits(rows_NK, np.zeros(rows_NK.shape, np.float32)))[0])


def test_a_unit_is_held_as_typed_or_as_repaired_by_stem() -> None:
    assert count("deckpaint", [0, 1, 2, 3]) == 3
    assert count("deckpaint roller", [0, 1, 2, 3]) == 1
    assert count("rollers paint", [0, 1, 2, 3]) == 2


def test_padding_stop_words_and_queries_without_a_word_do_not_count() -> None:
    assert count("the paint", [0, -1, -1]) == 1
    assert count("the", [0, 1]) == 0
    assert count("", [0, 1]) == 0
