"""Numbered suggestions: their order and weights, choices by number, one look-up a query."""

from dataclasses import replace

import pytest

from agents.suggestions.base import Suggestion
from agents.suggestions.rewriter import Evidence
from agents.suggestions.settings import SuggestSettings
from agents.suggestions.suggester import Offer, OfferSettings, Suggester, names_only_suggestions, rewrite_of
from qr_env.common.errors import ConfigError
from tests.helpers.suggestions import TableFinder

WORDS = (Suggestion("sprayer", 0.5, "titles"), Suggestion("airless", 0.25, "titles"), Suggestion("hvlp", 0.1, "titles"))
FOUND = {
    "paint gnu": Evidence("paint gnu", ("gun",), WORDS, full_matches=0),
    "paint gun": Evidence("paint gun", (), WORDS, full_matches=9),
}
SETTINGS = OfferSettings(most=3, suggest=SuggestSettings(words=2, ratio=5.0, full_matches=3))


def test_repaired_words_come_first_at_full_weight_and_the_usual_choice_is_that_of_suggest():
    offer = Suggester(TableFinder(FOUND), SETTINGS).offers(["paint gnu"])[0]
    assert [(item.word, item.weight, item.source) for item in offer.words] == [
        ("gun", 1.0, "repair"), ("sprayer", 0.1, "titles"), ("airless", 0.05, "titles"),
    ]  # fmt: skip
    assert (offer.repair, offer.usual, offer.full_matches) == ("1", "1 2 3", 0)
    assert rewrite_of(offer.usual, offer) == "gun sprayer^0.1 airless^0.05"


def test_the_usual_choice_is_empty_where_the_gate_is_closed():
    offer = Suggester(TableFinder(FOUND), replace(SETTINGS, gated=False)).offers(["paint gun"])[0]
    assert (offer.repair, offer.usual, offer.full_matches) == ("", "", 9)
    assert Suggester(TableFinder(FOUND), SETTINGS).offers(["paint gun"])[0] == replace(offer, words=())
    assert [item.word for item in offer.words] == ["sprayer", "airless", "hvlp"]


def test_a_number_stands_for_its_suggestion_and_other_words_are_the_policys_own():
    offer = Offer((Suggestion("sprayer", 0.12, "titles"), Suggestion("airless", 0.1, "titles")))
    assert rewrite_of("2 1", offer) == "airless^0.1 sprayer^0.12"
    assert rewrite_of("1 graco^0.5 1", offer) == "sprayer^0.24 graco^0.5"
    assert rewrite_of("3 12 01 ² -1", offer) == "3 12 01 ² -1"
    assert rewrite_of("", offer) == "" and rewrite_of("1", Offer()) == "1"
    assert rewrite_of("red red", offer) == "red red"
    assert names_only_suggestions("2 1", offer)
    assert not names_only_suggestions("1 graco", offer) and not names_only_suggestions("", offer)


def test_queries_are_looked_up_once_and_together():
    finder = TableFinder(FOUND)
    suggester = Suggester(finder, SETTINGS)
    first = suggester.offers(["paint gun", "paint gnu", "paint gun"])
    assert suggester.offers(["paint gnu", "paint gun"]) == [first[1], first[0]] and first[0] == first[2]
    assert finder.asked == [["paint gun", "paint gnu"]]


def test_weights_are_multiplied_by_that_of_the_original_in_expand_mode_only():
    expand = Suggester(TableFinder(FOUND), SETTINGS, "expand", 2.0)
    assert expand.rewrites(["paint gnu"], ["1 2"]) == ["gun^2 sprayer^0.2"]
    replace = Suggester(TableFinder(FOUND), SETTINGS, "replace", 2.0)
    choices = ["1 2", "red", "1 red", ""]
    assert replace.rewrites(["paint gnu"] * 4, choices) == ["paint gnu gun sprayer^0.1", "red", "gun red", ""]


def test_without_a_finder_there_are_settings_and_no_offers():
    suggester = Suggester(None, SETTINGS)
    assert suggester.settings == SETTINGS and suggester.offers([]) == []
    with pytest.raises(ConfigError, match="without a suggester"):
        suggester.offers(["couch"])
