"""Candidates of rejection sampling: choices of suggestions, words of the log, both; scored as what they stand for."""

import numpy as np

from agents.examples.candidates import AllCandidates, ChoiceCandidates, ChoiceScorer, LogCandidates, choices
from agents.examples.pairs import rejection_sample
from agents.query_log.word_model import word_model
from agents.suggestions.base import Suggestion
from agents.suggestions.suggester import Offer
from qr_env.common.types import Query
from tests.helpers.fakes import tiny_shop
from tests.helpers.suggestions import word_suggester

QUERY = Query(0, "q", "couch")
WORDS = tuple(Suggestion(word, 0.1, "titles") for word in "abcdef")


def test_choices_always_hold_the_repaired_words():
    offer = Offer((Suggestion("combo", 1.0, "repair"), *WORDS), usual="1 2 3", repair="1")
    found = choices(offer)
    assert found[:2] == ["1 2 3", "1"] and len(found) == len(set(found)) <= 12
    assert all(text.split()[0] == "1" for text in found)
    assert {"1 2", "1 2 3 4", "1 2 3 4 5 6", "1 3", "1 5"} <= set(found)
    assert choices(Offer()) == []


def test_the_scorer_sees_what_numbers_stand_for():
    seen = []

    def score(queries, options):
        seen.extend(options)
        return np.zeros((1, 2), np.float32)

    suggester = word_suggester({"couch": ["sofa", "settee"]})
    ChoiceScorer(score, suggester)([QUERY], [["2", "1 red"]])
    assert seen == [["settee^0.1", "sofa^0.1 red"]]


def test_the_default_stays_unless_a_choice_is_better_by_the_margin():
    source = ChoiceCandidates(word_suggester({"couch": ["sofa", "settee", "loveseat"]}))
    options, defaults = source.candidates([QUERY]), source.defaults([QUERY])
    assert defaults == ["1 2 3"] and options[0][0] == "1 2 3"

    def pair(best_reward, default_reward=0.10):
        rewards = np.zeros((1, len(options[0])), np.float32)
        rewards[0, 0], rewards[0, options[0].index("2")] = default_reward, best_reward
        return rejection_sample([QUERY], options, lambda *_: rewards, 0.02, defaults).pairs

    assert pair(0.11) == [("couch", "1 2 3")] and pair(0.13) == [("couch", "2")]
    assert pair(0.13, np.nan) == []


def test_the_log_adds_its_words_where_it_knows_the_query():
    shop = tiny_shop()
    couch = next(query for query in shop.split("train") if query.text == "couch")
    log = LogCandidates(word_model(shop, shop.split("train")))
    both = AllCandidates([ChoiceCandidates(word_suggester({"couch": ["settee"]})), log])
    other = Query(-1, "new", "couch")
    assert not log.knows(other) and both.knows(other)
    with_log, without = both.candidates([couch, other])
    assert without == ["1"] and with_log[0] == "1" and "sofa" in with_log[1:]
    assert both.defaults([couch, other]) == ["1", "1"] and log.defaults([couch]) == [""]
    assert AllCandidates([log]).candidates([couch]) == log.candidates([couch])
