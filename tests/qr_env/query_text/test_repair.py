"""`qr_env.query_text.repair`: corrected words, split and joined compounds."""

from __future__ import annotations

import pytest

from qr_env.query_text.repair import COMMON, Repair, Unit
from tests.helpers.catalogue import shop_of

TITLES = [
    *["premium deck paint in gray", "deck paint roller"],
    *["white baseboard moulding"] * COMMON,
    *["combo hammer drill"] * 2,
    *["garden hose"] * COMMON,
]


@pytest.fixture(scope="module")
def repair() -> Repair:
    return Repair(shop_of(TITLES))


@pytest.mark.parametrize(
    ("query", "added"),
    [
        ("deckpaint", ("deck", "paint")),
        ("base board white", ("baseboard",)),
        ("drill kombo", ("combo",)),
        ("kombo combo", ()),  # the query has the word already
        ("garden hose", ()),
        ("deckpaint7 kombo-2x", ()),  # a token with a digit is an identifier
        ("zzzzzzzz", ()),
        ("", ()),
    ],
)
def test_repaired_words_are_added(repair: Repair, query: str, added: tuple[str, ...]) -> None:
    assert repair.added_words(query) == added


def test_units_hold_both_spellings(repair: Repair) -> None:
    assert repair.units("Base Board 20v kombo") == (
        Unit(("base", "board"), ("baseboard",)),
        Unit(("20",)),
        Unit(("v",)),
        Unit(("kombo",), ("combo",)),
    )


def test_the_corrected_query_has_the_repaired_words_in_place_of_the_typed_ones(repair: Repair) -> None:
    assert repair.corrected("deckpaint, 20v") == "deck paint 20 v"
    assert repair.corrected("Oak  Floor 20v") == "Oak  Floor 20v"


def test_a_compound_that_titles_use_is_not_split() -> None:
    repair = Repair(shop_of([*["deck paint"] * 9, *["deckpaint"] * COMMON]))
    assert repair.added_words("deckpaint") == ()


def test_words_that_titles_write_apart_are_not_joined() -> None:
    repair = Repair(shop_of([*["base board"] * (COMMON + 1), *["baseboard"] * COMMON]))
    assert repair.added_words("base board") == ()


def test_one_catalogue_has_one_repair() -> None:
    repair = Repair.of(shop_of(TITLES))
    assert Repair.of(shop_of(TITLES)) is repair
    assert Repair.of(shop_of([*TITLES, "another product"])) is not repair
