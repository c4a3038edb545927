"""`agents.suggestions.product_type`."""

from __future__ import annotations

import pytest

from agents.suggestions.base import Suggestion
from agents.suggestions.product_type import MIN_SHARE, TypeSource, head_noun
from qr_env.query_text.repair import Repair
from qr_env.retrieval.bm25 import BM25
from qr_env.shop.shop import Shop
from qr_env.synthetic.grammar import grammar
from tests.helpers.catalogue import shop_of


def source_of(shop: Shop) -> TypeSource:
    return TypeSource(BM25.build(shop), shop, Repair(shop))


@pytest.mark.parametrize(
    ("title", "head"),
    [
        ("Delta Vero 1-Handle Shower Faucet in Chrome (Valve Not Included)", "faucet"),
        ("4 in. x 4 in. Oak Table, Brown", "table"),
        ("Ink Cartridge Black for HP printers", "cartridge"),
        ("20 oz", ""),
        ("", ""),
    ],
)
def test_the_head_noun_is_the_last_word_of_the_first_clause_that_names_a_thing(title: str, head: str) -> None:
    assert head_noun(title, grammar("en")) == head


def test_the_weight_is_the_share_of_the_titles() -> None:
    shop = shop_of([*["walnut comfort chair"] * 6, *["walnut comfort stool"] * 3, "walnut comfort bench"])
    assert source_of(shop).suggest(["walnut comfort", "unknown"]) == [
        [Suggestion("chair", 0.6, "type"), Suggestion("stool", 0.3, "type")],
        [],
    ]


def test_a_query_that_says_its_type_needs_no_other() -> None:
    shop = shop_of([*["walnut comfort chairs"] * 6, *["walnut comfort stool"] * 4])
    assert source_of(shop).suggest(["walnut chair", "walnut stool"]) == [[], [Suggestion("chairs", 0.6, "type")]]


def test_too_small_a_share_is_no_type() -> None:
    shop = shop_of([f"walnut {kind}" for kind in ("chair", "stool", "bench", "desk", "table")])
    assert MIN_SHARE > 1 / 5 and source_of(shop).suggest(["walnut"]) == [[]]


def test_categories_vote_with_their_leaf_and_brands_are_no_types() -> None:
    leaves = ["Home > Sofas & Couches"] * 2 + ["Home > Lamps"]
    shop = shop_of(["acme x100", "acme x200", "acme y300"], category=leaves, brand=["Acme"] * 3)
    words = source_of(shop).suggest(["acme"])[0]
    assert words == [Suggestion("couches", 2 / 3, "type"), Suggestion("sofas", 2 / 3, "type")]
