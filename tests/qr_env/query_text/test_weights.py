"""`qr_env.query_text.weights`: Lucene's boost syntax in a rewrite."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qr_env.query_text.weights import MAX_WEIGHT, parse_weights, plain_text, write_weights


def test_words_of_one_weight_share_a_text() -> None:
    parsed = parse_weights("paint gun sprayer^0.3 airless^.3 tip^2")
    assert parsed.texts == (("paint gun", 1.0), ("sprayer airless", 0.3), ("tip", 2.0))
    assert (parsed.malformed, parsed.clipped) == (0, 0)


def test_a_text_without_weights_is_untouched() -> None:
    assert parse_weights("  two  spaces ").texts == (("  two  spaces ", 1.0),)
    assert parse_weights("").texts == parse_weights("  ").texts == ()


@pytest.mark.parametrize("token", ["sprayer^", "a^b", "^2", "a^1^2", "a^nan", "a^inf", "a^1e3", "^", "a^0,3"])
def test_a_malformed_weight_is_a_word(token: str) -> None:
    parsed = parse_weights(f"gun {token}")
    assert parsed.texts == ((f"gun {token}", 1.0),)
    assert parsed.malformed == 1


@pytest.mark.parametrize(("token", "weight"), [("a^99", MAX_WEIGHT), ("a^-1", 0.0)])
def test_a_weight_out_of_range_is_clipped_and_counted(token: str, weight: float) -> None:
    parsed = parse_weights(token)
    assert parsed.texts == (("a", weight),)
    assert (parsed.malformed, parsed.clipped) == (0, 1)


def test_plain_text_has_no_weights() -> None:
    assert plain_text("paint gun sprayer^0.3") == "paint gun sprayer"
    assert plain_text("as it is") == "as it is"


def test_written_weights_have_two_decimals_and_leave_nothing_at_zero() -> None:
    words = [("deck paint", 1.0), ("sprayer gun", 0.3), ("tip", 0.004), ("x", 1 / 3), ("y", 99.0)]
    assert write_weights(words) == "deck paint sprayer^0.3 gun^0.3 x^0.33 y^10"


WORDS = st.text(st.characters(codec="ascii", categories=["L", "Nd"]), min_size=1)


@given(st.lists(st.tuples(WORDS, st.integers(1, 1000).map(lambda hundredths: hundredths / 100))))
def test_what_is_written_is_read_back(words: list[tuple[str, float]]) -> None:
    parsed = parse_weights(write_weights(words))
    read = [(word, weight) for text, weight in parsed.texts for word in text.split()]
    assert read == words
    assert (parsed.malformed, parsed.clipped) == (0, 0)
