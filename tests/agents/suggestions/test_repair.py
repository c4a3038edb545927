"""`agents.suggestions.repair`."""

from __future__ import annotations

from agents.suggestions.base import Suggestion
from agents.suggestions.repair import RepairSource
from qr_env.query_text.repair import Repair
from tests.helpers.catalogue import shop_of


def test_repaired_words_weigh_as_much_as_typed_ones() -> None:
    source = RepairSource(Repair(shop_of(["premium deck paint", "deck paint roller"])))
    assert source.suggest(["deckpaint roller", "roller"]) == [
        [Suggestion("deck", 1.0, "repair"), Suggestion("paint", 1.0, "repair")],
        [],
    ]
