"""The words that a rewrite adds to its query."""

import pytest

from agents.text.expansion import rewrite_for_mode
from qr_env.language.tokenize import ENGLISH


@pytest.mark.parametrize(
    ("query", "rewrite", "combine", "expected"),
    [
        ("couch blue", "Blue Sofa, 3 seats", "expand", "sofa 3 seats"),
        ("red shoes", "red shoe", "expand", ""),
        ("sofa", "corner sofa without arms", "expand", "corner"),
        ("couch blue", "blue  sofa", "replace", "blue sofa"),
        ("blue couch", "couch blue", "replace", ""),
        ("sofa", "", "union", ""),
    ],
)
def test_a_rewrite_takes_the_form_of_its_mode(query, rewrite, combine, expected):
    assert rewrite_for_mode(query, rewrite, combine, ENGLISH) == expected
