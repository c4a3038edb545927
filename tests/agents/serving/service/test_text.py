"""Cleaned queries, and what an engine without weights searches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.serving.service.text import clean_query, search_text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  navy   couch ", "navy couch"),
        ("navy\x00couch\r\n", "navy couch"),
        ("cafe\u0301", "café"),
        ("a\ud800", "a?"),
        ("a\u2028b", "a b"),
        ("沙发 蓝", "沙发 蓝"),
    ],
)
def test_cleaning(text, cleaned):
    assert clean_query(text) == cleaned


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_can_be_written(text):
    cleaned = clean_query(text)
    assert clean_query(cleaned) == cleaned
    cleaned.encode("utf-8")


def test_search_texts():
    assert search_text("navy couch", "sofa^0.5 couch", "expand") == "navy couch sofa"
    assert search_text("navy couch", "sofa^0.5", "replace") == "sofa"
    assert search_text("navy couch", "", "expand") == "navy couch"
