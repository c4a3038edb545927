"""`qr_env.query_text.kept`: which rewrites keep their query."""

from __future__ import annotations

import pytest

from qr_env.query_text.kept import is_kept, plain


@pytest.mark.parametrize("rewrite", ["", "  ", "Red  Sofa", " red sofa\n", "RED SOFA"])
def test_empty_or_equal_rewrite_keeps_the_original(rewrite: str) -> None:
    assert is_kept("red sofa", rewrite)


@pytest.mark.parametrize("rewrite", ["sofa red", "red sofa^2", "red"])
def test_other_words_order_or_weights_do_not(rewrite: str) -> None:
    assert not is_kept("red sofa", rewrite)


def test_plain_folds_case_and_spaces() -> None:
    assert plain(" STRASSE\t Straße ") == "strasse strasse"
